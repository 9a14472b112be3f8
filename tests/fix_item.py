"""A watched table, and a second connection that does not commit by itself."""

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from tests.fix_postgres import Database


@pytest.fixture
def item(conn: psycopg.Connection) -> None:
    conn.execute("create table item (id int primary key, note text)")
    conn.execute("select bridge.watch('item', 'item', 'shop.touch')")


@pytest.fixture
def other(database: Database) -> Iterator[psycopg.Connection]:
    with closing(psycopg.connect(database.dsn)) as connection:
        yield connection
