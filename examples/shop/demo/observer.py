"""Reads from PostgreSQL what really happened: when a row was committed, and what the tasks recorded."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from types import TracebackType
from typing import LiteralString, Self

import psycopg
from psycopg import sql

from demo.edit import Run, Way

# A trigger notifies us of each record that a task writes, so that we need not poll.
ANNOUNCE = """
create schema demo;
create function demo.announce() returns trigger language plpgsql as $$
begin
    perform pg_notify('task_run', row_to_json(new)::text);
    return null;
end
$$;
create trigger announce after insert on catalog_taskrun for each row execute function demo.announce();
listen task_run;
"""


class Observer:
    def __init__(self, url: str) -> None:
        self._url = url
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute(ANNOUNCE)

    def products(self, way: Way) -> list[int]:
        table = sql.Identifier(f"catalog_{way.model.lower()}")
        rows = self._connection.execute(sql.SQL("select id from {} order by id").format(table))
        return [product_id for (product_id,) in rows]

    def committed_at(self, way: Way, product_id: int) -> datetime:
        """Returns when the transaction that wrote the row was committed (needs track_commit_timestamp)."""
        table = sql.Identifier(f"catalog_{way.model.lower()}")
        query = sql.SQL("select pg_xact_commit_timestamp(xmin) from {} where id = %s").format(table)
        row = self._connection.execute(query, [product_id]).fetchone()
        assert row is not None
        at: datetime = row[0]
        return at

    def run_of(self, way: Way, product_id: int, seconds: float) -> Run | None:
        """Returns the task's record as soon as it exists; None if it does not exist after `seconds`."""
        for run in self.runs(seconds):
            if (run.task, run.product_id) == (way.task, product_id):
                return run
        return None

    def runs(self, seconds: float | None = None) -> Iterator[Run]:
        """Yields records as they arrive, for `seconds`; without a limit if that is None."""
        for notice in self._connection.notifies(timeout=seconds):
            yield _run(notice.payload)

    def wait_for(self, products: set[int], seconds: float) -> set[int]:
        """Waits for the bridge's task of each of these products. Returns those that came within `seconds`."""
        missing = set(products)
        for run in self.runs(seconds):
            if run.task == Way.BRIDGE.task:
                missing.discard(run.product_id)
            if not missing:
                break
        return products - missing

    def execute(self, statement: LiteralString, values: Sequence[object]) -> None:
        """Runs a statement in a transaction of its own, as somebody in psql would."""
        self._connection.execute(statement, values)

    def transaction(self) -> psycopg.Connection:
        """Returns a new connection, whose first statement begins a transaction. The caller closes it."""
        return psycopg.connect(self._url)

    def count(self, way: Way) -> int:
        row = self._connection.execute("select count(*) from catalog_taskrun where task = %s", [way.task]).fetchone()
        return row[0] if row else 0

    def is_bridge_ready(self) -> bool:
        """Whether a relay owns the stream and sleeps, ready to be notified."""
        row = self._connection.execute("select bool_and(asleep) from bridge.status()").fetchone()
        return bool(row and row[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()


def _run(payload: str) -> Run:
    row = json.loads(payload, parse_float=Decimal)
    return Run(row["task"], row["product_id"], Decimal(row["price_seen"]), datetime.fromisoformat(row["started_at"]))
