"""The whole way on real parts: PostgreSQL, `bridge run` as a process, a broker, and Celery workers or their queues."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import psycopg
import pytest
from embedded import Postgres, RabbitMQ, Valkey
from psycopg import sql
from psycopg.types.json import Jsonb

from bridge.call import NAMESPACE
from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import TRIGGERS_SQL, Database, on_pg15, on_pg18
from tests.fix_worker import Worker
from tests.inbox import Inbox, inbox

PSQL = Postgres.bin("psql")
TASK = "shop.tasks.reprice"
MEGABYTE = 1 << 20
needs_rabbitmq = pytest.mark.skipif(not RabbitMQ.available(), reason="no RabbitMQ installed")


def watch(conn: psycopg.Connection, name: str, queue: str, table: str = "product", **parameters: Any) -> None:
    """bridge.watch, with the test's queue as an option."""
    parameters = {"task": TASK, "options": {}} | parameters
    parameters["options"] = Jsonb({"queue": queue} | parameters["options"])
    named = sql.SQL(", ").join(sql.SQL("{} => {}").format(sql.Identifier(p), sql.Placeholder(p)) for p in parameters)
    call = sql.SQL("select bridge.watch(%(name)s, %(table)s, {})").format(named)
    conn.execute(call, {"name": name, "table": table, **parameters})


def make_products(conn: psycopg.Connection, count: int = 3) -> None:
    conn.execute("create table product (id integer primary key, price numeric(10, 2) not null, name text)")
    conn.execute("insert into product select n, n, 'product ' || n from generate_series(1, %s) n", [count])


def reprice(conn: psycopg.Connection, key: int) -> None:
    conn.execute("update product set price = price + 1 where id = %s", [key])


def all_delivered(conn: psycopg.Connection, seconds: float = 60) -> None:
    """Until the position is behind the last event and the relay sleeps: the broker has all."""
    # The cheap question first: counting what waits costs the more the more there is.
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
    """The task ids of all events in the log: a redelivery repeats them."""
    rows = conn.execute("select watch || '/' || id from bridge.event").fetchall()
    return {str(uuid5(NAMESPACE, text)) for (text,) in rows}


# --- What a task gets -------------------------------------------------------------------------------------------------


@on_pg18
def test_update_starts_the_task_with_the_key(conn: psycopg.Connection, worker: Worker, run_bridge: Bridges) -> None:
    make_products(conn)
    watch(conn, worker.watch, worker.broker.queue)
    run_bridge(conn.info.dsn, broker_url=worker.broker.url)
    reprice(conn, 2)
    [task] = worker.wait_for(1)
    assert (task["task"], task["args"], task["queue"]) == (TASK, [2], worker.broker.queue)
    assert {task["id"]} == expected_ids(conn)


@on_pg18
def test_a_stream_that_is_born_later_is_served_at_once(
    conn: psycopg.Connection, worker: Worker, run_bridge: Bridges
) -> None:
    make_products(conn)
    run_bridge(conn.info.dsn, broker_url=worker.broker.url)
    watch(conn, worker.watch, worker.broker.queue, stream="later")
    reprice(conn, 2)
    [task] = worker.wait_for(1)
    assert task["args"] == [2]


@on_pg18
def test_header_says_which_change_it_was(conn: psycopg.Connection, worker: Worker, run_bridge: Bridges) -> None:
    make_products(conn)
    watch(conn, worker.watch, worker.broker.queue)
    run_bridge(conn.info.dsn, broker_url=worker.broker.url)
    conn.execute("insert into product values (7, 1)")
    conn.execute("update product set price = 2 where id = 7")
    conn.execute("delete from product where id = 7")
    tasks = worker.wait_for(3)
    events = conn.execute("select id, watch, op, at from bridge.event order by id").fetchall()
    header = [task["bridge"] for task in tasks]
    assert [(h["id"], h["watch"], h["operation"], datetime.fromisoformat(h["at"])) for h in header] == events
    assert [h["operation"] for h in header] == ["insert", "update", "delete"]


