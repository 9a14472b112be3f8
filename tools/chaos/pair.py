"""Pair: a primary and its asynchronous standby behind one address, which moves to the standby at its promotion."""

import time
from pathlib import Path

import psycopg

from tools.chaos.ledger import Change, changes
from tools.servers import Postgres

_SETTINGS = {
    # Committed data survives a killed server even with fsync off, since the kernel has it.
    "synchronous_commit": "on",
    # A standby that was away while the primary restarted needs this WAL.
    "wal_keep_size": "256MB",
}
_UPSTREAM = "upstream"
_SECONDS = 30.0


class Pair:
    """Two links lead to the directory of the primary's socket: one for all clients, and one for the standby that can
    be cut."""

    def __init__(self, address: Path) -> None:
        self._address = address
        self.primary = Postgres(settings=_SETTINGS)
        self._standby: Postgres | None = None

    def start(self) -> None:
        """Starts both servers."""
        self.primary.start()
        self._point()
        self._follow()

    def close(self) -> None:
        """Stops and removes both servers."""
        for server in (self._standby, self.primary):
            if server:
                server.close()

    def dsn(self) -> str:
        """Returns the address for all clients."""
        return self._dsn(self._address)

    def cut_off(self) -> None:
        """Stops the replication. The standby gets no more changes, and the primary goes on as before."""
        assert self._standby
        (self.primary.socket_dir / _UPSTREAM).unlink()
        with psycopg.connect(self.primary.dsn(), autocommit=True) as conn:
            conn.execute("select pg_terminate_backend(pid) from pg_stat_replication")
        with psycopg.connect(self._standby.dsn(), autocommit=True) as conn:
            _wait(conn, "select not exists (select from pg_stat_wal_receiver where status = 'streaming')")

    def fail_over(self) -> set[Change]:
        """Kills the primary and promotes the standby, which gets a standby of its own; returns the lost changes.

        Lost changes are those that the dead primary had committed and the promoted server did not have, before any
        client could write to it.
        """
        assert self._standby
        dead, self.primary = self.primary, self._standby
        self._standby = None
        try:
            dead.kill()
            self.primary.promote()
            with psycopg.connect(self.primary.dsn(), autocommit=True) as conn:
                _wait(conn, "select not pg_is_in_recovery()")
            kept = changes(self.primary.dsn())
            self._point()
            # No client can connect to it, since the address has moved.
            dead.start()
            lost = changes(dead.dsn()) - kept
        finally:
            dead.close()
        self._follow()
        return lost

    def _point(self) -> None:
        new = self._address.with_suffix(".new")
        new.symlink_to(self.primary.socket_dir)
        new.replace(self._address)

    def _follow(self) -> None:
        # The link is in a directory that the server's user may read.
        link = self.primary.socket_dir / _UPSTREAM
        link.symlink_to(self.primary.socket_dir)
        settings = {**_SETTINGS, "primary_conninfo": self._dsn(link)}
        self._standby = Postgres(origin=self.primary, role="standby", settings=settings)
        self._standby.start()

    def _dsn(self, link: Path) -> str:
        return f"postgresql://{self.primary.user}@/postgres?host={link}&port={self.primary.port}"


def _wait(conn: psycopg.Connection, question: str) -> None:
    """Waits until the server answers true."""
    deadline = time.monotonic() + _SECONDS
    while conn.execute(question.encode()).fetchone() != (True,):
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {_SECONDS:g} s not true: {question}")
        time.sleep(0.01)
