"""No output contains a marked password, whichever way it is configured, correctly or not."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote, unquote_plus

import psycopg
import pytest
from celery import Celery

from bridge import secret
from bridge.cli.main import cli
from bridge.errors import BridgeError, BrokerError
from bridge.publisher import Pool, Publisher
from bridge.publisher.app import note_secrets
from bridge.settings import Settings
from tests.cli.command import Result, started
from tests.fix_bridge import Bridges
from tests.fix_postgres import on_pg18

MARK = "t0ps3cret"
# Each unencoded piece of a password has the mark, so a parser may split it anywhere.
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
        # All commands read the address in one way, so the other commands run with one host only.
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


@pytest.mark.parametrize("password", [f"{MARK}\\'\"x", f"{MARK}\n1", f"1ö{MARK}é", f"{MARK}/a b&c", f"a%2f{MARK}+b"])
def test_a_password_is_hidden_however_a_library_quotes_it(password: str) -> None:
    secret.note_value(password)
    octets = password.encode()
    said = [password, repr(password), ascii(password), repr(octets), json.dumps(password), quote(password)]
    said += [quote(password, safe=""), quote_plus(password), unquote(password), unquote_plus(password)]
    said += [re.sub("%..", lambda one: one[0].lower(), text) for text in said]
    assert [text for text in said if MARK in secret.hidden(f"it says {text}.")] == []


@pytest.mark.parametrize(
    "name", ["ssl_keyfile_password", "redis_password", "SENTINEL_PASSWORD", "sas_token", "sslpassword"]
)
def test_a_password_behind_a_longer_name_is_hidden(name: str) -> None:
    secret.note(f"rediss://127.0.0.1:1/0?{name}={MARK}%20a")
    for text in (f"{name}={MARK}", f"{{'{name}': '{MARK}'}}", f"the key {MARK} a is wrong"):
        assert MARK not in secret.hidden(text)


def test_whatever_setting_of_an_app_holds_a_password_is_noted() -> None:
    app = Celery("holding", set_as_current=False)
    app.conf.update(
        redis_password=f"{MARK}1",
        broker_use_ssl={"ssl_keyfile_password": f"{MARK}2"},
        broker_transport_options={"sentinels": [{"sas_token": f"{MARK}3"}], "url": f"redis://:{MARK}4@h"},
        shop_address=f"postgresql://ann:{MARK}5@h/shop",
    )
    note_secrets(app)
    assert MARK not in secret.hidden(", ".join(f"{MARK}{number}" for number in range(1, 6)))


def test_an_app_that_fails_in_a_publisher_process_only_shows_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "moody.py").write_text(
        "import logging\nfrom multiprocessing import parent_process\nfrom celery import Celery\n"
        f"if parent_process(): logging.getLogger('shop').warning('amqp://ann:{MARK}@host// is odd')\n"
        f"if parent_process(): raise RuntimeError('amqp://ann:{MARK}@host// is wrong')\n"
        f"app = Celery('moody', broker='redis://127.0.0.1:1/0')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    pool = Pool(2, None, "moody:app")
    try:
        with pytest.raises(BrokerError, match="is wrong") as caught:
            pool.connect()
    finally:
        pool.close()
    out, err = capfd.readouterr()
    assert "is odd" in err
    assert MARK not in out + err + str(caught.value)
