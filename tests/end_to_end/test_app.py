"""The bridge with the user's own Celery app."""

from pathlib import Path

import psycopg
import pytest

from tests.celery_queue import inbox
from tests.end_to_end.product import make_products, reprice, watch
from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import on_pg18


@on_pg18
def test_with_the_users_app_its_task_options_and_routes_apply(
    conn: psycopg.Connection, broker: Broker, run_bridge: Bridges, tmp_path: Path
) -> None:
    make_products(conn)
    for name in ("reprice", "heavy", "routed"):
        # The test names no queue, because the app decides about the queue of each task.
        conn.execute("select bridge.watch(%s, 'product', %s)", [name, f"shop.tasks.{name}"])
    heavy, routed = broker.other_queue("heavy"), broker.other_queue("routed")
    env = {"SHOP_BROKER": broker.url, "SHOP_QUEUE": broker.queue, "SHOP_RECEIVED": str(tmp_path / "received")}
    run_bridge(conn.info.dsn, "--app=tests.worker_app:app", env=env)
    reprice(conn, 1)
    for queue, name, priority in ((broker.queue, "reprice", 0), (heavy, "heavy", 3), (routed, "routed", 0)):
        with inbox(broker, queue) as tasks:
            [task] = tasks.take(1)
            assert (task.name, task.args, task.priority or 0) == (f"shop.tasks.{name}", [1], priority)


_DJANGO_LIKE = """
import logging.config
from celery import Celery

# As Django does with LOGGING: all loggers that are there are disabled, unless it says otherwise.
logging.config.dictConfig({{
    "version": 1,
    "disable_existing_loggers": {disable},
    "formatters": {{"plain": {{"format": "PLAIN %(message)s"}}}},
    "handlers": {{"console": {{"class": "logging.StreamHandler", "formatter": "plain"}}}},
    "root": {{"handlers": ["console"], "level": "DEBUG"}},
    "loggers": {{"bridge": {{"handlers": ["console"], "level": "ERROR", "propagate": False}}}},
}})
app = Celery("logging")
"""


@on_pg18
@pytest.mark.parametrize("disable", [True, False])
def test_logging_of_the_app_takes_nothing_from_the_bridges_log(
    conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges, tmp_path: Path, disable: bool
) -> None:
    (tmp_path / "logging_app.py").write_text(_DJANGO_LIKE.format(disable=disable))
    make_products(conn)
    env = {"PYTHONPATH": str(tmp_path)}
    bridge = run_bridge(conn.info.dsn, "--app=logging_app:app", broker_url=valkey.url, env=env)
    # The state is "running" before this line is logged.
    assert eventually(
        lambda: ("serving", "default") in {(line["message"], line.get("stream")) for line in bridge.lines()}
    )
    assert "PLAIN" not in bridge.log()


@on_pg18
def test_queue_of_the_watch_beats_the_apps_and_the_broker_url_too(
    conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges, tmp_path: Path
) -> None:
    make_products(conn)
    watch(conn, "heavy", valkey.queue, task="shop.tasks.heavy")
    env = {"SHOP_BROKER": "redis://127.0.0.1:1/0", "SHOP_QUEUE": "nobody", "SHOP_RECEIVED": str(tmp_path / "received")}
    run_bridge(conn.info.dsn, "--app=tests.worker_app:app", broker_url=valkey.url, env=env)
    reprice(conn, 1)
    with inbox(valkey) as tasks:
        assert [task.name for task in tasks.take(1)] == ["shop.tasks.heavy"]
