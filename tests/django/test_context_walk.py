"""Random programs of scopes, transactions, savepoints and writes: each event has the context of its own moment."""

import json
import random
from contextlib import suppress
from typing import Any

import pytest
from catalog.models import Product
from django.db import connection, transaction

import bridge
from bridge import scope
from tests.fix_postgres import Database


class _Undo(Exception):  # noqa: N818 - no error of the program
    pass


class Walk:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._number = 0
        self.steps: list[str] = []

    def go(self, depth: int = 0) -> None:
        for _ in range(self._random.randint(1, 5)):
            choices: list[Any] = [self.write, self.write, self.read, self.function]
            if depth < 5:
                choices += [self.scope, self.atomic, self.undone, self.by_hand]
            step = self._random.choice(choices)
            self.steps.append(f"{'  ' * depth}{step.__name__}")
            step(depth + 1)

    def _next(self) -> int:
        self._number += 1
        return self._number

    def write(self, _: int) -> None:
        """Writes a row whose name says which context its event must have."""
        Product.objects.create(name=scope.as_setting(), price=self._next())

    def read(self, _: int) -> None:
        assert Product.objects.filter(price=-1).count() == 0

    def function(self, _: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute("select add_one(%s, %s)", [scope.as_setting(), self._next()])

    def scope(self, depth: int) -> None:
        with bridge.context(**{self._random.choice("ab"): self._next()}):
            self.go(depth)

    def atomic(self, depth: int) -> None:
        with transaction.atomic():
            self.go(depth)

    def undone(self, depth: int) -> None:
        with suppress(_Undo), transaction.atomic():
            self.go(depth)
            raise _Undo

    def by_hand(self, depth: int) -> None:
        """Uses a savepoint that only the statements' texts show."""
        with transaction.atomic(), connection.cursor() as cursor:
            name = f"hand_{self._next()}"
            cursor.execute(f"savepoint {name}")
            self.go(depth)
            if self._random.random() < 0.6:
                cursor.execute(f"rollback to savepoint {name}")


@pytest.mark.parametrize("part", [0, 1, *(pytest.param(part, marks=pytest.mark.soak) for part in range(2, 20))])
def test_each_event_has_the_context_of_its_moment(shelf: Database, part: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("select bridge.watch('all', 'catalog_product', 't', operations => '{insert}', data => '{name}')")
        cursor.execute(
            "create function add_one(name text, price numeric) returns void language sql as "
            "$$ insert into catalog_product (name, price) values (name, price) $$"
        )
        cursor.execute("alter table catalog_product alter name type text")
    for seed in range(part * 1000, part * 1000 + 10):
        walk = Walk(seed)
        walk.go()
        rows: list[Any]
        with connection.cursor() as cursor:
            cursor.execute("select data -> 'new' ->> 'name', context from bridge.event")
            rows = cursor.fetchall()
            cursor.execute("truncate bridge.ring")
        wrong = [
            (name, context) for name, context in rows if json.loads(name or "null") != json.loads(context or "null")
        ]
        assert not wrong, f"seed {seed}: {wrong}\n" + "\n".join(walk.steps)
