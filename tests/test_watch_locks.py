"""Two sessions change watches at once: one waits for the other, and neither fails."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest

from tests.eventually import eventually
from tests.fix_postgres import Database

WATCH = b"select bridge.watch('item', 'item', 'shop.touch')"
UNWATCH = b"select bridge.unwatch('item')"


@pytest.mark.parametrize("statements", [(WATCH, UNWATCH), (UNWATCH, WATCH), (UNWATCH, UNWATCH), (WATCH, WATCH)])
def test_they_take_their_locks_in_one_order(
    database: Database, conn: psycopg.Connection, statements: tuple[bytes, bytes]
) -> None:
    """Both wait for a table that a writer has locked. The writer's commit lets the first one go on."""
    conn.execute("create table item (id int primary key)")
    conn.execute(WATCH)
    with ExitStack() as stack:
        writer, first, second = (stack.enter_context(database.connect()) for _ in range(3))
        pool = stack.enter_context(ThreadPoolExecutor(2))
        writer.execute("begin; insert into item values (1)")
        one = pool.submit(first.execute, statements[0])
        assert eventually(waits(conn, first))
        two = pool.submit(second.execute, statements[1])
        assert eventually(waits(conn, second))
        writer.execute("commit")
        one.result()
        two.result()


def waits(conn: psycopg.Connection, session: psycopg.Connection) -> Callable[[], bool]:
    pid = session.info.backend_pid
    return lambda: conn.execute("select from pg_locks where not granted and pid = %s", [pid]).fetchone() is not None
