"""Ledger: the writers' own record of each change, written by the transaction that made it.

A failover to an asynchronous standby goes back in time: versions that were used before it are used again. So a change
is identified by its timeline too, a number that PostgreSQL raises at each promotion.
"""

from typing import NamedTuple

import psycopg

STREAMS = ("rabbitmq", "valkey")


class Change(NamedTuple):
    """One change. The ledger has each change once."""

    stream: str
    row: int
    timeline: int
    version: int
    operation: str

    @property
    def place(self) -> tuple[int, int, bool]:
        """The place among the changes of one row, which grows. A delete has the version of the change before it."""
        return self.timeline, self.version, self.operation == "delete"


def changes(dsn: str) -> set[Change]:
    """Returns all changes that are committed on this server."""
    with psycopg.connect(dsn) as conn:
        return {
            Change(stream, *row)
            for stream in STREAMS
            for row in conn.execute(f"select id, timeline, version, operation from {stream}_ledger".encode())
        }
