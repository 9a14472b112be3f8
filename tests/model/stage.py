"""A database, and sessions whose settings must not change how an event looks."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import psycopg
from anyio.from_thread import BlockingPortal, start_blocking_portal
from psycopg.pq import TransactionStatus

from tests.fix_postgres import Database
from tests.model.kind import KINDS_SQL, quoted

_SETTINGS = [
    {},
    {"timezone": "Asia/Kathmandu", "datestyle": "German", "intervalstyle": "postgres_verbose", "search_path": ""},
    {"bytea_output": "escape", "extra_float_digits": "-5", "intervalstyle": "sql_standard", "search_path": "kinds"},
]
SESSIONS = len(_SETTINGS)
STREAMS = ("default", "other")

_APPLICATION = "bridge_model_application"
_SETUP = f"""
{KINDS_SQL}
do $$ begin
    if to_regrole('{_APPLICATION}') is null then create role {_APPLICATION}; end if;
end $$;
grant usage on schema kinds to {_APPLICATION};
select bridge._add_stream('other');
"""
_CLEAN = f"""
select bridge.unwatch(name) from bridge.watch where removed_at is null;
delete from bridge.watch;
drop schema if exists "My Shop" cascade;
create schema "My Shop";
grant usage, create on schema "My Shop" to {_APPLICATION};
truncate bridge.event;
update bridge.position set seen = pg_current_snapshot(), upto = null, after_id = null;
"""


@dataclass(frozen=True)
class Stage:
    dsn: str
    admin: psycopg.Connection
    sessions: list[psycopg.Connection]
    portal: BlockingPortal
    """The thread of the readers, which are asynchronous. Stories are not."""
    prepares: bool
    """Whether the server supports PREPARE TRANSACTION."""

    @classmethod
    @contextmanager
    def open(cls, database: Database) -> Iterator["Stage"]:
        with ExitStack() as stack:
            admin = stack.enter_context(database.connect())
            admin.execute(_SETUP.encode())
            sessions = []
            for settings in _SETTINGS:
                session = stack.enter_context(database.connect())
                # A session that would wait for a lock fails at once, because one thread drives all sessions.
                for setting in {"lock_timeout": "1ms", "role": _APPLICATION, **settings}.items():
                    session.execute("select set_config(%s, %s, false)", setting)
                sessions.append(session)
            prepares = admin.execute("show max_prepared_transactions").fetchone() != ("0",)
            yield cls(database.dsn, admin, sessions, stack.enter_context(start_blocking_portal()), prepares)

    def clean(self) -> None:
        """Removes everything that the last story left, wherever it ended."""
        for session in self.sessions:
            if session.info.transaction_status != TransactionStatus.IDLE:
                session.execute("rollback")
        for (gid,) in self.admin.execute("select gid from pg_prepared_xacts where database = current_database()"):
            self.admin.execute(f"rollback prepared {quoted(gid)}".encode())
        self.admin.execute(_CLEAN.encode())
