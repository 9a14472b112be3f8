"""`bridge run` with wrong settings."""

import signal
from pathlib import Path

import pytest

from tests.cli.command import SECRET, Command, Launch, Result, started
from tests.eventually import eventually
from tests.fix_bridge import BRIDGE, environment
from tests.fix_postgres import Database, on_pg18


def test_a_duration_that_is_none_names_the_fix(bridge: Command) -> None:
    for option in ("--retention", "--inbox-retention", "--grace", "--poll-floor", "--takeover-after"):
        done = bridge("run", f"{option}=soon")
        assert done.code == 2
        assert f"'{option}'" in done.err
        assert "is not a duration. Use 90s, 30m, 1h30m" in done.err
    assert "[env var: BRIDGE_RETENTION; default: 24h]" in " ".join(bridge("run", "--help").out.split())


def run_fails(*arguments: str, **more: str) -> str:
    done = started("run", *arguments, **more)
    [error] = [line for line in done.err.splitlines() if line.startswith("Error: ")]
    assert SECRET not in done.err
    assert "Traceback" not in done.err
    return Result(done.code, done.out, error).sentence()


def test_run_without_a_broker() -> None:
    sentence = run_fails(BRIDGE_DATABASE_URL="postgresql:///unused")
    assert sentence == "no broker: give --broker-url (BRIDGE_BROKER_URL) or --app (BRIDGE_CELERY_APP)"


@pytest.mark.parametrize(
    ("app", "named"),
    [
        ("nowhere.celery:app", "nowhere"),
        ("json:nothing", "nothing"),
        ("json:loads", "not a Celery app"),
        ("json", "json"),
    ],
)
def test_run_with_a_wrong_app(app: str, named: str) -> None:
    sentence = run_fails(f"--app={app}", BRIDGE_DATABASE_URL="postgresql:///unused")
    assert sentence.startswith(f"the Celery app {app}: ")
    assert named in sentence.removeprefix(f"the Celery app {app}: ")


@pytest.mark.parametrize("address", [f"kafkaesque://ann:{SECRET}@host", f"amqp://ann:{SECRET}@host:port//"])
def test_run_with_a_wrong_broker(address: str) -> None:
    sentence = run_fails(f"--broker-url={address}", BRIDGE_DATABASE_URL="postgresql:///unused")
    assert "broker" in sentence


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:99999", "127.0.0.1:", "192.0.2.1:80"])
def test_run_with_a_wrong_http_address(address: str) -> None:
    sentence = run_fails("--broker-url=memory://", f"--http={address}", BRIDGE_DATABASE_URL="postgresql:///unused")
    assert sentence.startswith(f"--http {address}: ")


@on_pg18
def test_run_hears_ctrl_c_also_where_a_shell_has_put_it_in_the_background(
    database: Database, launch: Launch, tmp_path: Path
) -> None:
    """A script may start several servers with `&`, and one Ctrl-C must end them all."""
    log = tmp_path / "run.log"
    env = environment(BRIDGE_DATABASE_URL=database.dsn, BRIDGE_BROKER_URL="memory://")
    child = launch(["/bin/sh", "-c", 'trap "" INT; exec "$0" run', BRIDGE], log, env)
    assert eventually(lambda: "serving" in log.read_text()), child.tail()
    assert child.stop(signal.SIGINT) == 0
    assert "stopped" in child.tail().splitlines()[-1]
