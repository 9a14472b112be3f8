"""The embedded servers are private, durable where they promise it, and end when their parent ends."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import kombu
import psycopg
import pytest

import tools.servers.postgres
from tests.eventually import eventually
from tools.servers import Child, Postgres, PrivateDirectory, RabbitMQ, StartError, Valkey

ROOT = Path(__file__).parent.parent
# A program that starts a server, prints its directory and process id, and waits to be killed.
PARENT = """
import sys, signal
from tools import servers
with getattr(servers, sys.argv[1])() as server:
    print(server.directory.path, server.pid, flush=True)
    signal.pause()
"""
needs_rabbitmq = pytest.mark.skipif(not RabbitMQ.available(), reason="RabbitMQ is not installed")


def gone(pid: int) -> bool:
    """Returns whether the process has ended, or only waits until its new parent notices."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # it ended before we opened the file, or after
        return True


def family(pid: int) -> set[int]:
    """Returns the process and its descendants."""
    children = {pid}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            words = stat.read_text().rpartition(")")[2].split()
            if int(words[1]) == pid:
                children |= family(int(stat.parent.name))
    return children


def rows(server: Postgres) -> list[tuple[int]]:
    with psycopg.connect(server.dsn()) as connection:
        return connection.execute("select * from kept").fetchall()


def in_recovery(server: Postgres) -> bool:
    with psycopg.connect(server.dsn()) as connection:
        return connection.execute("select pg_is_in_recovery()").fetchone() == (True,)


def busy(server: Postgres) -> bool:
    with psycopg.connect(server.dsn()) as connection:
        query = "select from pg_stat_activity where query like 'set statement_timeout%' and state = 'active'"
        return connection.execute(query).fetchone() is not None


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the test reads /proc")
@pytest.mark.parametrize(
    "server",
    ["Postgres", "Valkey", pytest.param("RabbitMQ", marks=[needs_rabbitmq, pytest.mark.timeout(180)])],
)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_server_and_its_files_go_when_the_parent_is_killed(server: str, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, server],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as parent:
        assert parent.stdout is not None
        directory, pid = parent.stdout.readline().split()
        processes = family(int(pid))
        assert Path(directory).exists()
        parent.send_signal(number)
    assert eventually(lambda: all(map(gone, processes))), "a process of the server is still running"
    assert eventually(lambda: not Path(directory).exists()), "files are left behind"


def test_closed_postgres_leaves_nothing_behind() -> None:
    with Postgres() as server:
        assert server.pid is not None
        processes = family(server.pid)
    assert not server.directory.path.exists()
    assert eventually(lambda: all(map(gone, processes)))


def test_postgres_listens_on_its_socket_only() -> None:
    with Postgres() as server, psycopg.connect(server.dsn()) as connection:
        assert connection.execute("show listen_addresses").fetchone() == ("",)
        assert server.socket_dir.stat().st_mode & 0o077 == 0


def test_postgres_over_tcp_wants_the_password() -> None:
    with Postgres(tcp=True) as server:
        psycopg.connect(server.dsn()).close()
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(f"host=127.0.0.1 port={server.port} user=postgres dbname=postgres", passfile="/dev/null")


@pytest.mark.parametrize("end", ["fast", "immediate", "kill"])
def test_postgres_keeps_committed_rows(end: str) -> None:
    with Postgres(settings={"wal_level": "logical"}) as server:
        with psycopg.connect(server.dsn()) as connection:
            connection.execute("create table kept as select 1")
        match end:
            case "kill":
                server.kill()
                server.start()
            case "fast" | "immediate":
                server.restart(end)
        assert rows(server) == [(1,)]


def test_postgres_starts_again_beside_a_busy_orphan() -> None:
    with (
        Postgres() as server,
        contextlib.closing(psycopg.connect(server.dsn(), autocommit=True)) as connection,
    ):
        connection.execute("create table kept as select 1")
        # The query never waits, so its process doesn't notice that the postmaster has ended.
        connection.pgconn.send_query(b"set statement_timeout = '1s'; select count(*) from generate_series(1, 1e9)")
        connection.pgconn.flush()
        assert eventually(lambda: busy(server))
        server.kill()
        server.start()
        assert rows(server) == [(1,)]


