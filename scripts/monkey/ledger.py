"""Ledger: the writers' own note of each change, in the transaction that made it.

A failover to an asynchronous standby goes back in time: versions that were given before it are given again. So a change
is known by its timeline too, a number that PostgreSQL raises at each promotion.
"""

from typing import NamedTuple

import psycopg

STREAMS = ("rabbitmq", "valkey")


class Change(NamedTuple):
    """The ledger has it once."""

    stream: str
    row: int
    timeline: int
    version: int
    operation: str

    @property
    def place(self) -> tuple[int, int, bool]:
        """It grows from change to change of one row; a delete has the version of the change before it."""
        return self.timeline, self.version, self.operation == "delete"


def changes(dsn: str) -> set[Change]:
    """All that was committed, as this server has it."""
    with psycopg.connect(dsn) as conn:
        return {
            Change(stream, *row)
            for stream in STREAMS
            for row in conn.execute(f"select id, timeline, version, operation from {stream}_ledger".encode())
        }
