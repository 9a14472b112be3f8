"""Writers that don't know Django and change a table all the time, whatever happens to it. Each keeps a ledger."""

import random
from collections import Counter
from itertools import count
from threading import Condition, Thread
from typing import Any, LiteralString, cast

import psycopg
from psycopg import sql

from tests.eventually import eventually
from tests.fix_postgres import Database

_COLUMNS = """
    select a.attnum, a.attname, a.atttypid::regtype::text, a.attnotnull and not a.atthasdef and a.attidentity = ''
    from pg_attribute a
    where a.attrelid = %s and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
"""
_NUMBER = "select attnum from pg_attribute where attrelid = %s and attname = %s"
# Errors that a change of the table may cause for any writer: a name or value no longer fits, or the table is gone.
_OF_THE_MIGRATION = ("22", "23", "42P01", "42703", "42804", "42883", "0A000", "428C9")
# An INSERT locks the table that a foreign key refers to. A migration that changes first that table and then this one
# deadlocks with it, on any table. Our code does not take this lock.
_FOREIGN_KEY = "waits for RowShareLock on relation"
_PACE = 0.002  # seconds between changes, so that the migration can get its locks

Ledger = Counter[tuple[str, str | None]]  # operation and key


class Writer(Thread):
    """Finds the table and its columns by number, as capture does. It changes only its own rows."""

    def __init__(self, database: Database, table: str, number: int) -> None:
        super().__init__(name=f"writer {number}", daemon=True)
        self.history: list[tuple[str, str | None]] = []  # committed changes, in order
        self.priced: Counter[str | None] = Counter()  # updates that gave the third column another value
        self.failures: list[psycopg.Error] = []
        self.crash: BaseException | None = None
        self.rounds = 0
        self._connection = database.connect()
        row = self._connection.execute("select to_regclass(%s)::oid", [table]).fetchone()
        assert row
        self._table: int = row[0]
        self._values = count(number * 1_000_000 + 1)
        self._keys: list[str] = []
        self._random = random.Random(number)
        self._state = Condition()
        self._paused = self._idle = self._stopped = False

    def run(self) -> None:
        try:
            while not self._stopped:
                with self._state:
                    self._idle = self._paused
                    self._state.notify_all()
                    self._state.wait_for(lambda: not self._paused, timeout=None if self._paused else _PACE)
                    if self._paused:
                        continue
                    self._state.wait(_PACE)
                self._change()
                self.rounds += 1
        except BaseException as crash:
            self.crash = crash
            raise
        finally:
            with self._state:
                self._idle = True
                self._state.notify_all()
            self._connection.close()

    def pause(self) -> None:
        """Pauses the writer and returns when no change is in progress."""
        with self._state:
            self._paused = True
            assert self._state.wait_for(lambda: self._idle, timeout=30), f"{self.name} hangs"

    def resume(self) -> None:
        with self._state:
            self._paused = self._idle = False
            self._state.notify_all()

    def stop(self) -> None:
        self._stopped = True
        self.resume()
        self.join(30)
        assert not self.is_alive(), f"{self.name} hangs"

    def _change(self) -> None:
        kind = self._random.choice(["insert", "update", "update", "update", "price", "price", "delete"])
        if kind == "insert" or len(self._keys) < 5:
            kind = "insert"
        elif kind == "delete" and len(self._keys) < 10:
            kind = "update"
        try:
            self._try(kind)
        except psycopg.Error as error:
            self.failures.append(error)

    def _try(self, kind: str) -> None:
        columns = {
            n: (name, kind, needed) for n, name, kind, needed in self._connection.execute(_COLUMNS, [self._table])
        }
        if not columns:
            return  # the table is gone
        table = sql.SQL(cast("LiteralString", self._scalar("select %s::regclass::text", self._table)))
        key = sql.Identifier(columns[1][0]) if 1 in columns else None
        chosen = None if kind == "insert" else self._random.choice(self._keys)
        if kind == "insert":
            chosen = self._insert(table, key, columns)
        elif key is None:
            return
        elif kind == "delete":
            where = sql.SQL("{}::text = {}").format(key, chosen)
            self._once(sql.SQL("delete from {} where {}").format(table, where))
            self._keys.remove(str(chosen))
        else:
            names = [column for number, column in columns.items() if number == 3] if kind == "price" else []
            name, type_, _ = names[0] if names else self._random.choice([c for n, c in columns.items() if n != 1])
            priced = bool(names)
            where = sql.SQL("{}::text = {}").format(key, chosen)
            statement = sql.SQL("update {} set {} = {} where {}").format(
                table, sql.Identifier(name), sql.Literal(self._value(name, type_)), where
            )
            with self._connection.transaction():
                # Half of the writers read first, as most programs do: they hold a weak lock, then ask for a strong one.
                if self._random.random() < 0.5:
                    self._connection.execute(sql.SQL("select 1 from {} where {}").format(table, where))
                self._once(statement)
                # Another column may have this name by now. From here on the lock keeps the name.
                priced = priced and self._scalar(_NUMBER, self._table, name) == 3
            if priced:
                self.priced[chosen] += 1
        operation = "update" if kind == "price" else kind
        self.history.append((operation, chosen))

    def _insert(self, table: sql.SQL, key: sql.Identifier | None, columns: dict[int, Any]) -> str | None:
        given = {
            name: self._value(name, type_) for n, (name, type_, needed) in columns.items() if needed or n in (2, 3)
        }
        inserted = self._connection.execute(
            sql.SQL("insert into {} ({}) values ({}) returning {}").format(
                table,
                sql.SQL(", ").join(map(sql.Identifier, given)),
                sql.SQL(", ").join(map(sql.Literal, given.values())),
                sql.SQL("{}::text").format(key) if key else sql.SQL("null"),
            )
        ).fetchone()
        assert inserted
        if inserted[0] is not None:
            self._keys.append(inserted[0])
        return cast("str | None", inserted[0])

    def _once(self, statement: sql.Composed) -> None:
        assert self._connection.execute(statement).rowcount == 1, statement.as_string()

    def _value(self, name: str, type_: str) -> Any:
        if name.endswith("_id"):
            return None
        if type_ == "uuid":
            return f"00000000-0000-0000-0000-{next(self._values):012d}"
        fixed = {"boolean": "true", "jsonb": "{}", "text[]": "{}", "tsvector": "word"}
        if type_ in fixed:
            return fixed[type_]
        if type_.startswith(("timestamp", "date")):
            return "2026-11-26"
        return str(next(self._values))

    def _scalar(self, query: LiteralString, *arguments: Any) -> Any:
        row = self._connection.execute(query, arguments).fetchone()
        assert row
        return row[0]


