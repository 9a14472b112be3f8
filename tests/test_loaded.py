"""Events that come from elsewhere: loaddata, COPY, a restore of the data alone, logical replication."""

import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from bridge.stream.event_log import EventLog
from tests.celery_queue import inbox
from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import TRIGGERS_SQL, Database, PgServer, on_pg18
from tests.reading import deliver_all, insert
from tests.test_adoption import burn, carry, deliver, waiting
from tools.servers import Postgres

pytestmark = pytest.mark.anyio
LOADED = "it was loaded from elsewhere: "
ROW = "insert into bridge.event (stream, watch, op, key, xid) values ('default', 'item', 'insert', '[{}]', '{}')"


@pytest.fixture(autouse=True)
def aged(item: None, conn: psycopg.Connection) -> None:
    burn(conn, 100)


@pytest.fixture
def source(pg_server: PgServer) -> Iterator[psycopg.Connection]:
    """Yields another database with three events."""
    database = pg_server.create(pg_server.template())
    with database.connect() as connection:
        connection.execute("create table item (id int primary key, note text)")
        connection.execute("select bridge.watch('item', 'item', 'shop.touch')")
        insert(connection, 11, 12, 13)
        yield connection
    pg_server.drop(database.name)


def dead_letters(conn: psycopg.Connection) -> list[int]:
    """Returns the keys of the loaded events, which are dead letters."""
    rows = conn.execute("select key, reason from bridge.dead_letter order by id").fetchall()
    assert all(reason.startswith(LOADED) for _, reason in rows)
    return [key[0] for key, _ in rows]


def client(server: PgServer, program: str, *arguments: str | Path) -> int:
    """Runs the client program that fits the server. Returns its exit status."""
    path = Postgres.bin(program) if server.id == "pg18" else program
    return subprocess.run([path, *arguments], check=False, capture_output=True).returncode


def load_without_triggers(conn: psycopg.Connection, *statements: str) -> None:
    """Runs the statements without triggers, as `pg_restore --disable-triggers` does."""
    conn.execute("alter table bridge.event disable trigger all")
    for statement in statements:
        conn.execute(statement.encode())
    conn.execute("alter table bridge.event enable trigger all")


@pytest.mark.parametrize("xid", ["3", "99999999"], ids=["from the past", "from the future"])
@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_a_row_with_a_foreign_transaction_id_is_a_dead_letter_that_says_so(
    database: Database, conn: psycopg.Connection, xid: str, role: str
) -> None:
    conn.execute(f"set session_replication_role = {role}".encode())
    conn.execute(ROW.format(1, xid).encode())
    conn.execute("set session_replication_role = origin")
    insert(conn, 2)
    assert dead_letters(conn) == [1]
    assert await deliver(database) == [2]
    assert conn.execute("select bridge.retry(since => '-infinity')").fetchone() == (1,)
    assert await deliver(database) == [1]


async def test_so_is_what_copy_brings_straight_into_a_partition(
    database: Database, conn: psycopg.Connection, source: psycopg.Connection
) -> None:
    """The rows have transaction ids of this cluster that are over, like rows of another database in the cluster."""
    slots = [row[0] for row in source.execute("select distinct slot from bridge.event")]
    for table in ["bridge.event", *(f"bridge.event_{slot}" for slot in slots)]:
        conn.execute("truncate bridge.dead_letter")
        with (
            source.cursor().copy(f"copy (select * from {table}) to stdout".encode()) as read,
            conn.cursor().copy(f"copy {table} from stdin".encode()) as write,
        ):
            for data in read:
                write.write(data)
        assert dead_letters(conn) == [11, 12, 13]
    assert await deliver(database) == []


@pytest.mark.parametrize("disabled", [[], ["--disable-triggers"]], ids=["triggers", "without triggers"])
async def test_a_restore_of_the_data_alone_starts_nothing_and_stops_nothing(
    pg_server: PgServer,
    database: Database,
    conn: psycopg.Connection,
    source: psycopg.Connection,
    tmp_path: Path,
    disabled: list[str],
) -> None:
    source.execute("update bridge.event set xid = '99999999'")
    insert(conn, 1)
    dump = tmp_path / "dump"
    url = pg_server.dsn(source.info.dbname)
    assert client(pg_server, "pg_dump", "-Fc", "--data-only", "-n", "bridge", "-f", dump, url) == 0
    # pg_restore reports errors for existing rows and goes on.
    assert client(pg_server, "pg_restore", "--data-only", *disabled, "-d", database.dsn, dump) == 1
    assert conn.execute("select count(*) from bridge.position where stream = 'default'").fetchone() in {(1,), (2,)}
    conn.execute("select bridge.set_aside()")
    insert(conn, 2)
    assert await deliver(database) == [1, 2]
    assert await deliver(database) == []
    assert dead_letters(conn) == [11, 12, 13]
    conn.execute(TRIGGERS_SQL.read_bytes())
    conn.execute(ROW.format(3, 5).encode())
    conn.execute("set session_replication_role = replica")
    conn.execute(ROW.format(4, 5).encode())
    assert dead_letters(conn) == [11, 12, 13, 3, 4], "triggers.sql must enable its triggers again"


