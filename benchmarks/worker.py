"""The Celery project of the worker. Its task writes when it started, one line for each run."""

import os
import time

from celery import Celery

app = Celery("bench", broker=os.environ.get("BENCH_BROKER"), set_as_current=False)
app.conf.update(
    task_ignore_result=True,
    worker_enable_remote_control=False,
    # A prefetch of one message would cost a second for each, since the solo pool delays its acknowledgements.
    worker_prefetch_multiplier=1000,
)


@app.task(name="bench.touch")
def touch(number: int) -> None:
    started = time.time()
    with open(os.environ["BENCH_NOTES"], "a", encoding="utf-8") as notes:  # noqa: PTH123 - one write for each line
        notes.write(f"{number} {started!r}\n")
