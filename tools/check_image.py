"""Checks that changes go through the two images of scripts/image: from PostgreSQL to bridge, RabbitMQ and worker.

scripts/image runs this module after it has set up buildah. PostgreSQL is a private server. RabbitMQ is the machine's
own, or the one in BRIDGE_TEST_RABBITMQ_URL; a queue of our own is made there and deleted again.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import kombu
import psycopg

from tools.servers import Child, Postgres, PrivateDirectory, StartError
from tools.servers.port import free_port

RABBITMQ = os.environ.get("BRIDGE_TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//")
START_SECONDS = 30.0
DELIVERY_SECONDS = 20.0
STOP_SECONDS = 40.0
USER = "10001"

WATCH_ITEM = """
create table item (id bigint primary key, price numeric not null);
insert into item values (1, 10);
select bridge.watch('item_price', 'item', 'shop.reprice', operations => '{update}', columns => '{price}',
    options => jsonb_build_object('queue', %(queue)s::text));
"""
# The watch that examples/shop declares, but with our own queue: others may use the default queue on this RabbitMQ.
WATCH_PRODUCT = """
select bridge.watch('catalog.product_reprice', 'catalog_product', 'catalog.tasks.reprice', operations => '{update}',
    columns => '{price}', options => jsonb_build_object('queue', %(queue)s::text))
