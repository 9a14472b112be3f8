"""Database: how the bridge connects to PostgreSQL, and the one place where psycopg's errors become ours."""

import asyncio
import os
import re
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from functools import partial
from importlib.resources import files
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict

from bridge.errors import BridgeError, ConfigError, DatabaseError, LockTimeoutError, SilenceError, TooLongError
from bridge.pooler import shares_sessions
from bridge.secret import hidden, note, note_value

T = TypeVar("T")

# A peer that vanished without a word is noticed in about 30 s instead of hours. What the user's DSN says comes first.
_DEFAULTS: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}

# An administrator's timeouts for applications must not cut a listener that waits by design. Windows of the log are
# always read through its index: statistics of a log that just started would ask for a full scan. Names mean
# PostgreSQL's own objects, whatever is on the role's search_path; until that is set, each is written with its schema.
_SESSION = """
    select pg_catalog.set_config(name, value, false)
    from (values ('search_path', 'pg_catalog, pg_temp'),
        ('statement_timeout', '0'), ('lock_timeout', '0'), ('idle_in_transaction_session_timeout', '0'),
        ('idle_session_timeout', '0'), ('transaction_timeout', '0'), ('enable_seqscan', 'off'), ('jit', 'off'),
        -- Windows rely on a snapshot for each statement; under serializable, our looks could make a writer fail.
        ('default_transaction_isolation', 'read committed'),
        ('plan_cache_mode', 'force_generic_plan'), ('max_parallel_workers_per_gather', '0'), ('timezone', 'UTC'),
        -- How values are written, which a role or a database may have as its country does, and psycopg can't read.
        ('datestyle', 'ISO'), ('intervalstyle', 'postgres'), ('array_nulls', 'on'),
        -- The server's side of the keepalives: what a vanished bridge held is free for the next one in seconds.
        ('tcp_keepalives_idle', '5'), ('tcp_keepalives_interval', '2'), ('tcp_keepalives_count', '3'),
        ('tcp_user_timeout', '15000')
    ) as setting (name, value)
    -- transaction_timeout is new in PostgreSQL 17.
    where pg_catalog.current_setting(name, true) is not null
"""

_PINNED_PATH = "set search_path = pg_catalog, pg_temp"
_LOCK = "select bridge.await_lock(%(key)s, %(at_most)s)"
_UNLOCK = "select pg_advisory_unlock_all()"

# A statement that waits holds back VACUUM, so a wait for a lock begins anew this often.
_RENEWED = timedelta(minutes=1)

# Seconds that a wait for a lock may take to end after it was called off; then the connection is given up.
_CALL_OFF = 5.0

_PERMANENT = re.compile(
    r"FATAL:.*(does not exist|authentication failed|no pg_hba.conf entry|is not permitted)|invalid \w+ value", re.DOTALL
)

_NAMED = {
    psycopg.errors.LockNotAvailable: LockTimeoutError,
    psycopg.errors.ProgramLimitExceeded: TooLongError,
}

# The last three say that a session or the server is not as it should be (a cursor is gone, a page can't be read), which
# concerns whoever asked, and no other stream.
_OUTAGES = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.InternalError,
    psycopg.errors.InvalidCursorName,
    psycopg.errors.DuplicateCursor,
)

# What is missing is ours: `relation "bridge.event" does not exist`, `schema "bridge" does not exist`.
_OURS = re.compile(r'(relation |function )"?bridge[".]|schema "bridge"')


def statement(name: str) -> str:
    """The SQL statement `bridge/sql/<name>.sql`."""
    return files("bridge").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


