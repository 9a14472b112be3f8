"""A private RabbitMQ node, run from Debian's package, for tests that stop and kill a broker.

It shares nothing with the machine's own node. It has its own name, ports, data and cookie, and its own epmd (Erlang's
port mapper), which RabbitMQ would otherwise start in the background and never stop.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from tools.servers.child import Child, StartError
from tools.servers.directory import PrivateDirectory
from tools.servers.port import free_port
from tools.servers.server import Server

# Not /usr/sbin/rabbitmq-server: Debian's wrapper works only with the user rabbitmq and the machine's own folders.
_BINARIES = Path("/usr/lib/rabbitmq/bin")
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_ACTOR = '<<"embedded">>'  # the node's log names it as the author of changes
_AMQP = b"AMQP\x00\x00\x09\x01"  # AMQP 0-9-1's greeting; the server answers with a frame of type 1 (a method)
_CONFIG = """
listeners.tcp.1 = 127.0.0.1:{port}
log.console = true
log.file = false
disk_free_limit.absolute = 10MB
"""


class RabbitMQ(Server):
    def __init__(self) -> None:
        self.directory = PrivateDirectory()
        self.port = free_port()
        self.log = self.directory.path / "log"
        self.node = f"bridge-{secrets.token_hex(4)}@localhost"
        self._epmd_port = free_port()
        self._distribution_port = free_port()
        self._epmd: Child | None = None
        self._child: Child | None = None

    @staticmethod
    def available() -> bool:
        return (_BINARIES / "rabbitmq-server").exists() and shutil.which("erl") is not None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    def start(self) -> None:
        """Starts the node, which takes some seconds. Durable queues and messages of an earlier run are there again."""
        if not self._epmd:
            self._configure()
            self._epmd = self._run("epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1")
            self._epmd.wait_until(lambda: _connects(self._epmd_port), _START_SECONDS)
        child = self._run(_BINARIES / "rabbitmq-server")
        try:
            child.wait_until(self._answers, _START_SECONDS)
        except StartError:
            child.kill()
            raise
        self._child = child

    def stop(self) -> None:
        if self._child:
            self._child.stop(signal.SIGTERM, _STOP_SECONDS)
            self._child = None

    def kill(self) -> None:
        if self._child:
            self._child.kill()
            self._child = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def control(self, *arguments: str) -> str:
        """Runs rabbitmqctl for this node and returns its output."""
        done = subprocess.run(
            [_BINARIES / "rabbitmqctl", "--quiet", *arguments],
            env=self._environment(),
            cwd=self.directory.path,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def evaluate(self, expression: str) -> str:
        """Returns the value of an Erlang expression in this node. Uses erl_call: rabbitmqctl takes 1 s or more."""
        if shutil.which("erl_call") is None:
            return self.control("eval", f"{expression}.").strip()
        done = subprocess.run(
            ["erl_call", "-sname", self.node, "-e"],
            env=self._environment(),
            cwd=self.directory.path,
            check=True,
            capture_output=True,
            text=True,
            input=f"{expression}.\n",
        )
        if not done.stdout.startswith("{ok, "):
            raise RuntimeError(f"{expression}: {done.stdout}{done.stderr}")
        return done.stdout.removeprefix("{ok, ").removesuffix("}")

    def add_user(self, name: str, password: str, writes: str = ".*") -> None:
        """Adds a user with all rights in the vhost `/`, except that it may write only to matching exchanges."""
        users = "rabbit_auth_backend_internal"
        self.evaluate(
            f'{users}:add_user(<<"{name}">>, <<"{password}">>, {_ACTOR}), '
            f'{users}:set_permissions(<<"{name}">>, <<"/">>, <<".*">>, <<"{writes}">>, <<".*">>, {_ACTOR})'
        )

    def add_vhost(self, name: str) -> None:
        """Adds a vhost in which the user guest has all rights."""
        self.evaluate(
            f'rabbit_vhost:add(<<"{name}">>, {_ACTOR}), rabbit_auth_backend_internal:set_permissions('
            f'<<"guest">>, <<"{name}">>, <<".*">>, <<".*">>, <<".*">>, {_ACTOR})'
        )

    def delete_vhost(self, name: str) -> None:
        self.evaluate(f'rabbit_vhost:delete(<<"{name}">>, {_ACTOR})')

    def close(self) -> None:
        """Stops the node and removes all its files."""
        self.kill()
        if self._epmd:
            self._epmd.kill()
        self.directory.remove()

    def _configure(self) -> None:
        home = self.directory.path
        (home / "rabbitmq.conf").write_text(_CONFIG.format(port=self.port))
        (home / "plugins").write_text("[].\n")
        (home / "env.conf").touch()
        cookie = home / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o600)

    def _environment(self) -> dict[str, str]:
        home = self.directory.path
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("RABBITMQ_", "ERL_"))}
        return inherited | {
            "HOME": str(home),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_CONF_ENV_FILE": str(home / "env.conf"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(home / "logs"),
            "RABBITMQ_PID_FILE": str(home / "pid"),
            # With this the script replaces itself by the node, so that our signals reach the node.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def _run(self, *argv: str | Path) -> Child:
        return Child(argv, self.directory, log=self.log, env=self._environment())

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as client:
                client.sendall(_AMQP)
                return client.recv(1) == b"\x01"
        except OSError:
            return False


def _connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
