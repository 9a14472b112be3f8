"""The Celery project of the workers. Its one task writes the change that it got as a line of JSON."""

import json
import os
from typing import Any

from celery import Celery

app = Celery("chaos", broker=os.environ["CHAOS_BROKER"])
app.conf.update(
    task_ignore_result=True,
    worker_enable_remote_control=False,
    # A prefetch of one message would cost a second for each, since the solo pool delays its acknowledgements.
    worker_prefetch_multiplier=1000,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
)


@app.task(bind=True, name="chaos.note")
def note(self: Any, change: dict[str, Any]) -> None:
    row = change["new"] or change["old"]
    # The watch follows a renamed column, so the version can have either name.
    version = row["revision"] if "revision" in row else row["version"]
    line = json.dumps(
        [self.request.id, change["watch"], change["key"][0], change["context"], version, change["operation"]]
    )
    with open(os.environ["CHAOS_NOTES"], "a", encoding="utf-8") as notes:  # noqa: PTH123 - one write for each line
        notes.write(line + "\n")
