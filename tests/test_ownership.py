"""Ownership: each stream has one relay, and other relays wait for its place."""

from datetime import timedelta

import anyio
import psycopg
import pytest

from bridge.stream.event_log import EventLog
from tests.fix_postgres import Database

pytestmark = pytest.mark.anyio


async def test_a_second_relay_waits_until_the_first_is_gone(database: Database) -> None:
    order: list[str] = []
    async with anyio.create_task_group() as group, EventLog.open(database.dsn, "default", 10) as first:
        await first.own()

        async def stand_by() -> None:
            async with EventLog.open(database.dsn, "default", 10) as second:
                order.append("waits")
                await second.own()
                order.append("owns")

        group.start_soon(stand_by)
        with database.connect() as watcher, anyio.fail_after(10):
            waits = (
                "select from pg_locks where locktype = 'advisory' and not granted and database = "
                "(select oid from pg_database where datname = current_database())"
            )
            while not watcher.execute(waits).fetchall():  # noqa: ASYNC110 - the server announces no lock waits
                await anyio.sleep(0.01)
        order.append("first goes")
    assert order == ["waits", "first goes", "owns"]


async def test_a_standby_does_not_hold_back_vacuum(
    database: Database, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.database.lock._RENEWED", timedelta(milliseconds=100))
    async with (
        EventLog.open(database.dsn, "default", 10) as first,
        EventLog.open(database.dsn, "default", 10, "standby") as second,
        anyio.create_task_group() as group,
    ):
        await first.own()
        group.start_soon(second.own)
        horizon = "select backend_xmin from pg_stat_activity where application_name = 'bridge standby default'"
        waits = horizon + " and state = 'active' and wait_event = 'advisory'"
        with anyio.fail_after(10):
            while not (before := conn.execute(waits.encode()).fetchone()):  # noqa: ASYNC110 - nothing announces it
                await anyio.sleep(0.01)
            conn.execute("create table item ()")
            while conn.execute(horizon.encode()).fetchone() == before:  # noqa: ASYNC110 - nothing announces it
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()


async def test_a_standby_can_be_cancelled_and_leaves_no_lock(database: Database, conn: psycopg.Connection) -> None:
    async with (
        EventLog.open(database.dsn, "default", 10) as first,
        EventLog.open(database.dsn, "default", 10) as second,
    ):
        await first.own()
        with anyio.move_on_after(0.1) as scope:
            await second.own()
        assert scope.cancelled_caught
        await second.targets()  # the connection still works
        with anyio.fail_after(10):
            await first.move((await first.read()).position)