def test_promoted_standby_takes_writes_beside_its_old_primary() -> None:
    with Postgres() as primary:
        with psycopg.connect(primary.dsn()) as connection:
            connection.execute("create table kept as select 1")
        with Postgres(origin=primary, role="standby") as standby:
            with psycopg.connect(primary.dsn()) as connection:
                connection.execute("insert into kept values (2)")
            assert eventually(lambda: rows(standby) == [(1,), (2,)])
            with psycopg.connect(standby.dsn()) as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                connection.execute("insert into kept values (3)")
            primary.kill()
            standby.promote()
            assert eventually(lambda: not in_recovery(standby))
            with psycopg.connect(standby.dsn()) as connection:
                connection.execute("insert into kept values (4)")
            primary.start()
            assert (rows(primary), rows(standby)) == ([(1,), (2,)], [(1,), (2,), (4,)])
    assert not standby.directory.path.exists()


def test_prepared_transactions_survive_a_killed_postgres() -> None:
    with Postgres() as server:
        with psycopg.connect(server.dsn()) as connection:
            connection.execute("create table kept (x int)")
            connection.commit()
            connection.execute("insert into kept values (1)")
            connection.execute("prepare transaction 'late'")
        server.kill()
        server.start()
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute("commit prepared 'late'")
        assert rows(server) == [(1,)]


def test_postgres_runs_from_a_copy_when_its_user_cannot_read_the_checkout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("tools.servers.postgres._executable", lambda _: False)
        patch.setattr("tools.servers.postgres._binaries", tools.servers.postgres._binaries.__wrapped__)
        with Postgres() as server:
            psycopg.connect(server.dsn()).close()


def test_wrong_setting_is_reported_with_the_log() -> None:
    with pytest.raises(StartError, match="no_such_setting"), Postgres(settings={"no_such_setting": "1"}):
        pass


def test_valkey_carries_a_message_and_forgets_it_at_restart() -> None:
    with Valkey() as server:
        with (
            kombu.Connection(server.url(1)) as connection,
            contextlib.closing(connection.SimpleQueue("q")) as queue,
        ):
            queue.put({"n": 1})
            assert queue.get(timeout=5).payload == {"n": 1}
            queue.put({"n": 2})
        server.restart()
        with (
            kombu.Connection(server.url(1)) as connection,
            contextlib.closing(connection.SimpleQueue("q")) as queue,
            pytest.raises(queue.Empty),
        ):
            queue.get_nowait()
    assert not server.directory.path.exists()


@needs_rabbitmq
@pytest.mark.timeout(180)
def test_rabbitmq_keeps_a_durable_message_and_leaves_nothing_behind() -> None:
    with RabbitMQ() as server:
        confirmed = {"confirm_publish": True}
        with (
            kombu.Connection(server.url, transport_options=confirmed) as connection,
            contextlib.closing(connection.SimpleQueue("q")) as queue,
        ):
            queue.put({"n": 1})
        server.kill()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", server.port))
        server.start()
        with (
            kombu.Connection(server.url) as connection,
            contextlib.closing(connection.SimpleQueue("q")) as queue,
        ):
            assert queue.get(timeout=5).payload == {"n": 1}
        assert "q" in server.control("list_queues", "name")
        server.stop()
    assert not server.directory.path.exists()


def test_child_that_ends_early_is_an_error_with_its_log() -> None:
    with PrivateDirectory() as directory:
        child = Child(["sh", "-c", "echo the reason; exit 3"], directory, log=directory.path / "log")
        with pytest.raises(StartError, match=r"status 3\nthe reason"):
            child.wait_until(lambda: False, 10)


def test_child_that_ignores_the_polite_signal_is_killed() -> None:
    with PrivateDirectory() as directory:
        child = Child(
            ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"],
            directory,
            log=directory.path / "log",
        )
        child.wait_until(lambda: child.tail() == "up", 10)
        assert child.stop(seconds=0.2) == -signal.SIGKILL