"""


class CheckError(Exception):
    """A check failed. Only the message is shown."""


@dataclass(frozen=True)
class Container:
    """A working container of an image. It is isolated by chroot only: it shares the machine's network and processes."""

    id: str
    config: dict[str, Any]
    environment: Mapping[str, str]

    def argv(self, *command: str) -> list[str]:
        given = [f"--env={name}={value}" for name, value in self.environment.items()]
        return ["buildah", "run", *given, self.id, "--", *command]

    def run(self, *command: str) -> str:
        done = subprocess.run(self.argv(*command), check=False, capture_output=True, text=True)
        if done.returncode:
            raise CheckError(f"{' '.join(command)} ended with status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()


@contextmanager
def container(image: str, environment: Mapping[str, str]) -> Iterator[Container]:
    made = _buildah("from", "--pull-never", image).strip()
    try:
        config = json.loads(_buildah("inspect", "--type", "image", image))["Docker"]["config"]
        yield Container(made, config, environment)
    finally:
        _buildah("rm", made)


@contextmanager
def service(name: str, argv: Sequence[str], directory: PrivateDirectory) -> Iterator[Child]:
    child = Child(argv, directory, log=directory.path / f"{name}.log", last_signal=signal.SIGTERM)
    try:
        yield child
    except CheckError as error:
        raise CheckError(f"{error}\n--- the end of {name}'s log\n{child.tail()}") from error
    finally:
        # Signal only the program: a signal to the process group would kill buildah, and the program with it.
        with suppress(FileNotFoundError, ProcessLookupError):  # the program may have ended by itself
            for pid in _programs(child.pid):
                os.kill(pid, signal.SIGTERM)
        try:
            child.wait(STOP_SECONDS)
        except TimeoutError:
            child.kill()


@contextmanager
def queue() -> Iterator[tuple[str, kombu.Connection]]:
    """Yields the name of a queue that nobody else uses, and a connection; deletes the queue in the end."""
    name = f"bridge-image-{secrets.token_hex(6)}"
    with kombu.Connection(RABBITMQ, connect_timeout=5) as connection:
        try:
            connection.connect()
        except OSError as error:
            raise CheckError(f"no RabbitMQ answers (BRIDGE_TEST_RABBITMQ_URL): {error}") from error
        channel: Any = connection.default_channel
        try:
            yield name, connection
        finally:
            channel.queue_delete(name)
            channel.exchange_delete(name)  # Celery declares an exchange with the queue's name


def check(bridge_image: str, shop_image: str) -> None:
    with ExitStack() as parts:
        postgres = parts.enter_context(Postgres(tcp=True))
        directory = parts.enter_context(PrivateDirectory())
        name, rabbitmq = parts.enter_context(queue())
        port = free_port()
        settings = {
            "BRIDGE_DATABASE_URL": postgres.dsn(),
            "BRIDGE_BROKER_URL": RABBITMQ,
            "BRIDGE_HTTP": f"127.0.0.1:{port}",
        }
        bridge = parts.enter_context(container(bridge_image, settings))
        say(f"{bridge.run('bridge', '--version')} in {bridge.run('python3', '--version')}")
        say("bridge install: " + bridge.run("bridge", "install"))

        database = parts.enter_context(psycopg.connect(postgres.dsn(), autocommit=True))
        psycopg.ClientCursor(database).execute(WATCH_ITEM, {"queue": name})
        command = bridge.config["Cmd"]
        with service("bridge", bridge.argv(*command), directory) as child:
            pid = check_start(child, port, command)
            bridge.run(*bridge.config["Healthcheck"]["Test"][1:])
            say("the image's health check passes")
            database.execute("update item set price = 11 where id = 1")
            check_message(rabbitmq, name)
            check_shop(shop_image, directory, database, name, postgres.dsn())
            os.kill(pid, signal.Signals[bridge.config.get("StopSignal", "SIGTERM")])
            check_stop(child)


def check_start(child: Child, port: int, command: Sequence[str]) -> int:
    """Waits until the bridge serves its streams; returns the pid of the process in the container."""
    child.wait_until(lambda: _answers(port, "/readyz"), START_SECONDS)
    if not _answers(port, "/healthz"):
        raise CheckError("/readyz answers with 200, but /healthz does not")
    (pid,) = _programs(child.pid)
    if _users(pid) != {USER}:
        raise CheckError(f"{' '.join(command)} runs as user {_users(pid)} instead of {USER}")
    say(f"{' '.join(command)} runs as user {USER}, not root; /healthz and /readyz answer")
    return pid


def check_message(connection: kombu.Connection, name: str) -> None:
    with connection.SimpleQueue(name) as simple:
        try:
            message = simple.get(timeout=DELIVERY_SECONDS)
        except simple.Empty as error:
            raise CheckError(f"no task within {DELIVERY_SECONDS:g} s of the UPDATE") from error
        message.ack()
        task, args = message.headers["task"], message.payload[0]
    if (task, args) != ("shop.reprice", [1]):
        raise CheckError(f"the UPDATE started the task {task}{args} instead of shop.reprice[1]")
    say(f"an UPDATE put the task {task}({args[0]}) into RabbitMQ")


def check_shop(
    image: str, directory: PrivateDirectory, database: psycopg.Connection[Any], name: str, database_url: str
) -> None:
    """Runs the example's migrations and worker from the image that compose.yaml uses, and checks a change."""
    settings = {"SHOP_DATABASE_URL": database_url, "SHOP_BROKER_URL": RABBITMQ}
    with container(image, settings) as shop:
        shop.run("python3", "manage.py", "migrate", "--verbosity", "0")
        shop.run("python3", "manage.py", "seed", "--products", "1", "--offers", "1")
        psycopg.ClientCursor(database).execute(WATCH_PRODUCT, {"queue": name})
        say("the example's commands migrate and seed ran while the bridge was running")
        # All workers on this RabbitMQ share one remote control: keep ours out of it.
        quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
        worker = shop.argv("celery", "-A", "shop", "worker", "--pool", "solo", "--queues", name, *quiet)
        with service("worker", worker, directory) as child:
            database.execute("update catalog_product set price = 12.50")

            def has_run() -> bool:
                runs = database.execute("select task, price_seen::text from catalog_taskrun").fetchall()
                return runs == [("catalog.tasks.reprice", "12.50")]

            _wait(child, has_run, f"the example's worker did not run the task within {START_SECONDS:g} s")
    say("an UPDATE ran the example's task in the example's worker, which saw the committed price")


def check_stop(child: Child) -> None:
    status = child.wait(STOP_SECONDS)
    last = child.tail().splitlines()[-1]
    if status or "stopped" not in last:
        raise CheckError(f"after SIGTERM: status {status}, last line {last!r}")
    say(f"SIGTERM: status 0, last line {last!r}")


def say(what: str) -> None:
    print(f"scripts/image: {what}", flush=True)


def _wait(child: Child, true: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not true():
        if not child.running or time.monotonic() > deadline:
            raise CheckError(otherwise)
        time.sleep(0.05)


def _answers(port: int, path: str) -> bool:
    client = HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        client.request("GET", path)
        return client.getresponse().status == 200
    except OSError:
        return False
    finally:
        client.close()


def _programs(pid: int) -> Iterator[int]:
    """Yields the pid of the program that this `buildah run` started; two more buildah processes are in between."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            if Path(f"/proc/{child}/cmdline").read_bytes().startswith(b"buildah-"):
                yield from _programs(child)
            else:
                yield child


def _users(pid: int) -> set[str]:
    """Returns the real, effective, saved and file system user id of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return set(next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:])


def _buildah(*arguments: str) -> str:
    done = subprocess.run(["buildah", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise CheckError(f"buildah {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


def main() -> None:
    try:
        check(*sys.argv[1:])
    except (CheckError, StartError, TimeoutError) as error:
        sys.exit(f"scripts/image: FAILED: {error}")
    say("passed")


if __name__ == "__main__":
    main()
