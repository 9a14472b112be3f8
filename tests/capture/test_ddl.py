"""Columns change under a watch while sessions of all kinds write: what is captured, and what counts as drift."""

from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from tests.capture.around import AFTER, BEFORE, write_around
from tests.capture.log import drift, watch
from tests.fix_postgres import Database

TYPES = {"id": "int", "price": "int", "name": "text", "state": "text", "unused": "int"}
CONDITION = "coalesce(new.state, old.state) = 'on'"
USED: dict[str, Any] = {"key": ["id"], "columns": ["price"], "data": ["name"], "condition": CONDITION}
VALUES = {"id": "{}", "price": "1", "name": "n", "state": "on", "unused": "5"}

# Each value is the name that the column has after the change, and the clauses of ALTER TABLE. {c} is the column, {t}
# its type, {wide} a wider type, {spare} another column of its type.
CHANGES: dict[str, tuple[str | None, list[str]]] = {
    "rename": ("other", ["rename {c} to other"]),
    "rename, a new column under the old name": ("other", ["rename {c} to other", "add {c} {t} default {decoy}"]),
    "rename, a new column of another type under the old name": (
        "other",
        ["rename {c} to other", "add {c} uuid default gen_random_uuid()"],
    ),
    "swap of two names": ("{spare}", ["rename {c} to x", "rename {spare} to {c}", "rename x to {spare}"]),
    "rename there and back": ("{c}", ["rename {c} to x", "rename x to {c}"]),
    "wider type": ("{c}", ["alter {c} type {wide}"]),
    "type varchar": ("{c}", ["alter {c} type varchar(90)"]),
    "type numeric": ("{c}", ["alter {c} type numeric(12, 2) using length({c}::text)"]),
    "type jsonb": ("{c}", ["alter {c} type jsonb using to_jsonb({c})"]),
    "drop": (None, ["drop {c}"]),
    "drop, a new column under the old name": (None, ["drop {c}", "add {c} {t} default {decoy}"]),
    "drop with cascade": (None, ["drop {c} cascade"]),
    "a column beside it comes and goes": ("{c}", ["add y {t}", "drop {spare}", "rename y to {spare}"]),
}
UNTOUCHED = {"rename there and back", "a column beside it comes and goes"}


@dataclass
class Product:
    """The table `product`: the current names of its columns, and how their values are written."""

    names: dict[str, str | None] = field(default_factory=lambda: {c: c for c in TYPES})
    casts: dict[str, str] = field(default_factory=dict)

    def write(self, conn: psycopg.Connection, number: int) -> None:
        """Inserts, updates and deletes one row."""
        names = {c: name for c, name in self.names.items() if name is not None}
        columns = ", ".join(names.values())
        values = ", ".join(self._value(c, VALUES[c].format(number)) for c in names)
        conn.execute(f"insert into product ({columns}) values ({values})".encode())
        row = " and ".join(
            f"{names[c]} = {self._value(c, VALUES[c].format(number))}" for c in names if c in {"id", "name"}
        )
        changed = "price" if "price" in names else "unused"
        conn.execute(f"update product set {names[changed]} = {self._value(changed, '2')} where {row}".encode())
        conn.execute(f"delete from product where {row}".encode())

    def _value(self, column: str, text: str) -> str:
        return self.casts.get(column, "'{}'").format(text)


def alter(conn: psycopg.Connection, table: str, clause: str) -> str | None:
    """Alters the table. Returns the SQLSTATE if PostgreSQL refuses the change."""
    try:
        with conn.transaction():
            conn.execute(f"alter table {table} {clause}".encode())
    except psycopg.Error as error:
        return error.sqlstate
    return None


def make_tables(conn: psycopg.Connection) -> None:
    """Creates `product`, which is watched, and `twin`, whose triggers are written by hand."""
    columns = ", ".join(f"{name} {kind}" for name, kind in TYPES.items())
    for table in ("product", "twin"):
        conn.execute(f"drop table if exists {table}".encode())
        conn.execute(f"create table {table} ({columns}, spare_int int, spare_text text)".encode())
    conn.execute(
        """
        create or replace function noted() returns trigger language plpgsql as $$ begin return null; end $$;
        create trigger noted_update after update on twin for each row
            when (old.price is distinct from new.price and coalesce(new.state, old.state) = 'on')
            execute function noted();
        create trigger noted_insert after insert on twin for each row when (new.state = 'on') execute function noted();
        """
    )
    watch(conn, "product", **USED)


