"""Writer: a session that changes rows in many ways, and writes each change to the ledger in the same transaction."""

import random
import threading
import time

import psycopg

from tools.chaos.fault import explains
from tools.chaos.ledger import STREAMS
from tools.chaos.system import System

_UPDATE = """
    with changed as (update {0}_rows set version = version + 1 where id = any (%s) returning id, version)
    insert into {0}_ledger (id, version, operation) select id, version, 'update' from changed
"""
_INSERT = """
    with made as (insert into {0}_rows select from generate_series(1, %s) returning id, version)
    insert into {0}_ledger (id, version, operation) select id, version, 'insert' from made
"""
_DELETE = """
    with gone as (delete from {0}_rows where id = %s returning id, version)
    insert into {0}_ledger (id, version, operation) select id, version, 'delete' from gone
"""
# Stores the session's timeline for the ledger and for the events.
_CONTEXT = "select set_config('bridge.context', timeline()::text, false)"
_LOOSE = psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure


class Writer(threading.Thread):
    """Writes until `stop` is set. It reconnects after a lost connection, and does not repeat failed transactions."""

    def __init__(self, system: System, seed: int, stop: threading.Event, pause: float) -> None:
        super().__init__(name=f"writer {seed}", daemon=True)
        self._system = system
        self._random = random.Random(seed)
        self._stopping = stop
        self._pause = pause
        self.failures = 0
        self.surprises: list[str] = []
        """Errors that no fault and no change of the schema explains."""

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._system.connect() as conn:
                    conn.execute(_CONTEXT)
                    while not self._stopping.is_set():
                        self._write(conn, self._random.choice(STREAMS))
                        # This is not a wait for something: it sets the pace.
                        time.sleep(self._pause * self._random.random())
            except psycopg.Error as error:
                self._note(error)
                self._stopping.wait(0.2)

    def _write(self, conn: psycopg.Connection, stream: str) -> None:
        kind = self._random.choices(
            ("one", "many", "insert", "delete", "rolled back", "savepoint", "slow", "repeatable read"),
            (40, 10, 10, 5, 5, 5, 1, 5),
        )[0]
        try:
            self._transact(conn, stream, kind)
        except _LOOSE as error:
            self._note(error)

    def _note(self, error: psycopg.Error) -> None:
        self.failures += 1
        # PostgreSQL raises FeatureNotSupported when the result of a prepared statement has a new type.
        if not explains(error) and not isinstance(error, psycopg.errors.FeatureNotSupported):
            self.surprises.append(f"{error} {error.diag.context or ''}")

    def _transact(self, conn: psycopg.Connection, stream: str, kind: str) -> None:
        update, insert, delete = (text.format(stream).encode() for text in (_UPDATE, _INSERT, _DELETE))
        # Sorted to avoid deadlocks, as a careful application does. Transactions that conflict nevertheless are rolled
        # back and not repeated.
        rows = sorted({self._random.randint(1, 2000) for _ in range(20)})
        match kind:
            case "one":
                conn.execute(update, [[self._random.randint(1, 200)]])
            case "many":
                conn.execute(update, [rows])
            case "insert":
                conn.execute(insert, [self._random.randint(1, 20)])
            case "delete":
                conn.execute(delete, [self._random.randint(201, 20_000)])
            case "rolled back":
                with conn.transaction(force_rollback=True):
                    conn.execute(update, [rows])
            case "savepoint":
                with conn.transaction():
                    conn.execute(update, [rows[:3]])
                    with conn.transaction(force_rollback=True):
                        conn.execute(update, [rows[3:]])
            case "slow":
                with conn.transaction():
                    conn.execute(update, [rows[:2]])
                    time.sleep(self._random.random() * 2)  # makes a long transaction
            case _:
                with conn.transaction():
                    conn.execute("set transaction isolation level repeatable read")
                    conn.execute(update, [rows[:5]])
