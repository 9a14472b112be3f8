"""The fixtures and helpers do what the other tests rely on."""

import subprocess
import sys

from tests.eventually import eventually
from tests.fix_bridge import ROOT, environment
from tests.fix_broker import Broker
from tests.fix_postgres import Database, PgServer, on_pg18


def test_database_is_fresh(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("create table once (x int)")


def test_database_is_fresh_again(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("create table once (x int)")


def test_database_has_the_triggers_and_the_empty_one_has_not(database: Database, empty_database: Database) -> None:
    query = "select count(*) from pg_namespace where nspname = 'bridge'"
    with database.connect() as connection:
        assert connection.execute(query).fetchone() == (1,)
    with empty_database.connect() as connection:
        assert connection.execute(query).fetchone() == (0,)


@on_pg18
def test_limited_to_one_server(pg_server: PgServer, database: Database) -> None:
    assert pg_server.id == "pg18"
    assert pg_server.version // 10000 == 18


def test_databases_of_a_dead_run_are_swept(pg_server: PgServer) -> None:
    dead = PgServer(pg_server.id, pg_server.url)
    left = dead.create()
    dead.admin.close()
    query = "select 1 from pg_database where datname = %s"

    def swept() -> bool:
        pg_server.sweep()
        return pg_server.admin.execute(query, [left.name]).fetchone() is None

    # The server takes some time to notice the closed connection and release its lock.
    assert eventually(swept)


def test_broker_carries_a_message(broker: Broker) -> None:
    with broker.connect() as connection:
        for name in (broker.queue, broker.other_queue("second")):
            queue = connection.SimpleQueue(name)
            queue.put({"n": 1})
            assert queue.get(timeout=5).payload == {"n": 1}
            queue.close()


def test_children_hear_ctrl_c_also_where_the_tests_do_not() -> None:
    child = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    tests = f"import subprocess, sys; import tests.fix_signals; subprocess.run([sys.executable, '-c', {child!r}])"
    done = subprocess.run(
        ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-c", tests],
        check=True,
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.stdout == "True\n"