def expected(number: int, change: str | None, column: str) -> list[tuple[str, Any, Any]]:
    """Returns the events of `Product.write` after the change, or before it if there was none."""
    at_key = change if column == "id" else None
    at_name = change if column == "name" else None
    gone = change is not None and change.startswith("drop")
    cascade = change == "drop with cascade"
    key: Any = {"type varchar": str(number), "type numeric": f"{number}.00"}.get(at_key or "", number)
    row: Any = {"name": "1.00" if at_name == "type numeric" else "n"}
    extra = {}
    if gone and column == "id":
        key, extra = None, {"unreadable": 'the column "id" of the key is gone'}
    if gone and column == "name":
        row = {}
    changed = [] if gone and column == "price" else ["price"]
    update = ("update", [key], {"old": row, "new": row, "changed": changed, **extra})
    others = [("insert", [key], {"new": row, **extra}), ("delete", [key], {"old": row, **extra})]
    if cascade and column == "state":
        return []  # CASCADE dropped all triggers, because all of them name the column
    return others if cascade and column == "price" else [others[0], update, others[1]]


@pytest.mark.parametrize("change", CHANGES)
def test_columns_may_change_as_under_a_hand_written_trigger_and_every_write_is_captured(
    database: Database, conn: psycopg.Connection, change: str
) -> None:
    """This holds for each use of the column by the watch. `bridge.alter` makes changes that a WHEN clause prevents."""
    for column in TYPES:
        make_tables(conn)
        refused = change_column(database, change, column)
        events = expected(BEFORE, None, column) + [event for n in AFTER for event in expected(n, change, column)]
        actual = conn.execute("select op, key, data from bridge.event order by id").fetchall()
        assert (column, actual) == (column, events)
        works = column != "state" or change not in {"type numeric", "type jsonb"}  # the condition compares with a text
        in_line = column == "unused" or change in UNTOUCHED or (refused and works)
        assert (column, drift(conn)) == (column, [] if in_line else ["w"])


def change_column(database: Database, change: str, column: str) -> bool:
    """Makes the change. Returns whether PostgreSQL refused it."""
    product = Product()
    now, clauses = CHANGES[change]
    text = TYPES[column] == "text"
    words = {"c": column, "t": TYPES[column], "spare": f"spare_{TYPES[column]}"}
    words |= {"decoy": "'decoy'" if text else "-1", "wide": "varchar" if text else "bigint"}
    refused = False

    def make_it(session: psycopg.Connection) -> None:
        nonlocal refused
        for clause in clauses:
            reason = alter(session, "product", clause.format(**words))
            assert refused or reason == alter(session, "twin", clause.format(**words))
            if reason is not None:
                refused = True
                session.execute("select bridge.alter('product', %s)", [clause.format(**words)])
        product.names[column] = now and now.format(**words)
        if change == "type jsonb":
            product.casts[column] = f"to_jsonb('{{}}'::{TYPES[column]})"
        elif change == "type numeric" and text:
            product.casts[column] = "length('{}')"

    write_around(database, product.write, make_it)
    return refused


@pytest.mark.parametrize(
    "change", ["rename id to other; add id int", "rename id to x; rename spare_int to id", "drop id; add id int"]
)
def test_a_key_whose_name_went_to_another_column_is_drift_and_mended(conn: psycopg.Connection, change: str) -> None:
    """Capture continues with the column that was meant first. The declaration now means another column."""
    make_tables(conn)
    for clause in change.split("; "):
        conn.execute(f"alter table product {clause}".encode())
    assert drift(conn) == ["w"]
    wanted = psycopg.types.json.Jsonb([{"name": "w", "relation": "product", "task": "t", **USED}])
    assert conn.execute("select action from bridge.apply(%s)", [wanted]).fetchall() == [("repair",)]
    conn.execute("insert into product (id, state) values (7, 'on')")
    assert conn.execute("select key from bridge.event").fetchall() == [([7],)]
    assert drift(conn) == []