class Writers:
    def __init__(self, database: Database, table: str, number: int = 4) -> None:
        self._writers = [Writer(database, table, n + 1) for n in range(number)]

    def start(self) -> None:
        for writer in self._writers:
            writer.start()
        self.go_on()

    def go_on(self, rounds: int = 8) -> None:
        """Returns when each writer has tried this number of further changes."""
        goals = [(writer, writer.rounds + rounds) for writer in self._writers]
        assert eventually(lambda: all(writer.crash or writer.rounds >= goal for writer, goal in goals)), (
            "the writers hang"
        )

    def pause(self) -> None:
        for writer in self._writers:
            writer.pause()

    def resume(self) -> None:
        for writer in self._writers:
            writer.resume()

    def stop(self) -> None:
        for writer in self._writers:
            writer.stop()

    @property
    def ledger(self) -> Ledger:
        return sum((Counter(writer.history) for writer in self._writers), Counter())

    def places(self, changes: Ledger) -> list[str]:
        """Returns where these changes are in the history of each writer, for messages."""
        return [
            f"{writer.name}: {change} is {place} of {len(writer.history)}"
            for writer in self._writers
            for place, change in enumerate(writer.history, 1)
            if change in changes
        ]

    @property
    def priced(self) -> Counter[str | None]:
        return sum((writer.priced for writer in self._writers), Counter())

    def assert_not_hurt(self) -> None:
        """Checks that the writers had only errors that would also happen on a table without watches."""
        assert not [writer.crash for writer in self._writers if writer.crash]
        for writer in self._writers:
            for failure in writer.failures:
                said = f"{failure.sqlstate} {failure} {failure.diag.context}"
                assert "bridge" not in said, said
                of_a_foreign_key = failure.sqlstate == "40P01" and _FOREIGN_KEY in said
                assert of_a_foreign_key or (failure.sqlstate or "").startswith(_OF_THE_MIGRATION), said
