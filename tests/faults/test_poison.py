"""Events that can't be published as they are become dead letters, and the stream goes on."""

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.celery_queue import inbox
from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import Database, on_pg18

pytestmark = on_pg18


def test_many_that_are_no_longer_allowed_are_kept_and_hold_up_nobody(
    database: Database, conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges
) -> None:
    options = Jsonb({"queue": valkey.queue})
    conn.execute("select bridge.allow('shop.gone'), bridge.allow('shop.here')")
    many = "select bridge.send('shop.gone', jsonb_build_array(n, 'ü'), '{\"a\": null}', %s)"
    conn.execute(f"{many} from generate_series(1, 700) n".encode(), [options])
    conn.execute("select bridge.send('shop.here', '[7]', '{}', %s)", [options])
    conn.execute("select bridge.disallow('shop.gone')")
    bridge = run_bridge(database.dsn, broker_url=valkey.url)
    with inbox(valkey) as tasks:
        assert [task.args for task in tasks.take(1)] == [[7]]
        assert eventually(lambda: conn.execute("select count(*) from bridge.dead_letter").fetchone() == (700,))
        row = conn.execute("select watch, op, key, data -> 'args', reason, context from bridge.dead_letter order by id")
        expected = 'task "shop.gone" may not be sent; to allow it, run select bridge.allow(...)'
        assert row.fetchone() == ("", "send", None, [1, "ü"], expected, None)
        conn.execute("select bridge.allow('shop.gone')")
        assert conn.execute("select bridge.retry(watch => '')").fetchone() == (700,)
        assert [task.args[0] for task in tasks.take(700)] == list(range(1, 701))
    assert sum(line["message"] == "dead letter" for line in bridge.lines()) == 700


DEEP = "[" * 3000 + "]" * 3000
LOG = "insert into bridge.event (stream, watch, op, key, data, at) values ('default', {})"
SEND = "select bridge.send('shop.mail', options => {})"
STOLEN = '{"task": "shop.mail", "options": {"headers": {"task": "shop.drop_everything"}}}'
RESERVED = '{"task": "shop.mail", "options": {"queue": "amq.x"}}'
# Each of these once caused a traceback, exit code 2, or an endless "broker away".
ROWS = {
    "nested context": "set bridge.context = '" + "[" * 5000 + "'; insert into item values (1)",
    "nested value": LOG.format(f"'i', 'insert', '[1]', '{{\"new\": {DEEP}}}', now()"),
    "long number": LOG.format("'i', 'insert', '[1e5000]', null, now()"),
    "long number with a fraction": LOG.format("'i', 'insert', jsonb_build_array(1e400 + 0.5), null, now()"),
    "long queue": SEND.format("jsonb_build_object('queue', repeat('q', 300))"),
    "long header": SEND.format("jsonb_build_object('headers', jsonb_build_object(repeat('h', 300), 1))"),
    "twenty digits": SEND.format('\'{"headers": {"n": 12345678901234567890}}\''),
    "a broker's own name": LOG.format(f"'', 'send', null, '{RESERVED}', now()"),
    "no time": LOG.format("'i', 'insert', '[1]', null, '-infinity'"),
    "a task that is none": LOG.format("'', 'send', null, '{\"task\": [1]}', now()"),
    "another task in the headers": LOG.format(f"'', 'send', null, '{STOLEN}', now()"),
}
REFUSED = len(ROWS) - 1  # all except the nested context, which is a text


@pytest.mark.parametrize("publishers", ["1", "2"])
def test_no_event_ends_the_bridge_or_stands_in_the_way(
    database: Database, conn: psycopg.Connection, empty_rabbitmq: Broker, run_bridge: Bridges, publishers: str
) -> None:
    broker = empty_rabbitmq
    conn.execute("create table item (id int primary key)")
    conn.execute("create table healthy (id int primary key)")
    options = Jsonb({"queue": broker.queue})
    for name, table in (("i", "item"), ("h", "healthy")):
        conn.execute("select bridge.watch(%s, %s, 'shop.touch', options => %s)", [name, table, options])
    conn.execute("select bridge.allow('shop.mail')")
    for number, statements in enumerate(ROWS.values()):
        conn.execute(statements.encode())
        conn.execute("reset bridge.context")
        conn.execute("insert into healthy values (%s)", [number])
    bridge = run_bridge(database.dsn, f"--publishers={publishers}", broker_url=broker.url)
    process = bridge.child.pid
    with inbox(broker) as tasks:
        arrived = [task for task in tasks.take(len(ROWS) + 1) if task.bridge["watch"] == "h"]
        assert sorted({task.args[0] for task in arrived}) == list(range(len(ROWS)))
        assert eventually(lambda: conn.execute("select count(*) from bridge.dead_letter").fetchone() == (REFUSED,))
        # A relay that died between bury and move refused the events twice. After the retry one batch reads them twice.
        bridge.stop()
        conn.execute("update bridge.position set seen = '3:3:', upto = null, after_id = null")
        conn.execute("select bridge.retry(since => '-infinity')")
        conn.execute("insert into healthy values (100)")
        bridge.start()
        assert eventually(lambda: conn.execute("select count(*) from bridge.waiting").fetchone() == (0,), 30)
        assert conn.execute("select count(*) from bridge.dead_letter").fetchone() == (REFUSED,)
        assert 100 in [task.args[0] for task in tasks.take_all()]
    assert bridge.running
    assert bridge.child.pid != process
