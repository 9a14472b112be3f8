"""An ordinary Celery project that does not know the bridge. Each task appends its arguments as a line of JSON."""

import json
import os
from typing import Any

from celery import Celery

app = Celery("shop", broker=os.environ["SHOP_BROKER"])
app.conf.update(
    task_default_queue=os.environ["SHOP_QUEUE"],
    task_routes={"shop.tasks.routed": {"queue": os.environ["SHOP_QUEUE"] + "-routed"}},
    task_ignore_result=True,
    # It would leave exchanges behind on a RabbitMQ that others share.
    worker_enable_remote_control=os.environ.get("SHOP_CONTROL") == "1",
)


def note(task: Any, args: tuple[Any, ...]) -> None:
    request = task.request
    line = {
        "id": request.id,
        "task": task.name,
        "args": args,
        "queue": request.delivery_info["routing_key"],
        "redelivered": bool(request.delivery_info.get("redelivered")),
        "bridge": request.get("bridge"),
    }
    with open(os.environ["SHOP_RECEIVED"], "a", encoding="utf-8") as received:  # noqa: PTH123 - one write for each line
        received.write(json.dumps(line) + "\n")


@app.task(bind=True, name="shop.tasks.reprice")
def reprice(self: Any, *args: Any) -> None:
    note(self, args)


@app.task(bind=True, name="shop.tasks.heavy", queue=os.environ["SHOP_QUEUE"] + "-heavy", priority=3)
def heavy(self: Any, *args: Any) -> None:
    note(self, args)


@app.task(bind=True, name="shop.tasks.routed")
def routed(self: Any, *args: Any) -> None:
    note(self, args)
