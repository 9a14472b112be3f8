"""One process serves several databases."""

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from bridge.database import schema
from tests.celery_queue import inbox
from tests.cli.command import started
from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import Database, on_pg18

pytestmark = on_pg18


def url(dsn: str) -> str:
    """Returns the address as a URL, since a variable may have several of these."""
    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    return f"postgresql://{parts['user']}@/{parts['dbname']}?host={parts['host']}&port={parts.get('port', 5432)}"


def test_one_process_serves_two_databases(
    database: Database, empty_database: Database, valkey: Broker, run_bridge: Bridges
) -> None:
    other = valkey.other_queue("other")
    for target, queue in ((database, valkey.queue), (empty_database, other)):
        with target.connect() as conn:
            conn.execute(schema.path().read_bytes())
            conn.execute("create table product (id int primary key)")
            options = Jsonb({"queue": queue})
            conn.execute("select bridge.watch('w', 'product', 'shop.touch', options => %s)", [options])
    addresses = f"{url(database.dsn)} {url(empty_database.dsn)}"
    bridge = run_bridge(addresses, broker_url=valkey.url, state=None)
    names = {f"{database.name}/default", f"{empty_database.name}/default"}
    assert eventually(lambda: set(bridge.states().items()) == {(name, "running") for name in names}), bridge.log()
    for target, key, queue in ((database, 1, valkey.queue), (empty_database, 2, other)):
        with target.connect() as conn:
            conn.execute("insert into product values (%s)", [key])
        with inbox(Broker(valkey.id, valkey.url, queue=queue)) as box:
            assert [task.args for task in box.take(1)] == [[key]]
    for name in names:
        assert f'bridge_lag_seconds{{stream="{name}"}} 0.0' in bridge.get("/metrics")


def test_a_database_that_is_away_does_not_stop_the_other(
    database: Database, conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges
) -> None:
    conn.execute("create table product (id int primary key)")
    options = Jsonb({"queue": valkey.queue})
    conn.execute("select bridge.watch('w', 'product', 'shop.touch', options => %s)", [options])
    missing = url(make_conninfo(database.dsn, dbname="nowhere"))
    bridge = run_bridge(f"{missing} {url(database.dsn)}", broker_url=valkey.url, state=None)
    assert eventually(lambda: bridge.states() == {f"{database.name}/default": "running"}), bridge.log()
    conn.execute("insert into product values (1)")
    with inbox(valkey) as box:
        assert [task.args for task in box.take(1)] == [[1]]
    assert eventually(lambda: 'database \\"nowhere\\" does not exist' in bridge.log()), bridge.log()


def test_an_address_that_is_given_twice_is_an_error(database: Database) -> None:
    twice = ("--database-url", url(database.dsn), "--database-url", url(database.dsn))
    done = started("run", *twice, "--broker-url=memory://")
    assert done.code == 2
    assert "is given twice; leave one of the addresses out" in done.err
