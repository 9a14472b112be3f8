"""Helpers that read the event log and make watches."""

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

ROWS = pytest.mark.parametrize("rows", [0, 1, 3])


def watch(conn: psycopg.Connection, relation: str, name: str = "w", **parameters: Any) -> None:
    """Calls bridge.watch with these parameters. `options` is a dict."""
    given: dict[str, Any] = {"name": name, "relation": relation, "task": "t", **parameters}
    if "options" in given:
        given["options"] = Jsonb(given["options"])
    call = ", ".join(f"{parameter} => %({parameter})s" for parameter in given)
    conn.execute(f"select bridge.watch({call})".encode(), given)


def recorded(conn: psycopg.Connection) -> list[tuple[str, Any]]:
    """Returns the operation and key of each event, in order."""
    return conn.execute("select op, key from bridge.event order by id").fetchall()


def carried(conn: psycopg.Connection) -> list[Any]:
    """Returns the data of each event, in order."""
    return [row[0] for row in conn.execute("select data from bridge.event order by id")]


def watches(conn: psycopg.Connection) -> list[str]:
    """Returns the watch of each event, in order."""
    return [row[0] for row in conn.execute("select watch from bridge.event order by id")]


def each(op: str, rows: int) -> list[tuple[str, Any]]:
    """Returns what `recorded` returns for the rows 1, 2, 3 ..."""
    return [(op, [n]) for n in range(1, rows + 1)]


def drift(conn: psycopg.Connection) -> list[str]:
    return [row[0] for row in conn.execute("select name from bridge.drift()")]


def mend(conn: psycopg.Connection, **wanted: Any) -> list[str]:
    """Calls bridge.apply with the watch w, changed by `wanted`. Returns the actions."""
    declared = {"name": "w", "relation": "product", "task": "t", **wanted}
    return [row[0] for row in conn.execute("select action from bridge.apply(%s)", [Jsonb([declared])])]
