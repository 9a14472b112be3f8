"""Migration: a session that changes the definition of the watched tables every few seconds, while writers write.

Each migration has a reverse. It looks at the table to know which of the two is due, since a lost connection or a
failover may leave the table in either state. The columns of key and version always have the numbers 1 and 2, whatever
their names are.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable

import psycopg

from tools.chaos.fault import explains
from tools.chaos.ledger import STREAMS
from tools.chaos.system import WATCHES, System

# The name and type of each column, in order.
_COLUMNS = """
    select attname, format_type(atttypid, atttypmod) from pg_attribute
    where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum
"""
_ADDED = (
    "added int not null default 7",
    "added timestamptz default clock_timestamp()",
    "added bigint generated always as identity",
    "added numeric generated always as (price * 2) stored",
    "added text generated always as (note || '!') virtual",
)
_PRICE = "price numeric(12,2) not null default 1"
_NOTE = "note text default 'again'"
# Writers queue behind a session that waits for its lock, so it must not wait long.
_PATIENCE = "set lock_timeout = '300ms'"
_TRIES = 20

Columns = dict[str, str]


class Migrator(threading.Thread):
    """Migrates until `stop` is set. A migration that gets no lock is tried again, at most 20 times."""

    def __init__(self, system: System, seed: int, stop: threading.Event, between: float) -> None:
        super().__init__(name="migrator", daemon=True)
        self._system = system
        self._random = random.Random(seed)
        self._stopping = stop
        self._between = between
        self.done: Counter[str] = Counter()
        self.gave_way = 0
        self.refused: list[str] = []

    def run(self) -> None:
        while not self._stopping.wait(self._random.uniform(0, self._between)):
            table = self._random.choice(STREAMS)
            # Sometimes do what a deployment does: a migration, and then the watches.
            for migration in (self._random.choice(_MIGRATIONS), deploy)[: self._random.choice((1, 1, 2))]:
                try:
                    self._migrate(table, migration)
                except psycopg.Error as error:
                    if explains(error) or isinstance(error, psycopg.errors.LockNotAvailable):
                        self.gave_way += 1
                    else:
                        self.refused.append(f"{migration.__name__} of {table}: {error}")

    def _migrate(self, table: str, migration: "Migration") -> None:
        with self._system.connect() as conn:
            conn.execute(_PATIENCE)
            columns: Columns = dict(conn.execute(_COLUMNS, [table]).fetchall())
            statements = migration(table, columns, self._random)
            if not statements:
                return
            for attempt in range(_TRIES):
                try:
                    with conn.transaction():
                        for statement in statements:
                            conn.execute(statement.encode())
                    break
                except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                    if attempt == _TRIES - 1 or self._stopping.wait(self._random.uniform(0.05, 0.3)):
                        raise
        self.done[migration.__name__] += 1


def _alter(table: str, clauses: str, choice: random.Random, named: bool = False) -> str:
    """Returns an ALTER TABLE statement, or sometimes, and always where PostgreSQL refuses it, a call of `bridge.alter`.

    With `named`, the WHEN of the trigger on the table `valkey` names the column, so PostgreSQL refuses ALTER TABLE.
    """
    if (named and table == "valkey") or choice.random() < 0.3:
        quoted = clauses.replace("'", "''")
        return f"select bridge.alter('{table}', '{quoted}')"
    return f"alter table {table} {clauses}"


def _names(columns: Columns) -> tuple[str, str]:
    key, version, *_ = columns
    return key, version


def add_and_drop(table: str, columns: Columns, choice: random.Random) -> list[str]:
    if "added" in columns:
        return [_alter(table, "drop column added", choice)]
    # Some of the added columns are generated from price or note.
    return [_alter(table, f"add column {choice.choice(_ADDED)}", choice)] if columns.keys() >= {"price", "note"} else []


def drop_carried(table: str, columns: Columns, choice: random.Random) -> list[str]:
    """Drops or adds a column that the watch has in `data`. A column that is generated from it is dropped with it."""
    return [_alter(table, "drop column note cascade" if "note" in columns else f"add column {_NOTE}", choice)]


def drop_compared(table: str, columns: Columns, choice: random.Random) -> list[str]:
    """Drops or adds a column that the watch has in `columns` and in its condition."""
    clauses = "drop column price cascade" if "price" in columns else f"add column {_PRICE}"
    return [_alter(table, clauses, choice, named=True)]


def rename(table: str, columns: Columns, choice: random.Random) -> list[str]:
    _, version = _names(columns)
    other = "revision" if version == "version" else "version"
    return [] if other in columns else [_alter(table, f"rename column {version} to {other}", choice)]


def reuse_key(table: str, columns: Columns, choice: random.Random) -> list[str]:
    """Gives the key's name to a column with other values, or takes it back."""
    if "former_id" in columns:
        return [_alter(table, "drop column id", choice), _alter(table, "rename column former_id to id", choice)]
    return [
        _alter(table, "rename column id to former_id", choice),
        _alter(table, "add column id bigint not null default -1", choice),
    ]


def reuse_version(table: str, columns: Columns, choice: random.Random) -> list[str]:
    """Gives the name of a column that is carried and compared to another column, or takes it back."""
    if "version" in columns and "revision" in columns:
        return [
            _alter(table, "drop column version", choice, named=True),
            _alter(table, "rename column revision to version", choice),
        ]
    if "version" in columns:
        return [
            _alter(table, "rename column version to revision", choice),
            _alter(table, "add column version int not null default -1", choice),
        ]
    return []


def retype_key(table: str, columns: Columns, choice: random.Random) -> list[str]:
    key, _ = _names(columns)
    return _retype(table, columns, _alter(table, _other_integer(columns, key), choice))


def retype_version(table: str, columns: Columns, choice: random.Random) -> list[str]:
    _, version = _names(columns)
    return _retype(table, columns, _alter(table, _other_integer(columns, version), choice, named=True))


def _other_integer(columns: Columns, name: str) -> str:
    return f"alter column {name} type {'bigint' if columns[name] == 'integer' else 'integer'}"


def _retype(table: str, columns: Columns, statement: str) -> list[str]:
    """Returns the statements that change a type: PostgreSQL refuses it while the application's view exists."""
    key, version = _names(columns)
    return [
        f"lock table {table}_rows in access exclusive mode",
        f"drop view {table}_rows",
        statement,
        f"create view {table}_rows as select {key} as id, {version} as version from {table}",
    ]


def retype_compared(table: str, columns: Columns, choice: random.Random) -> list[str]:
    if "price" not in columns or columns.get("added") == "numeric":  # a generated column depends on it
        return []
    type_ = "double precision" if columns["price"].startswith("numeric") else "numeric(12,2)"
    return [_alter(table, f"alter column price type {type_}", choice, named=True)]


def deploy(table: str, columns: Columns, choice: random.Random) -> list[str]:
    """Gives the table all columns that its watch names, and declares the watch again."""
    statements = []
    if "revision" in columns:
        if "version" in columns:
            statements.append(_alter(table, "drop column version", choice, named=True))
        statements.append(_alter(table, "rename column revision to version", choice))
    statements += [
        _alter(table, f"add column {column}", choice) for column in (_PRICE, _NOTE) if column.split()[0] not in columns
    ]
    return [*statements, WATCHES[table]]


Migration = Callable[[str, Columns, random.Random], list[str]]
_MIGRATIONS: tuple[Migration, ...] = (
    add_and_drop, drop_carried, drop_compared, rename, reuse_key, reuse_version, retype_key, retype_version,
    retype_compared,
)  # fmt: skip
