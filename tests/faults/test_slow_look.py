"""A look takes longer than the answer deadline, because many events wait and are not in the server's memory."""

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from tests.celery_queue import inbox
from tests.end_to_end.product import undelivered
from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker

SLOW = """
create or replace function bridge._is_wide(watch text, op text, key jsonb, data jsonb, context text) returns boolean
language plpgsql stable as $$ begin perform pg_catalog.pg_sleep(0.3); return false; end $$
"""


def test_a_backlog_that_takes_longer_to_read_than_an_answer_may_is_delivered(
    conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges
) -> None:
    """A connection that is silent beyond the deadline counts as dead. Without progress this would happen forever."""
    conn.execute("create table product (id int primary key)")
    conn.execute("select bridge.watch('p', 'product', 'shop.touch', options => %s)", [Jsonb({"queue": valkey.queue})])
    conn.execute("insert into product select generate_series(1, 10)")
    conn.execute(SLOW.encode())
    bridge = run_bridge(make_conninfo(conn.info.dsn, tcp_user_timeout=1000), broker_url=valkey.url, state=None)
    with inbox(valkey) as tasks:
        assert eventually(lambda: undelivered(conn) == 0, 30)
        assert [task.args for task in tasks.take(10)] == [[n] for n in range(1, 11)]
    assert any("did not answer within 1 s" in line.get("reason", "") for line in bridge.lines())
