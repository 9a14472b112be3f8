"""What shadow mode notes of the old dispatch, and that no publish suffers from it."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from catalog.models import LegacyProduct
from catalog.tasks import reprice, reprice_legacy
from celery.signals import after_task_publish
from django.db import connection, connections

from bridge.publisher.template import SHADOW_RECEIVER, somebody_listens
from django_app import watch
from django_app.shadow import receiver, recorder
from django_app.shadow.publish import Publish, publish_of
from django_app.shadow.verdict import Verdict
from tests.django.fix_shadow import Ledger, ledger, published_to, shadow_watch
from tests.fix_bridge import ROOT, environment
from tests.fix_broker import Broker
from tests.fix_postgres import Database

# Fixtures.
__all__ = ["ledger", "published_to", "shadow_watch"]
Report = Callable[[], list[Verdict]]


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    connections.close_all()


def test_other_tasks_retries_and_the_bridges_own_are_no_dispatch(
    shadow_watch: Report, ledger: Ledger, published_to: Broker
) -> None:
    reprice.apply_async((1,), queue=published_to.queue)
    task: Any = reprice_legacy
    task.apply_async((1,), retries=1)
    task.apply_async((1,), headers={"bridge": {"id": 1}})
    # A message of Celery's first protocol has the number in its body.
    after_task_publish.send(sender=task.name, headers={}, body={"args": [1], "kwargs": {}, "retries": 1})
    [verdict] = shadow_watch()
    assert verdict.publishes == 0


def test_no_publish_fails_because_of_the_record(
    shadow_watch: Report, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    task: Any = reprice_legacy
    task.delay(uuid4())  # JSON has no such type
    task.delay("x" * 5000)
    recorder.recorder.flush()
    assert not caplog.records
    with monkeypatch.context() as broken:
        broken.setattr(recorder, "_NOTE", "select nothing")
        reprice_legacy.delay(1)
        reprice_legacy.delay(2)
        recorder.recorder.flush()
    assert [record.levelname for record in caplog.records if "could not note publishes" in record.message] == [
        "WARNING"
    ]
    with monkeypatch.context() as broken:
        broken.setattr(receiver, "publish_of", lambda *_: 1 / 0)
        reprice_legacy.delay(3)
    task.delay("\0")  # PostgreSQL's JSON has no such character
    reprice_legacy.delay(4)
    [verdict] = shadow_watch()
    assert verdict.publishes == 3


def test_a_full_queue_loses_records_and_never_waits(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "_MOST", 2)
    full = recorder.Recorder()
    monkeypatch.setattr(full, "_start", lambda: None)
    for _ in range(5):
        full.note(Publish("default", "t", [], False, None, None, 0.0))
    assert len([record for record in caplog.records if "too many publishes" in record.message]) == 1


def test_without_a_shadow_watch_nothing_listens(undeclared: None) -> None:
    watch(LegacyProduct, task=reprice_legacy)
    assert after_task_publish.receivers in ([], None)
    watch(LegacyProduct, task=reprice_legacy, name="b", shadow=True)
    assert [name[0] for name, _ in after_task_publish.receivers] == [SHADOW_RECEIVER]
    # The bridge stays quick in a process that has the receiver.
    assert not somebody_listens()


_PROGRAM = """
import os, sys, django
django.setup()
from django.db import connections
from catalog.models import LegacyProduct
from catalog.tasks import reprice_legacy
from django_app import watch
watch(LegacyProduct, task=reprice_legacy, shadow=True)
reprice_legacy.apply_async((1,), queue=sys.argv[1])
connections.close_all()
child = os.fork()
reprice_legacy.app._after_fork()
reprice_legacy.apply_async((2 if child else 3,), queue=sys.argv[1])
if not child:
    sys.exit()  # its atexit runs too
os.waitpid(child, 0)
"""


def test_a_process_that_ends_and_its_forked_child_leave_all_their_notes(
    shadow_watch: Report, published_to: Broker, shop_database: Database
) -> None:
    env = environment(
        DJANGO_SETTINGS_MODULE="shop.settings",
        PYTHONPATH=f"{ROOT}:{ROOT / 'examples' / 'shop'}",
        SHOP_DATABASE_URL=shop_database.dsn,
        SHOP_BROKER_URL=published_to.url,
    )
    # Python 3.12 warns of every fork of a process that has threads.
    argv = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _PROGRAM, published_to.queue]
    done = subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    with shop_database.connect() as conn:
        rows = conn.execute("select args, inside, place from bridge.shadow_publish order by args").fetchall()
    assert [row[:2] for row in rows] == [([1], False), ([2], False), ([3], False)]


def test_no_connection_is_opened_to_publish(shop_database: Database) -> None:
    connection.close()
    assert publish_of("default", "t", None, [1], {})[2:5] == ([1], False, None)
    assert connection.connection is None
