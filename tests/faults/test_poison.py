"""Events that can't be published as they are: kept as dead letters, and the rest goes on."""

import psycopg
from psycopg.types.json import Jsonb

from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import Database, on_pg18
from tests.inbox import inbox

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
        expected = 'task "shop.gone" may not be sent: select bridge.allow(...) lets it'
        assert row.fetchone() == ("", "send", None, [1, "ü"], expected, None)
        conn.execute("select bridge.allow('shop.gone')")
        assert conn.execute("select bridge.retry(watch => '')").fetchone() == (700,)
        assert [task.args[0] for task in tasks.take(700)] == list(range(1, 701))
    assert sum(line["message"] == "dead letter" for line in bridge.lines()) == 700
