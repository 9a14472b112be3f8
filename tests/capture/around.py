"""Sessions of several kinds that write before, during and after a change of a table."""

from collections.abc import Callable

import psycopg

from tests.fix_postgres import Database

Write = Callable[[psycopg.Connection, int], None]

WARM_UP = range(8)  # more than the five executions after which PostgreSQL keeps a plan
BEFORE = 100
AFTER = (101, 102, 103, 104, 105, 106)


def write_around(database: Database, write: Write, change: Callable[[psycopg.Connection], None]) -> None:
    """Writes the numbers BEFORE and AFTER, in this order. Afterwards the log holds only these.

    The session that makes the change also writes in the same transaction, before and after the change. Then these
    sessions write: one that has cached plans, a new one, two in transactions whose snapshots are older than the change
    (one with cached plans and one without), and the one with cached plans again.
    """
    with database.connect() as own, database.connect() as warm, database.connect() as old, database.connect() as cold:
        own.execute("create table if not exists elsewhere ()")
        for number in WARM_UP:
            for session in (own, warm, old):
                write(session, number)
        for session, isolation in ((old, "repeatable read"), (cold, "serializable")):
            session.execute(f"begin isolation level {isolation}".encode())
            session.execute("select from elsewhere")  # takes the snapshot with a lock that does not block the change
        own.execute("truncate bridge.event")
        with own.transaction():
            write(own, BEFORE)
            change(own)
            write(own, AFTER[0])
        write(warm, AFTER[1])
        with database.connect() as fresh:
            write(fresh, AFTER[2])
        for session, number in ((old, AFTER[3]), (cold, AFTER[4])):
            write(session, number)
            session.execute("commit")
        write(warm, AFTER[5])