class Connection(psycopg.AsyncConnection[Any]):
    """psycopg's, without hurry and with a deadline."""

    patience: float | None = None
    """Seconds that the answer to a quick statement may take; the DSN's `tcp_user_timeout`. None: no limit."""

    pinned = False
    """Whether the session is ours only because it is never without a transaction. Then it hears no notifications."""

    async def wait(
        self,
        gen: PQGen[T],
        interval: float = 60.0,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's own
    ) -> T:
        """psycopg looks up from every wait ten times a second, for the sake of Ctrl-C; signals wake asyncio anyway."""
        return await super().wait(gen, interval, **({} if timeout is None else {"timeout": timeout}))

    async def pin(self) -> None:
        """Keeps a session to itself behind a pooler in transaction mode.

        Whoever hangs up in a transaction loses it there with all its locks and settings, as they should reach no other.
        """
        await self.execute("begin isolation level read committed")
        self.pinned = True

    def take_patience(self, times: int) -> None:
        """Answers may take so many times as long."""
        if self.patience is not None:
            self.patience *= times

    def hang_up(self) -> None:
        """Whoever waits for this connection learns that it is closed.

        A cancellation would not do: psycopg answers it with a cancel request, which waits for the same dead server.
        """
        if not self.closed:
            with socket.socket(fileno=os.dup(self.fileno())) as duplicate, suppress(OSError):
                duplicate.shutdown(socket.SHUT_RDWR)


@asynccontextmanager
async def connect(database_url: str, purpose: str) -> AsyncIterator[Connection]:
    """A connection in autocommit mode, closed at the end; `purpose` shows in pg_stat_activity.

    ConfigError when the address can't be right (syntax, unknown database, refused password), DatabaseError when the
    server is away.
    """
    note(database_url)
    try:
        given = conninfo_to_dict(database_url)
    except psycopg.ProgrammingError as error:
        # The message of libpq may quote the address, and the address may hold a password.
        raise ConfigError(
            "the database address is neither a URL (postgresql://user@host/name) nor a list of key=value"
        ) from error
    for password in (given.get("password"), given.get("sslpassword"), os.environ.get("PGPASSWORD")):
        note_value(password)
    _check_address(given)
    address = {**_DEFAULTS, "application_name": f"bridge {purpose}", **given, "client_encoding": "UTF8"}
    open_one = partial(Connection.connect, **address, autocommit=True)
    with translated():
        connection = await open_one()
    # The kernel's timeouts see a peer that is gone, not a proxy or a server that is there and says nothing.
    connection.patience = int(address["tcp_user_timeout"]) / 1000 or None
    try:
        with anyio.CancelScope(shield=True), translated(), _answered(connection, connection.patience):
            if await shares_sessions(connection, open_one):
                await connection.pin()
        if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
            raise ConfigError(
                f'the encoding of database "{connection.info.dbname}" is SQL_ASCII, in which no text is certain to be '
                "text: copy it into one with encoding UTF8 (createdb -T template0 -E UTF8, pg_dump, psql)"
            )
        await query(connection, _SESSION)
        yield connection
    finally:
        await connection.close()


def _check_address(given: Mapping[str, Any]) -> None:
    """A password with "/" or "@" in it, not encoded, ends up in the port, host or name; libpq's error would show it."""
    ports = [port for port in str(given.get("port") or "").split(",") if port]
    if "@" in str(given.get("host") or "") or not all(port.isdecimal() and 0 < int(port) < 65536 for port in ports):
        raise ConfigError(
            "the database address has no valid host and port: in a URL's password, write / as %2F, @ as %40, : as %3A"
        )


async def advisory_lock(connection: Connection, key: int) -> None:
    """Waits, as long as it takes, for a session-level advisory lock; a cancelled wait leaves the connection usable.

    anyio cancels a task again and again until it ends, which breaks psycopg's own way to end a query. So the query runs
    shielded, and a second task turns the cancellation into a cancel request to the server.
    """
    failure: psycopg.Error | None = None
    called_off = False
    over = anyio.Event()
    async with anyio.create_task_group() as group:

        async def call_off() -> None:
            nonlocal called_off
            try:
                await anyio.sleep_forever()
            finally:
                if not over.is_set():
                    called_off = True
                    with anyio.CancelScope(shield=True):
                        with suppress(psycopg.Error):
                            await connection.cancel_safe(timeout=_CALL_OFF)
                        with anyio.move_on_after(_CALL_OFF):
                            await over.wait()
                    if not over.is_set():
                        connection.hang_up()

        group.start_soon(call_off)
        with anyio.CancelScope(shield=True):
            try:
                while not called_off and not await _locked(connection, key):
                    pass
            except psycopg.Error as error:
                failure = error
        over.set()
        group.cancel_scope.cancel()
    if called_off:
        # A wait that was called off must never look like a lock that was granted: the cancellation goes on from here.
        await anyio.lowlevel.checkpoint()
    if failure is not None:
        raise failure


