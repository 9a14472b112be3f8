"""The web process is killed: what has committed is started, under the id that was announced, and nothing else."""

import signal
import subprocess
import sys
import time
from random import Random

import pytest

from tests.celery_queue import inbox
from tests.django.sending_web import POINTS
from tests.eventually import eventually
from tests.fix_bridge import ROOT, Bridges, environment
from tests.fix_broker import Broker
from tests.fix_postgres import Database, on_pg18


def start(database: Database, broker: Broker, *point: str) -> subprocess.Popen[str]:
    env = environment(
        PYTHONPATH=str(ROOT / "examples" / "shop"),
        DJANGO_SETTINGS_MODULE="shop.settings",
        SHOP_DATABASE_URL=database.dsn,
        SENDING_WEB_QUEUE=broker.queue,
    )
    argv = [sys.executable, "-m", "tests.django.sending_web", *point]
    return subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    if process.stdout:
        process.stdout.close()


def committed(database: Database) -> set[str]:
    """Returns the ids that the killed processes have committed."""
    with database.connect() as connection:
        return {task_id for (task_id,) in connection.execute("select id from sent")}


def is_quiet(database: Database) -> bool:
    """Whether the server has ended the transactions of the killed processes, and the bridge has published the rest."""
    with database.connect() as connection:
        row = connection.execute(
            "select (select count(*) from pg_stat_activity where datname = current_database() and xact_start < now()"
            " and application_name not like 'bridge%'), (select count(*) from bridge.waiting)"
        ).fetchone()
    return row == (0, 0)


@on_pg18
def test_it_is_killed_at_every_point(log: Database, valkey: Broker, run_bridge: Bridges) -> None:
    with log.connect() as connection:
        connection.execute("create table sent (id text primary key)")
    processes = [start(log, valkey, point) for point in POINTS]
    said = [process.stdout.readline() if process.stdout else "" for process in processes]
    for process in processes:
        kill(process)
    assert [line.partition(":")[0] for line in said] == POINTS
    announced = said[-1].split()[-1]
    assert committed(log) == {announced}, "of these, only one has committed"
    run_bridge(log.dsn, broker_url=valkey.url)
    with inbox(valkey) as tasks:
        assert [task.id for task in tasks.take(1)] == [announced]
        assert eventually(lambda: is_quiet(log))
        assert tasks.take_all() == []


@pytest.mark.soak
def test_it_is_killed_at_random_times(log: Database, valkey: Broker, run_bridge: Bridges) -> None:
    """The bridge is killed now and then too. It publishes again what the broker has not confirmed, with the same id."""
    with log.connect() as connection:
        connection.execute("create table sent (id text primary key)")
    random = Random(7)
    bridge = run_bridge(log.dsn, broker_url=valkey.url)
    for number in range(12):
        before = len(committed(log))
        process = start(log, valkey)
        assert eventually(lambda before=before: len(committed(log)) > before), "it must get to work"  # type: ignore[misc]
        time.sleep(random.random() * 0.2)
        kill(process)
        if number % 4 == 3:
            bridge.kill()
            bridge.start(None)
    bridge.wait_for("running")
    with inbox(valkey) as tasks:
        assert eventually(lambda: is_quiet(log))
        arrived = [task.id for task in tasks.take_all()]
    assert set(arrived) == committed(log)
    assert len(arrived) > 100
