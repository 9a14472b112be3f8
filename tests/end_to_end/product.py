"""A watched table of products, and helpers that read its events."""

from typing import Any
from uuid import uuid5

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from bridge.task_id import NAMESPACE
from tests.celery_queue import Inbox
from tests.eventually import eventually

TASK = "shop.tasks.reprice"


def watch(conn: psycopg.Connection, name: str, queue: str, table: str = "product", **parameters: Any) -> None:
    """Calls bridge.watch with the test's queue as an option."""
    parameters = {"task": TASK, "options": {}} | parameters
    parameters["options"] = Jsonb({"queue": queue} | parameters["options"])
    named = sql.SQL(", ").join(sql.SQL("{} => {}").format(sql.Identifier(p), sql.Placeholder(p)) for p in parameters)
    call = sql.SQL("select bridge.watch(%(name)s, %(table)s, {})").format(named)
    conn.execute(call, {"name": name, "table": table, **parameters})


def make_products(conn: psycopg.Connection, count: int = 3) -> None:
    conn.execute("create table product (id integer primary key, price numeric(10, 2) not null, name text)")
    conn.execute("insert into product select n, n, 'product ' || n from generate_series(1, %s) n", [count])


def backlog(conn: psycopg.Connection, count: int, queue: str) -> None:
    """Creates `count` watched products, each with an event that no relay has read yet."""
    make_products(conn, count)
    watch(conn, "reprice", queue)
    conn.execute("update product set price = 0")


def reprice(conn: psycopg.Connection, key: int) -> None:
    conn.execute("update product set price = price + 1 where id = %s", [key])


def all_delivered(conn: psycopg.Connection, seconds: float = 60) -> None:
    """Waits until the position is behind the last event and the relay sleeps, so the broker has all tasks."""
    # The cheap query runs first: the cost of counting the waiting events grows with their number.
    asleep = "select bool_and(bridge._holder(sleep_key) is not null) from bridge.stream"
    delivered = "select sum(waiting) = 0 and bool_and(asleep) from bridge.status()"
    true = (True,)
    assert eventually(
        lambda: conn.execute(asleep).fetchone() == true and conn.execute(delivered).fetchone() == true, seconds
    ), status(conn)
    assert conn.execute("select count(*) from bridge.dead_letter").fetchone() == (0,)


def status(conn: psycopg.Connection) -> Any:
    return conn.execute("select * from bridge.status()").fetchall()


def expected_ids(conn: psycopg.Connection) -> set[str]:
    """Returns the task ids of all events in the log. A redelivery repeats these ids."""
    named = "select concat_ws('/', watch, id, (extract(epoch from at) * 1000000)::bigint) from bridge.event"
    rows = conn.execute(named).fetchall()
    return {str(uuid5(NAMESPACE, text)) for (text,) in rows}


def waits(queue: Inbox, count: int) -> None:
    assert eventually(lambda: queue.waiting() >= count, 30), f"{queue.waiting()} messages, {count} expected"


def undelivered(conn: psycopg.Connection) -> int:
    row = conn.execute("select count(*) from bridge.waiting").fetchone()
    assert row is not None
    count: int = row[0]
    return count