async def _locked(connection: Connection, key: int) -> bool:
    [(granted,)] = await _rows(connection, _LOCK, {"key": key, "at_most": _RENEWED})
    return bool(granted)


async def advisory_unlock_all(connection: Connection) -> None:
    """Releases every session-level advisory lock of this connection, held or not."""
    try:
        await query(connection, _UNLOCK)
    except BridgeError as error:
        if not isinstance(error.__cause__, psycopg.errors.QueryCanceled):
            raise
        # The cancellation of a wait for a lock arrived late and hit this statement instead.
        await query(connection, _UNLOCK)


async def query(
    connection: Connection, text: str, values: Mapping[str, Any] | None = None, *, slow: bool = False
) -> list[tuple[Any, ...]]:
    """The rows of a statement; a cancellation waits for its end (see `advisory_lock` for the reason).

    DatabaseError when a quick one has no answer in time: a connection on which nothing is under way breaks unnoticed.
    """
    rows: list[tuple[Any, ...]] = []
    with anyio.CancelScope(shield=True), translated(), _answered(connection, None if slow else connection.patience):
        rows += await _rows(connection, text, values)
    return rows


async def _rows(connection: Connection, text: str, values: Mapping[str, Any] | None) -> list[tuple[Any, ...]]:
    try:
        cursor = await connection.execute(text, values)
        rows = await cursor.fetchall() if cursor.description else []
    except psycopg.Error:
        if connection.pinned:
            with suppress(psycopg.Error):
                await connection.execute("rollback and chain")
        raise
    if connection.pinned:
        # What the statement did is committed, and the pooler never sees a session without a transaction.
        await connection.execute("commit and chain")
    return rows


@contextmanager
def _answered(connection: Connection, within: float | None) -> Iterator[None]:
    """Hangs up when the block takes longer, in seconds. A timer, since a task for each statement would cost as much as
    the statement."""
    if within is None:
        yield
        return
    late = False

    def hang_up() -> None:
        nonlocal late
        late = True
        connection.hang_up()

    timer = asyncio.get_running_loop().call_later(within, hang_up)
    try:
        yield
    except psycopg.Error as error:
        if late:
            raise SilenceError(f"the server did not answer within {within:g} s (tcp_user_timeout)") from error
        raise
    finally:
        timer.cancel()


@asynccontextmanager
async def own_search_path(connection: Connection) -> AsyncIterator[None]:
    """The role's own search_path, for a statement to which a table's name means what it means to the user."""
    await query(connection, "set search_path to default")
    try:
        yield
    finally:
        # It fails only on a connection that is gone, which somebody else tells.
        with suppress(BridgeError):
            await query(connection, _PINNED_PATH)


async def notification(connection: Connection, within: float | None = None) -> bool:
    """Whether a notification came within so many seconds (None: no limit)."""
    async with aclosing(connection.notifies(timeout=within, stop_after=1)) as notifications:
        async for _ in notifications:
            return True
    return False


@contextmanager
def translated() -> Iterator[None]:
    """Errors of psycopg leave this block as ours."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error) from error


def translate(error: psycopg.Error) -> BridgeError:
    """The error of psycopg as a sentence: DatabaseError when trying again can help, else ConfigError."""
    diagnosis = error.diag
    # One line: libpq's own messages have several, with tabs.
    text = hidden(" ".join((diagnosis.message_primary or str(error)).split())) or type(error).__name__
    if diagnosis.message_hint:
        text = f"{text} ({diagnosis.message_hint})"
    missing = psycopg.errors.InvalidSchemaName | psycopg.errors.UndefinedTable | psycopg.errors.UndefinedFunction
    if isinstance(error, missing) and _OURS.search(text):
        return ConfigError(f"{text}: is Commit Bridge installed in this database? `bridge install` does it")
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return ConfigError(f"{text}: connect with a role that has this right, see docs/howto/roles.md")
    if named := next((ours for theirs, ours in _NAMED.items() if isinstance(error, theirs)), None):
        return named(text)
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        # A standby before its promotion, or a primary that was told to hold still.
        return DatabaseError(f"the server takes no writes now: {text}")
    if isinstance(error, _OUTAGES):
        return ConfigError(text) if _PERMANENT.search(text) else DatabaseError(text)
    return ConfigError(text)
