"""Marked passwords go in by every way there is, right and wrong, and none of it comes out."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from bridge import secret
from bridge.cli import cli
from bridge.config import Settings
from bridge.errors import BridgeError
from bridge.publisher import Publisher
from tests.cli.command import Result, started
from tests.fix_bridge import Bridges
from tests.fix_postgres import on_pg18

MARK = "t0ps3cret"
# Each piece of a password that is not encoded has the mark, wherever a parser cuts it.
PASSWORDS = [
    f"{MARK}1",
    f"{MARK}1/{MARK}2",
    f"{MARK}1@{MARK}2",
    f"{MARK}1:{MARK}2",
    f"{MARK}1?{MARK}2",
    f"{MARK}1#{MARK}2",
]
PASSWORDS += [f"{MARK}%2F{MARK}2", f"{MARK}%zz{MARK}", f"{MARK}[{MARK}", f"{MARK} {MARK}"]
HOSTS = ["127.0.0.1:1", "127.0.0.1:port", "127.0.0.1:99999", "nowhere.invalid", "", "[::1"]
SCHEMES = ["amqp", "amqps", "pyamqp", "redis", "rediss", "sentinel", "kafkaesque", "", "redis+socket", "sqs"]
DSNS = [
    "postgresql://ann:{}@{}/shop",
    "postgres://ann:{}@{}/shop",
    "mysql://ann:{}@{}/x",
    "host={1} password='{0}' dbname=x",
]
DSNS += ["postgresql://{1}/shop?password={0}", "ann:{}@{}", "password={} port={}"]


def is_secret(done: Result) -> bool:
    return MARK not in done.out + done.err and "Traceback" not in done.err


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    secret._known.clear()


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("dsn", DSNS)
def test_no_command_shows_the_databases_password(dsn: str, password: str) -> None:
    from click.testing import CliRunner  # noqa: PLC0415

    for host in HOSTS[:4]:
        address = dsn.format(password, host)
        # All commands take the address by the same way.
        others = (["install"], ["tail"], ["dead-letters", "list"], ["apply", "nowhere.toml"])
        for command in (["status"], *(others if host == HOSTS[0] else ())):
            done = CliRunner().invoke(cli, command, env={"BRIDGE_DATABASE_URL": address})
            assert done.exit_code != 0
            assert MARK not in done.output + str(done.exception), done.output


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_publisher_shows_the_brokers_password(scheme: str, password: str) -> None:
    for host in HOSTS:
        one = f"{scheme}://ann:{password}@{host}//"
        for address in (one, f"amqp://127.0.0.1:1//;{one}", f"{one};{one}"):
            assert MARK not in repr(Settings(database_url=address, broker_url=address))
            try:
                publisher = Publisher(address)
                said = publisher.address + repr(publisher)
            except BridgeError as error:
                said = str(error)
            assert MARK not in said


@on_pg18
@pytest.mark.parametrize(
    "address", [f"amqp://shop:{MARK}/x@h//", f"redis://:{MARK}@127.0.0.1:1/0", f"sentinel://:{MARK}@127.0.0.1:1"]
)
def test_a_bridge_whose_broker_is_away_shows_its_password_nowhere(
    conn: psycopg.Connection, run_bridge: Bridges, address: str
) -> None:
    done = started("run", f"--broker-url={address}", "--http=:", BRIDGE_DATABASE_URL=conn.info.dsn)
    assert is_secret(done)
    if "/x@" in address:
        return
    bridge = run_bridge(conn.info.dsn, "--publishers=2", env={"BRIDGE_BROKER_URL": address}, state="broker away")
    children = subprocess.run(["ps", "-ww", "-eo", "args"], check=True, capture_output=True, text=True).stdout
    assert MARK not in children
    shown = [bridge.get(path) for path in ("/healthz", "/readyz", "/metrics")]
    noted = conn.execute("select broker_error from bridge.status()").fetchall()
    assert MARK not in str((shown, noted, bridge.log()))


@on_pg18
def test_an_app_that_holds_the_password_or_shouts_it_shows_it_nowhere(
    conn: psycopg.Connection, run_bridge: Bridges, tmp_path: Path
) -> None:
    (tmp_path / "holding.py").write_text(
        f"""
from celery import Celery
app = Celery("holding", broker="redis://:{MARK}@127.0.0.1:1/0", backend="redis://:{MARK}b@127.0.0.1:1/1")
app.conf.broker_transport_options = {{"sentinel_kwargs": {{"password": "{MARK}s"}}}}
"""
    )
    for number, raised in enumerate(("RuntimeError", "ValueError", "ImportError", "KeyError", "SystemError")):
        (tmp_path / f"shouting{number}.py").write_text(f"raise {raised}('amqp://ann:{MARK}@host// is wrong')")
        path = {"PYTHONPATH": str(tmp_path), "BRIDGE_DATABASE_URL": conn.info.dsn}
        done = started("run", f"--app=shouting{number}:app", **path)
        assert done.code == 2, done
        assert is_secret(done), done
    env = {"PYTHONPATH": str(tmp_path)}
    bridge = run_bridge(conn.info.dsn, "--app=holding:app", env=env, state="broker away")
    noted = conn.execute("select broker_error from bridge.status()").fetchall()
    assert MARK not in str((bridge.get("/metrics"), noted, bridge.log()))
