"""Scopes: what `bridge.context` adds to the events of the code inside."""

import asyncio
import contextvars
import json
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import psycopg
import pytest

import bridge
from bridge import scope
from bridge.transaction import in_context


class Colour(Enum):
    RED = "red"


def test_contexts_merge_and_end() -> None:
    with bridge.context(a=1, b=1):
        with bridge.context(b=2):
            assert scope.current() == {"a": 1, "b": 2}
        assert scope.current() == {"a": 1, "b": 1}
    assert scope.current() == {}
    assert scope.as_setting() == ""


def test_without_values_it_is_empty() -> None:
    with bridge.context():
        assert scope.as_setting() == ""


def test_values_become_what_json_has() -> None:
    key = UUID("6a1f2f0e-6d0b-4c39-9d53-0c7c5e1b7f5a")
    with bridge.context(day=date(2026, 1, 2), price=Decimal("1.50"), key=key, colour=Colour.RED, many=(1, 2)):
        assert json.loads(scope.as_setting()) == {
            "day": "2026-01-02",
            "price": "1.50",
            "key": str(key),
            "colour": "red",
            "many": [1, 2],
        }


def test_the_text_is_ascii_for_databases_of_any_encoding() -> None:
    with bridge.context(name="Ä \U0001f600"):
        assert scope.as_setting().isascii()
        assert json.loads(scope.as_setting()) == {"name": "Ä \U0001f600"}


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        (object(), TypeError, 'JSON can\'t express the value of "value"'),
        ({(1, 2): 3}, TypeError, "JSON can't express"),
        ("\ud800", TypeError, "JSON can't express"),
        ("a\0b", ValueError, "NUL"),
        ([{"a\0": 1}], ValueError, "NUL"),
        (json.loads("[" * 300 + "]" * 300), ValueError, "nested"),
        ("x" * 20_000, ValueError, r"20013 characters of JSON"),
        ("\U0001f600" * 2_000, ValueError, "characters of JSON"),
    ],
    ids=["object", "keys", "surrogate", "NUL", "NUL inside", "deep", "large", "large when escaped"],
)
def test_a_value_that_can_not_be_kept_is_an_error_at_once(value: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        bridge.context(value=value)
    assert scope.opened() == ()


def test_a_text_with_a_backslash_is_no_nul() -> None:
    with bridge.context(path="C:\\u0000"):
        assert json.loads(scope.as_setting()) == {"path": "C:\\u0000"}


@pytest.mark.parametrize("name", sorted(scope.RESERVED))
def test_names_that_end_loops_can_not_be_taken(name: str) -> None:
    with pytest.raises(ValueError, match="the bridge's own"):
        bridge.context(**{name: 0})


def test_it_decorates_functions_and_coroutines() -> None:
    @bridge.context(reason="import")
    def load(count: int) -> list[dict[str, Any]]:
        """Loads."""
        return [scope.current(), *(load(count - 1) if count else [])]

    @bridge.context(reason="async")
    async def fetch() -> dict[str, Any]:
        await asyncio.sleep(0)
        return scope.current()

    async def both() -> list[dict[str, Any]]:
        return [*await asyncio.gather(fetch(), fetch()), scope.current()]

    assert load(1) == [{"reason": "import"}] * 2
    assert load.__doc__ == "Loads."
    assert asyncio.run(both()) == [{"reason": "async"}, {"reason": "async"}, {}]


def test_a_generator_is_refused() -> None:
    def one() -> Iterator[int]:
        yield 1

    async def two() -> AsyncIterator[int]:
        yield 2

    for function in (one, two):
        with pytest.raises(TypeError, match="is a generator"):
            bridge.context(a=1)(function)


def test_an_error_ends_it_too() -> None:
    with pytest.raises(ZeroDivisionError), bridge.context(a=1):
        raise ZeroDivisionError
    assert scope.opened() == ()


def test_one_object_serves_several_threads() -> None:
    shared, barrier, seen = bridge.context(a=1), threading.Barrier(2), []

    def use(number: int) -> None:
        with bridge.context(number=number), shared:
            barrier.wait(10)
            seen.append(scope.current())
            barrier.wait(10)
        seen.append(scope.current())

    threads = [threading.Thread(target=use, args=[number]) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen, key=str) == [{"number": 1, "a": 1}, {"number": 2, "a": 1}, {}, {}]


def test_a_transaction_of_psycopg_has_it(conn: psycopg.Connection) -> None:
    conn.execute("create table item (id int primary key)")
    conn.execute("select bridge.watch('w', 'item', 't')")
    with bridge.context(reason="import"), in_context(conn):
        conn.execute("insert into item values (1)")
    conn.execute("insert into item values (2)")
    with in_context(conn):
        conn.execute("insert into item values (3)")
    rows = conn.execute("select context from bridge.event order by id").fetchall()
    assert rows == [('{"reason": "import"}',), (None,), (None,)]


def test_a_generator_that_ends_inside_another_context_takes_only_its_own_away() -> None:
    def rows() -> Iterator[None]:
        with bridge.context(source="file"):
            yield

    reading = rows()
    next(reading)
    with bridge.context(reason="import"):
        assert scope.current() == {"source": "file", "reason": "import"}
        list(reading)
        assert scope.current() == {"reason": "import"}
    assert scope.current() == {}
    reading = rows()
    with bridge.context(reason="import"):
        next(reading)
    assert scope.current() == {"source": "file"}
    contextvars.Context().run(list, reading)  # in a context that never had it
    assert scope.current() == {"source": "file"}
    scope.replaced(())