@on_pg18
def test_call_event_passes_one_dict(conn: psycopg.Connection, worker: Worker, run_bridge: Bridges) -> None:
    make_products(conn)
    watch(conn, worker.watch, worker.broker.queue, data=["price", "name"], options={"call": "event"})
    run_bridge(conn.info.dsn, broker_url=worker.broker.url)
    with conn.transaction():
        conn.execute("""select set_config('bridge.context', '{"user": "ann"}', true)""")
        conn.execute("update product set price = 2.50 where id = 1")
    [task] = worker.wait_for(1)
    [event] = task["args"]
    assert event == {
        **task["bridge"],
        "key": [1],
        "old_key": None,
        "old": {"price": "1.00", "name": "product 1"},
        "new": {"price": "2.50", "name": "product 1"},
        "changed": ["price"],
        "context": {"user": "ann"},
    }


@on_pg18
def test_rolled_back_change_starts_nothing(conn: psycopg.Connection, worker: Worker, run_bridge: Bridges) -> None:
    make_products(conn)
    watch(conn, worker.watch, worker.broker.queue)
    run_bridge(conn.info.dsn, broker_url=worker.broker.url)
    with conn.transaction(force_rollback=True):
        reprice(conn, 1)
    with conn.transaction():
        with conn.transaction(force_rollback=True):
            reprice(conn, 2)
        reprice(conn, 3)
    # The stream is ordered: what the others would have started is here before this one.
    assert [task["args"] for task in worker.wait_for(1)] == [[3]]
    all_delivered(conn)
    assert len(worker.received()) == 1