async def test_rows_from_the_future_that_no_trigger_saw_are_in_no_window(
    database: Database, conn: psycopg.Connection
) -> None:
    async with EventLog.open(database.dsn, "default", 2) as log:
        await log.own()
        load_without_triggers(conn, *(ROW.format(n, 99999999) for n in range(5)))
        insert(conn, 10)
        assert waiting(conn) == 1
        assert await deliver_all(log) == [10]
        assert conn.execute("select bridge.set_aside()").fetchone() == (5,)
        assert dead_letters(conn) == [0, 1, 2, 3, 4]
        assert conn.execute("select bridge.set_aside()").fetchone() == (0,)
        assert conn.execute("select bridge.retry(since => '-infinity')").fetchone() == (5,)
        assert await deliver_all(log) == [0, 1, 2, 3, 4]


async def test_a_row_with_the_id_of_a_transaction_that_runs_now_is_not_delivered_at_each_look(
    database: Database, conn: psycopg.Connection
) -> None:
    """The row looks as if it belonged to this cluster. The relay delivers it when that transaction has ended."""
    with closing(psycopg.connect(database.dsn)) as running:
        [(xid,)] = running.execute("select pg_current_xact_id()::text").fetchall()
        burn(conn, 3)
        async with EventLog.open(database.dsn, "default", 100) as log:
            await log.own()
            load_without_triggers(conn, ROW.format(1, xid))
            for _ in range(3):
                assert await deliver_all(log) == []
            running.commit()
            assert await deliver_all(log) == [1]
            assert await deliver_all(log) == []


def test_set_aside_leaves_what_its_own_transaction_and_others_write(
    database: Database, conn: psycopg.Connection
) -> None:
    with closing(psycopg.connect(database.dsn)) as other, closing(psycopg.connect(database.dsn)) as own:
        insert(other, 1)
        insert(own, 2)
        assert own.execute("select bridge.set_aside()").fetchone() == (0,)
        other.commit()
        assert own.execute("select bridge.set_aside()").fetchone() == (0,)
        own.commit()
    assert waiting(conn) == 2


async def test_a_foreign_log_is_adopted_and_not_set_aside(database: Database, conn: psycopg.Connection) -> None:
    insert(conn, 1, 2)
    carry(conn, 1_000_000)
    assert conn.execute("select bridge.set_aside()").fetchone() == (0,)
    assert await deliver(database) == [1, 2]


@on_pg18
def test_a_bridge_that_runs_sets_them_aside_without_a_storm(
    database: Database, conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges
) -> None:
    options = f'{{"queue": "{valkey.queue}"}}'
    conn.execute("select bridge.watch('item', 'item', 'shop.touch', options => %s::jsonb)", [options])
    bridge = run_bridge(database.dsn, broker_url=valkey.url)
    load_without_triggers(conn, *(ROW.format(n, 99999999) for n in range(300)))
    insert(conn, 1000)
    conn.execute('notify "bridge"')  # starts the next round of the bridge's housekeeping
    assert eventually(lambda: conn.execute("select count(*) from bridge.dead_letter").fetchone() == (300,))
    with inbox(valkey) as tasks:
        assert [task.args for task in tasks.take(1)] == [[1000]]
        assert tasks.waiting() == 0
    [line] = [
        line for line in bridge.lines() if line["message"] == "events loaded from another cluster became dead letters"
    ]
    assert (line["level"], line["number"]) == ("ERROR", 300)


@on_pg18
def test_a_replica_of_the_schema_delivers_nothing_of_the_original() -> None:
    """Logical replication copies the schema bridge, but the copy must not deliver the original's events."""
    with (
        Postgres(settings={"wal_level": "logical"}) as server,
        closing(psycopg.connect(server.dsn(), autocommit=True)) as original,
    ):
        original.execute("create database copy")
        for dsn in (server.dsn(), server.dsn("copy")):
            with closing(psycopg.connect(dsn, autocommit=True)) as conn:
                conn.execute(TRIGGERS_SQL.read_bytes())
                conn.execute("create table item (id int primary key, note text)")
                conn.execute("select bridge.watch('item', 'item', 'shop.touch')")
        insert(original, 1)
        original.execute("create publication log for table bridge.event")
        original.execute("select pg_create_logical_replication_slot('copying', 'pgoutput')")
        with closing(psycopg.connect(server.dsn("copy"), autocommit=True)) as copy:
            connection = f"host={server.socket_dir} user=postgres dbname=postgres"
            copy.execute(
                f"create subscription copying connection '{connection}' publication log "
                "with (create_slot = false)".encode()
            )
            try:
                assert eventually(lambda: dead_letters(copy) == [1])
                # In one cluster, dropping the subscription would wait for its own first copy.
                ready = "select bool_and(srsubstate = 'r') from pg_subscription_rel"
                assert eventually(lambda: copy.execute(ready).fetchone() == (True,))
                insert(original, 2)
                assert eventually(lambda: dead_letters(copy) == [1, 2])
                assert waiting(copy) == 0
            finally:
                copy.execute("drop subscription copying")
