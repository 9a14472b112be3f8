"""The Celery project of the worker: its tasks note when they started, a line each."""

import os
import time

from celery import Celery

app = Celery("bench", broker=os.environ.get("BENCH_BROKER"), set_as_current=False)
app.conf.update(
    task_ignore_result=True,
    worker_enable_remote_control=False,
    # One message at a time would cost a second each: the solo pool sends its acknowledgements when it looks up.
    worker_prefetch_multiplier=1000,
)


@app.task(name="bench.touch")
def touch(number: int) -> None:
    started = time.time()
    with open(os.environ["BENCH_NOTES"], "a", encoding="utf-8") as notes:  # noqa: PTH123 - one write, one line
        notes.write(f"{number} {started!r}\n")