def test_with_psql_and_bridge_alone(empty_database: Database, valkey_worker: Worker, run_bridge: Bridges) -> None:
    worker = Worker(valkey_worker.broker, valkey_worker.file)

    def psql(*arguments: str | Path) -> None:
        command = [PSQL, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", empty_database.dsn, *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=30)

    psql("-f", TRIGGERS_SQL)
    psql("-c", "create table product (id int primary key, price int); insert into product values (1, 10), (2, 20)")
    options = f"""{{"queue": "{worker.broker.queue}"}}"""
    psql("-c", f"select bridge.watch('{worker.watch}', 'product', '{TASK}', options => '{options}')")
    run_bridge(empty_database.dsn, broker_url=worker.broker.url)
    psql("-c", "update product set price = 21 where id = 2")
    assert [task["args"] for task in worker.wait_for(1)] == [[2]]


@on_pg18
def test_change_written_by_another_program_starts_its_task(
    database: Database, conn: psycopg.Connection, worker: Worker, run_bridge: Bridges
) -> None:
    make_products(conn)
    watch(conn, worker.watch, worker.broker.queue)
    run_bridge(database.dsn, broker_url=worker.broker.url)
    written = "update product set price = 99 where id = 3"
    subprocess.run([PSQL, "-X", "-d", database.dsn, "-c", written], check=True, capture_output=True, timeout=30)
    assert [task["args"] for task in worker.wait_for(1)] == [[3]]


def test_composite_key_is_two_arguments(
    database: Database, conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges
) -> None:
    conn.execute("create table stock (shop text, product bigint, n int, primary key (product, shop))")
    watch(conn, "stock", valkey.queue, "stock")
    run_bridge(database.dsn, broker_url=valkey.url)
    conn.execute("insert into stock values ('north', 9007199254740993, 1)")
    with inbox(valkey) as tasks:
        # In the order of the key, not of the table.
        assert [task.args for task in tasks.take(1)] == [[9007199254740993, "north"]]


@on_pg15
def test_uuid_and_text_keys_arrive_as_text(
    database: Database, conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges
) -> None:
    conn.execute("create table parcel (id uuid primary key)")
    conn.execute("create table country (code text primary key)")
    watch(conn, "parcel", valkey.queue, "parcel")
    watch(conn, "country", valkey.queue, "country")
    run_bridge(database.dsn, broker_url=valkey.url)
    number = uuid4()
    conn.execute("insert into parcel values (%s)", [number])
    conn.execute("""insert into country values ('a "quoted", größer \\ key')""")
    with inbox(valkey) as tasks:
        first, second = tasks.take(2)
    assert UUID(first.args[0]) == number
    assert first.args == [str(number)]
    assert second.args == ['a "quoted", größer \\ key']


@on_pg15
def test_changed_key_arrives_with_the_old_one(
    database: Database, conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges
) -> None:
    make_products(conn)
    watch(conn, "moved", valkey.queue, options={"call": "event"})
    run_bridge(database.dsn, broker_url=valkey.url)
    conn.execute("update product set id = 10 where id = 1")
    with inbox(valkey) as tasks:
        [task] = tasks.take(1)
    assert (task.args[0]["key"], task.args[0]["old_key"]) == ([10], [1])


@on_pg18
def test_options_of_the_watch_arrive(conn: psycopg.Connection, broker: Broker, run_bridge: Bridges) -> None:
    make_products(conn)
    options = {"priority": 6, "countdown": 60, "expires": 3600, "headers": {"tenant": "north"}}
    watch(conn, "careful", broker.other_queue("careful"), options=options)
    watch(conn, "plain", broker.queue)
    run_bridge(conn.info.dsn, broker_url=broker.url)
    before = datetime.now(UTC)
    reprice(conn, 1)
    with inbox(broker, broker.other_queue("careful")) as queue:
        [careful] = queue.take(1)
    after = datetime.now(UTC)
    assert careful.args == [1]
    assert careful.priority == 6
    assert careful.headers["tenant"] == "north"
    eta, expires = (datetime.fromisoformat(careful.headers[name]) for name in ("eta", "expires"))
    assert before <= eta - timedelta(seconds=60) <= after
    assert before <= expires - timedelta(hours=1) <= after
    with inbox(broker) as queue:
        [plain] = queue.take(1)
    assert (plain.headers["eta"], plain.headers["expires"], plain.bridge["watch"]) == (None, None, "plain")


@on_pg15
def test_odd_names(database: Database, conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges) -> None:
    conn.execute('create schema "My Schema"')
    conn.execute(
        'create table "My Schema"."Odd Name" ("user" int, "größe ""x""" int, "select" text, primary key ("user"))'
    )
    conn.execute('create table "order" ("from" text primary key, "to" text)')
    columns = ["select", 'größe "x"']
    event = {"call": "event"}
    watch(conn, "Odd.name-1", valkey.queue, '"My Schema"."Odd Name"', columns=columns, data=columns, options=event)
    watch(conn, "_order", valkey.queue, '"order"', columns=["to"], condition="""new."to" <> ')'""")
    run_bridge(database.dsn, broker_url=valkey.url)
    conn.execute("""insert into "My Schema"."Odd Name" values (1, 2, 'drop')""")
    conn.execute("""insert into "order" values ('наш', 'ваш'), ('x', ')')""")
    with inbox(valkey) as queue:
        odd, order = queue.take(2)
        all_delivered(conn)
        assert queue.take_all() == []
    assert odd.args[0]["new"] == {"select": "drop", 'größe "x"': 2}
    assert odd.args[0]["key"] == [1]
    assert (order.args, order.bridge["watch"]) == (["наш"], "_order")


# --- The user's own Celery app ----------------------------------------------------------------------------------------


@on_pg18
def test_with_the_users_app_its_task_options_and_routes_apply(
    conn: psycopg.Connection, broker: Broker, run_bridge: Bridges, tmp_path: Path
) -> None:
    make_products(conn)
    for name in ("reprice", "heavy", "routed"):
        # No queue is named: where each goes is the app's affair.
        conn.execute("select bridge.watch(%s, 'product', %s)", [name, f"shop.tasks.{name}"])
    heavy, routed = broker.other_queue("heavy"), broker.other_queue("routed")
    env = {"SHOP_BROKER": broker.url, "SHOP_QUEUE": broker.queue, "SHOP_RECEIVED": str(tmp_path / "received")}
    run_bridge(conn.info.dsn, "--app=tests.worker_app:app", env=env)
    reprice(conn, 1)
    for queue, name, priority in ((broker.queue, "reprice", 0), (heavy, "heavy", 3), (routed, "routed", 0)):
        with inbox(broker, queue) as tasks:
            [task] = tasks.take(1)
            assert (task.name, task.args, task.priority or 0) == (f"shop.tasks.{name}", [1], priority)


@on_pg18
def test_queue_of_the_watch_beats_the_apps_and_the_broker_url_too(
    conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges, tmp_path: Path
) -> None:
    make_products(conn)
    watch(conn, "heavy", valkey.queue, task="shop.tasks.heavy")
    env = {"SHOP_BROKER": "redis://127.0.0.1:1/0", "SHOP_QUEUE": "nobody", "SHOP_RECEIVED": str(tmp_path / "received")}
    run_bridge(conn.info.dsn, "--app=tests.worker_app:app", broker_url=valkey.url, env=env)
    reprice(conn, 1)
    with inbox(valkey) as tasks:
        assert [task.name for task in tasks.take(1)] == ["shop.tasks.heavy"]


# --- Killed, stopped, doubled -----------------------------------------------------------------------------------------


def waits(queue: Inbox, count: int) -> None:
    assert eventually(lambda: queue.waiting() >= count, 30), f"{queue.waiting()} messages, {count} expected"


def undelivered(conn: psycopg.Connection) -> int:
    row = conn.execute("select count(*) from bridge.waiting").fetchone()
    assert row is not None
    count: int = row[0]
    return count


@on_pg18
def test_killed_in_the_middle_and_started_again_loses_nothing(
    conn: psycopg.Connection, broker: Broker, run_bridge: Bridges
) -> None:
    make_products(conn, 4000)
    watch(conn, "reprice", broker.queue)
    conn.execute("update product set price = 0")
    with inbox(broker) as queue:
        bridge = run_bridge(conn.info.dsn, "--batch-size=50", broker_url=broker.url)
        waits(queue, 500)
        bridge.kill()
        assert undelivered(conn) > 0, "it was to be killed in the middle"
        bridge.start()
        all_delivered(conn)
        ids = [task.id for task in queue.take_all()]
    assert set(ids) == expected_ids(conn)
    # At most the batch in flight comes again, with the same ids.
    assert 4000 <= len(ids) <= 4050


@on_pg18
def test_killed_after_the_confirm_delivers_the_batch_again_with_the_same_ids(
    conn: psycopg.Connection, broker: Broker, run_bridge: Bridges
) -> None:
    make_products(conn, 10)
    watch(conn, "reprice", broker.queue)
    bridge = run_bridge(conn.info.dsn, broker_url=broker.url)
    with inbox(broker) as queue:
        # The broker has the tasks, but the position can't be moved: the worst moment to die.
        with conn.transaction(), closing(psycopg.connect(conn.info.dsn, autocommit=True)) as other:
            conn.execute("select from bridge.position for update")
            other.execute("update product set price = 0")
            first = queue.take(10)
            relay = "datname = current_database() and application_name = 'bridge relay default'"
            waiting = f"select wait_event_type from pg_stat_activity where {relay}"
            assert eventually(lambda: other.execute(waiting).fetchone() == ("Lock",))
            bridge.kill()
            # Its backend has the order to move the position already, and would carry it out.
            other.execute(f"select pg_terminate_backend(pid, 5000) from pg_stat_activity where {relay}")
        bridge.start()
        again = queue.take(10)
        all_delivered(conn)
        assert queue.take_all() == []
    assert [(task.id, task.args) for task in again] == [(task.id, task.args) for task in first]


@on_pg18
def test_stopped_in_the_middle_and_started_again_delivers_each_once(
    conn: psycopg.Connection, broker: Broker, run_bridge: Bridges
) -> None:
    make_products(conn, 3000)
    watch(conn, "reprice", broker.queue)
    conn.execute("update product set price = 0")
    with inbox(broker) as queue:
        bridge = run_bridge(conn.info.dsn, "--batch-size=50", broker_url=broker.url)
        waits(queue, 500)
        assert bridge.stop() == 0
        assert undelivered(conn) > 0, "it was to be stopped in the middle"
        bridge.start()
        all_delivered(conn)
        ids = [task.id for task in queue.take_all()]
    assert len(ids) == 3000
    assert set(ids) == expected_ids(conn)


@on_pg15
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_it_cleanly(
    conn: psycopg.Connection, database: Database, valkey: Broker, run_bridge: Bridges, number: signal.Signals
) -> None:
    bridge = run_bridge(database.dsn, broker_url=valkey.url)
    all_delivered(conn)
    assert bridge.stop(number) == 0
    assert [line["message"] for line in bridge.lines()][-2:] == ["stopping", "stopped"]
    left = (
        "select count(*) from pg_stat_activity where datname = current_database() and application_name like 'bridge %'"
    )
    assert eventually(lambda: conn.execute(left).fetchone() == (0,))


@on_pg18
def test_signal_stops_one_that_stands_by(conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges) -> None:
    run_bridge(conn.info.dsn, broker_url=valkey.url)
    standby = run_bridge(conn.info.dsn, broker_url=valkey.url, state="standby")
    assert standby.stop() == 0


def test_two_at_once_deliver_each_event_once(
    database: Database, conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges
) -> None:
    make_products(conn, 300)
    watch(conn, "reprice", valkey.queue)
    run_bridge(database.dsn, broker_url=valkey.url)
    run_bridge(database.dsn, broker_url=valkey.url, state="standby")
    for key in range(1, 301):
        reprice(conn, key)
    all_delivered(conn)
    with inbox(valkey) as queue:
        tasks = queue.take_all()
    assert [task.args for task in tasks] == [[key] for key in range(1, 301)]


@on_pg18
def test_standby_takes_over_when_the_owner_is_killed(
    conn: psycopg.Connection, broker: Broker, run_bridge: Bridges
) -> None:
    make_products(conn)
    watch(conn, "reprice", broker.queue)
    owner = run_bridge(conn.info.dsn, broker_url=broker.url)
    standby = run_bridge(conn.info.dsn, broker_url=broker.url, state="standby")
    with inbox(broker) as queue:
        reprice(conn, 1)
        assert [task.args for task in queue.take(1)] == [[1]]
        all_delivered(conn)
        owner.kill()
        reprice(conn, 2)
        assert [task.args for task in queue.take(1)] == [[2]]
        standby.wait_for("running")
        owner.start("standby")
        reprice(conn, 3)
        assert [task.args for task in queue.take(1)] == [[3]]


# --- Servers that go away ---------------------------------------------------------------------------------------------


@on_pg18
@pytest.mark.parametrize("connection", ["relay default", "listen default", "sleep default", "catalog", "%"])
def test_terminated_backend_is_replaced(
    conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges, connection: str
) -> None:
    make_products(conn)
    watch(conn, "reprice", valkey.queue)
    run_bridge(conn.info.dsn, broker_url=valkey.url)
    all_delivered(conn)
    backends = "select pid from pg_stat_activity where datname = current_database() and application_name like %s"
    before = conn.execute(backends, [f"bridge {connection}"]).fetchall()
    assert before
    conn.execute(f"select pg_terminate_backend(pid, 5000) from ({backends}) b", [f"bridge {connection}"])
    with inbox(valkey) as queue:
        for key in (1, 2):
            reprice(conn, key)
            # Well under the poll floor of 30 s.
            assert [task.args for task in queue.take(1, seconds=10)] == [[key]]
        all_delivered(conn)
        assert queue.take_all() == []
    after = conn.execute(backends, [f"bridge {connection}"]).fetchall()
    assert not set(before) & set(after)


@contextmanager
def connected(server: Postgres) -> Iterator[psycopg.Connection]:
    with closing(psycopg.connect(server.dsn(), autocommit=True)) as connection:
        yield connection


def test_goes_on_after_a_crash_of_the_database(valkey: Broker, run_bridge: Bridges) -> None:
    with Postgres() as server, inbox(valkey) as queue:
        with connected(server) as conn:
            conn.execute(TRIGGERS_SQL.read_bytes())
            make_products(conn, 2000)
            watch(conn, "reprice", valkey.queue)
            conn.execute("update product set price = 0")
        bridge = run_bridge(server.dsn(), "--batch-size=20", broker_url=valkey.url)
        waits(queue, 200)
        server.restart("immediate")
        bridge.wait_for("running")
        assert bridge.said("database away, reconnecting")
        with connected(server) as conn:
            reprice(conn, 1)
            all_delivered(conn)
            tasks = queue.take_all()
            assert {task.id for task in tasks} == expected_ids(conn)
            assert 2001 <= len(tasks) <= 2021
            assert tasks[-1].args == [1]


@pytest.fixture(params=["valkey", pytest.param("rabbitmq", marks=needs_rabbitmq)])
def broker_server(request: pytest.FixtureRequest) -> Iterator[Valkey | RabbitMQ]:
    """A private broker that the test starts and stops itself."""
    server = Valkey() if request.param == "valkey" else RabbitMQ()
    yield server
    server.close()


def as_broker(server: Valkey | RabbitMQ) -> Broker:
    return Broker("private", server.url() if isinstance(server, Valkey) else server.url)


@on_pg18
def test_broker_that_is_down_at_the_start_gets_all_when_it_comes(
    conn: psycopg.Connection, broker_server: Valkey | RabbitMQ, run_bridge: Bridges
) -> None:
    broker = as_broker(broker_server)
    make_products(conn)
    watch(conn, "reprice", broker.queue)
    reprice(conn, 1)
    bridge = run_bridge(conn.info.dsn, broker_url=broker.url, state="broker away")
    reprice(conn, 2)
    broker_server.start()
    with inbox(broker) as queue:
        assert [task.args for task in queue.take(2)] == [[1], [2]]
        all_delivered(conn)
        assert queue.take_all() == []
    bridge.wait_for("running")
    assert bridge.said("broker is back")


@on_pg18
def test_broker_stopped_and_started_again_loses_nothing(
    conn: psycopg.Connection, broker_server: Valkey | RabbitMQ, run_bridge: Bridges
) -> None:
    broker_server.start()
    broker = as_broker(broker_server)
    make_products(conn, 500)
    watch(conn, "reprice", broker.queue)
    bridge = run_bridge(conn.info.dsn, broker_url=broker.url)
    with inbox(broker) as queue:
        reprice(conn, 1)
        [first] = queue.take(1)
        all_delivered(conn)
    broker_server.stop()
    conn.execute("update product set price = 0")
    bridge.wait_for("broker away")
    broker_server.start()
    all_delivered(conn)
    with inbox(broker) as queue:
        rest = queue.take_all()
    assert {task.id for task in (first, *rest)} == expected_ids(conn)
    assert len(rest) == 500


@on_pg18
@needs_rabbitmq
def test_rabbitmq_stopped_in_the_middle_loses_nothing(conn: psycopg.Connection, run_bridge: Bridges) -> None:
    make_products(conn, 4000)
    with RabbitMQ() as server:
        broker = as_broker(server)
        watch(conn, "reprice", broker.queue)
        conn.execute("update product set price = 0")
        with inbox(broker) as queue:
            bridge = run_bridge(conn.info.dsn, "--batch-size=50", broker_url=broker.url)
            waits(queue, 500)
        server.stop()
        assert undelivered(conn) > 0, "it was to be stopped in the middle"
        bridge.wait_for("broker away")
        server.start()
        all_delivered(conn)
        with inbox(broker) as queue:
            ids = [task.id for task in queue.take_all()]
    assert set(ids) == expected_ids(conn)
    assert 4000 <= len(ids) <= 4050


# --- Much at once -----------------------------------------------------------------------------------------------------


@on_pg18
@pytest.mark.timeout(600)
@pytest.mark.parametrize("rows", [20_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_many_rows_of_one_statement_are_as_many_tasks_in_little_memory(
    conn: psycopg.Connection, broker: Broker, run_bridge: Bridges, rows: int
) -> None:
    make_products(conn, rows)
    watch(conn, "reprice", broker.queue)
    conn.execute("update product set price = 0")
    bridge = run_bridge(conn.info.dsn, broker_url=broker.url)
    all_delivered(conn, seconds=300)
    assert bridge.peak_memory() < 120 * MEGABYTE, bridge.peak_memory()
    print(f"{rows:,} rows, {broker.id}: {bridge.peak_memory() / MEGABYTE:.0f} MB")  # noqa: T201 - shown by scripts/soak
    with inbox(broker) as queue:
        tasks = queue.take_all()
    assert len(tasks) == rows
    assert {task.id for task in tasks} == expected_ids(conn)
    # The order within a statement is PostgreSQL's own; each row is there.
    assert sorted(task.args[0] for task in tasks) == list(range(1, rows + 1))
