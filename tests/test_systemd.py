"""The bridge notifies the service manager on a real datagram socket."""

import os
import secrets
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from bridge.telemetry.health import Health, State
from bridge.telemetry.systemd import Systemd
from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import on_pg18


class Manager:
    def __init__(self, address: str) -> None:
        """Opens the socket. `address` has the form of NOTIFY_SOCKET."""
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.setblocking(False)
        self.words: list[str] = []

    def heard(self, word: str) -> bool:
        return word in self.listen()

    def listen(self) -> list[str]:
        """Returns all words received so far."""
        while True:
            try:
                self.words += self.socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return self.words


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    name = f"bridge-test-{secrets.token_hex(6)}"
    manager = Manager(f"@{name}" if request.param == "abstract" else str(tmp_path / name))
    yield manager
    manager.socket.close()


def test_it_is_ready_once_when_all_streams_are(manager: Manager) -> None:
    health = Health()
    systemd = Systemd(health, {"NOTIFY_SOCKET": manager.address})
    systemd.tell()
    assert manager.listen() == ["STATUS=connecting"]
    health.set("default", State.RUNNING)
    health.set("orders", State.CONNECTING)
    systemd.tell()
    assert not manager.heard("READY=1")
    health.set("orders", State.STANDBY)
    systemd.tell()
    systemd.tell()
    assert manager.listen()[-2:] == ["READY=1", "STATUS=default: running, orders: standby"]
    health.set("default", State.BROKER_AWAY)
    systemd.tell()
    assert manager.listen()[-1] == "STATUS=default: broker away, orders: standby"
    systemd.stopping()
    assert manager.listen()[-2:] == ["STOPPING=1", "STATUS=stopping"]
    assert manager.words.count("READY=1") == 1


def test_the_watchdog_is_fed_only_while_relays_make_progress(manager: Manager) -> None:
    health = Health(no_progress=0)
    environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "2000", "WATCHDOG_PID": str(os.getpid())}
    systemd = Systemd(health, environment)
    assert systemd.period == pytest.approx(0.001)

    def fed() -> int:
        systemd.tell()
        return manager.listen().count("WATCHDOG=1")

    assert eventually(lambda: fed() > 1)
    with health.publishing("default"):
        before = manager.listen().count("WATCHDOG=1")
        assert not eventually(lambda: fed() > before, 0.05)
    assert eventually(lambda: fed() > before)


@pytest.mark.parametrize(
    "environment", [{"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "2000", "WATCHDOG_PID": "1"}, {}]
)
def test_a_watchdog_of_another_process_is_not_fed(manager: Manager, environment: dict[str, str]) -> None:
    systemd = Systemd(Health(), {"NOTIFY_SOCKET": manager.address, **environment})
    assert systemd.period == 1.0
    systemd.tell()
    assert not manager.heard("WATCHDOG=1")


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_without_a_manager_nothing_happens(environment: dict[str, str]) -> None:
    Systemd(Health(), environment).tell()


@on_pg18
def test_the_bridge_tells_of_its_life(
    conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges, manager: Manager
) -> None:
    env = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000"}
    bridge = run_bridge(conn.info.dsn, broker_url=valkey.url, env=env)
    assert eventually(lambda: manager.heard("READY=1"))
    assert eventually(lambda: manager.heard("STATUS=default: running"))
    assert eventually(lambda: manager.listen().count("WATCHDOG=1") > 2)
    assert bridge.stop(signal.SIGTERM) == 0
    assert manager.heard("STOPPING=1")
