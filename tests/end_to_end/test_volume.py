"""Large numbers of rows."""

import re

import psycopg
import pytest

from tests.celery_queue import inbox
from tests.end_to_end.product import all_delivered, backlog, expected_ids
from tests.fix_bridge import Bridge, Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import on_pg18

MEGABYTE = 1 << 20


def largest_batch(bridge: Bridge) -> float:
    """Returns the upper bound of the last bucket that contains a batch."""
    counts = re.findall(
        r'^bridge_batch_events_bucket\{le="([\d.]+)",stream="default"\} ([\d.]+)', bridge.get("/metrics"), re.MULTILINE
    )
    most = max(float(count) for _, count in counts)
    return min(float(bound) for bound, count in counts if float(count) == most)


@on_pg18
@pytest.mark.timeout(600)
@pytest.mark.parametrize("rows", [20_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_many_rows_of_one_statement_are_as_many_tasks_in_little_memory(
    conn: psycopg.Connection, broker: Broker, run_bridge: Bridges, rows: int
) -> None:
    backlog(conn, rows, broker.queue)
    bridge = run_bridge(conn.info.dsn, broker_url=broker.url)
    all_delivered(conn, seconds=300)
    assert bridge.peak_memory() < 120 * MEGABYTE, bridge.peak_memory()
    print(f"{rows:,} rows, {broker.id}: {bridge.peak_memory() / MEGABYTE:.0f} MB")  # noqa: T201 - shown by scripts/soak
    assert largest_batch(bridge) > 500, "batches must grow while there is a backlog"
    with inbox(broker) as queue:
        tasks = queue.take_all()
    assert len(tasks) == rows
    assert {task.id for task in tasks} == expected_ids(conn)
    # PostgreSQL chooses the order within a statement. Each row must be there.
    assert sorted(task.args[0] for task in tasks) == list(range(1, rows + 1))
