"""Rival: the library pgqueuer, for comparison. It is a queue in PostgreSQL and runs its jobs itself."""

import asyncio
import logging
import time

import psycopg
from pgqueuer import Job, PgQueuer, PsycopgDriver, Queries
from pgqueuer.types import QueueExecutionMode

from tools.servers import Postgres

_BATCH = 100


def drain(postgres: Postgres, jobs: int) -> float:
    """Returns the jobs per second of one worker that empties a queue of no-op jobs."""
    logging.getLogger("pgqueuer").setLevel(logging.WARNING)
    return asyncio.run(_drain(postgres.dsn(), jobs))


async def _drain(dsn: str, jobs: int) -> float:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        driver = PsycopgDriver(connection)
        queries = Queries(driver)
        await queries.install()
        try:
            for first in range(0, jobs, 10_000):
                number = min(10_000, jobs - first)
                await queries.enqueue(["noop"] * number, [b"1"] * number, [0] * number)
            await connection.execute("vacuum analyze")
            worker = PgQueuer(driver)
            done = 0

            @worker.entrypoint("noop")
            async def noop(job: Job) -> None:
                nonlocal done
                done += 1

            started = time.perf_counter()
            await worker.run(batch_size=_BATCH, mode=QueueExecutionMode.drain)
            seconds = time.perf_counter() - started
            if done != jobs:
                raise SystemExit(f"pgqueuer did {done} of {jobs} jobs")
        finally:
            await queries.uninstall()
    return jobs / seconds
