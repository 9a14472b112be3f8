"""The arguments that tasks get, with a real PostgreSQL, `bridge run`, a broker, and workers or their queues."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg

from tests.celery_queue import inbox
from tests.end_to_end.product import TASK, all_delivered, expected_ids, make_products, reprice, watch
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import TRIGGERS_SQL, Database, on_pg15, on_pg18
from tests.fix_worker import Worker
from tools.servers import Postgres

PSQL = Postgres.bin("psql")


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
    # The stream is ordered: tasks of the rolled-back changes would have arrived before this one.
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
        # The order is that of the key's columns, not of the table's.
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
