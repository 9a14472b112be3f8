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

# With these values a vanished peer is noticed in about 30 s instead of hours. Values in the user's DSN come first.
_DEFAULTS: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}

# Timeouts that an administrator set for applications must not disconnect a listener, which waits by design. Windows of
# the log are always read through its index; with the statistics of a new log the planner would choose a full scan.
# Names mean PostgreSQL's own objects, whatever the role's search_path is. Until search_path is set, each name has its
# schema.
_SESSION = """
    select pg_catalog.set_config(name, value, false)
    from (values ('search_path', 'pg_catalog, pg_temp'),
        ('statement_timeout', '0'), ('lock_timeout', '0'), ('idle_in_transaction_session_timeout', '0'),
        ('idle_session_timeout', '0'), ('transaction_timeout', '0'), ('enable_seqscan', 'off'), ('jit', 'off'),
        -- Windows need a new snapshot for each statement. Under serializable, our reads could make a writer fail.
        ('default_transaction_isolation', 'read committed'),
        ('plan_cache_mode', 'force_generic_plan'), ('max_parallel_workers_per_gather', '0'), ('timezone', 'UTC'),
        -- A role or a database may have local formats for values, which psycopg can't read.
        ('datestyle', 'ISO'), ('intervalstyle', 'postgres'), ('array_nulls', 'on'),
        -- Keepalives on the server's side: locks of a vanished bridge are free for the next bridge within seconds.
        ('tcp_keepalives_idle', '5'), ('tcp_keepalives_interval', '2'), ('tcp_keepalives_count', '3'),
        ('tcp_user_timeout', '15000')
    ) as setting (name, value)
    -- transaction_timeout is new in PostgreSQL 17.
    where pg_catalog.current_setting(name, true) is not null
"""

_PINNED_PATH = "set search_path = pg_catalog, pg_temp"
_LOCK = "select bridge.await_lock(%(key)s, %(at_most)s)"
_UNLOCK = "select pg_advisory_unlock_all()"

# A waiting statement holds back VACUUM, so a wait for a lock is ended and begun again after this time.
_RENEWED = timedelta(minutes=1)

# Seconds that a cancelled wait for a lock may take to end. After that the connection is given up.
_CALL_OFF = 5.0

_PERMANENT = re.compile(
    r"FATAL:.*(does not exist|authentication failed|no pg_hba.conf entry|is not permitted)|invalid \w+ value", re.DOTALL
)

_NAMED = {
    psycopg.errors.LockNotAvailable: LockTimeoutError,
    psycopg.errors.ProgramLimitExceeded: TooLongError,
}

# The last three mean a fault in a session or in the server (a missing cursor, a page that can't be read). They concern
# only the stream whose statement failed.
_OUTAGES = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.InternalError,
    psycopg.errors.InvalidCursorName,
    psycopg.errors.DuplicateCursor,
)

# Matches when a missing object is ours: `relation "bridge.event" does not exist`, `schema "bridge" does not exist`.
_OURS = re.compile(r'(relation |function )"?bridge[".]|schema "bridge"')


def statement(name: str) -> str:
    """Returns the SQL statement in `bridge/sql/<name>.sql`."""
    return files("bridge").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


class Connection(psycopg.AsyncConnection[Any]):
    """An AsyncConnection that does not busy-poll, and gives up on a server that does not answer."""

    patience: float | None = None
    """Seconds that the answer to a quick statement may take: the DSN's `tcp_user_timeout`. None: no limit."""

    pinned = False
    """Whether an always open transaction keeps the session for us. Such a connection receives no notifications."""

    async def wait(
        self,
        gen: PQGen[T],
        interval: float = 60.0,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's own
    ) -> T:
        """Waits without psycopg's ten wake-ups a second. They exist for Ctrl-C, but signals wake asyncio anyway."""
        return await super().wait(gen, interval, **({} if timeout is None else {"timeout": timeout}))

    async def pin(self) -> None:
        """Keeps the session for this connection behind a pooler in transaction mode, by an always open transaction.

        When a client disconnects inside a transaction, the pooler closes the session with its locks and settings, so
        they never reach another client.
        """
        await self.execute("begin isolation level read committed")
        self.pinned = True

    def take_patience(self, times: int) -> None:
        """Multiplies the time that answers may take."""
        if self.patience is not None:
            self.patience *= times

    def hang_up(self) -> None:
        """Closes the socket, so that every wait on this connection ends with an error.

        A cancellation can't do this: psycopg handles it with a cancel request, which waits for the same dead server.
        """
        if not self.closed:
            with socket.socket(fileno=os.dup(self.fileno())) as duplicate, suppress(OSError):
                duplicate.shutdown(socket.SHUT_RDWR)


@asynccontextmanager
async def connect(database_url: str, purpose: str) -> AsyncIterator[Connection]:
    """Opens a connection in autocommit mode, and closes it at the end. pg_stat_activity shows `purpose`.

    Raises ConfigError when the address can't be right (syntax, unknown database, refused password), and DatabaseError
    when the server is away.
    """
    note(database_url)
    try:
        given = conninfo_to_dict(database_url)
    except psycopg.ProgrammingError as error:
        # The message of libpq may quote the address, which may contain a password.
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
    # The kernel's timeouts notice a vanished peer, but not a proxy or a server that is there and does not answer.
    connection.patience = int(address["tcp_user_timeout"]) / 1000 or None
    try:
        with anyio.CancelScope(shield=True), translated(), _answered(connection, connection.patience):
            if await shares_sessions(connection, open_one):
                await connection.pin()
        if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
            raise ConfigError(
                f'the encoding of database "{connection.info.dbname}" is SQL_ASCII, which does not guarantee valid '
                "text; copy it into a database with encoding UTF8 (createdb -T template0 -E UTF8, pg_dump, psql)"
            )
        await query(connection, _SESSION)
        yield connection
    finally:
        await connection.close()


def _check_address(given: Mapping[str, Any]) -> None:
    """Raises ConfigError when host or port are not valid. An unencoded "/" or "@" in a password moves a part of the
    password into the host, port or name, and libpq's error would show it."""
    ports = [port for port in str(given.get("port") or "").split(",") if port]
    if "@" in str(given.get("host") or "") or not all(port.isdecimal() and 0 < int(port) < 65536 for port in ports):
        raise ConfigError(
            "the database address has no valid host and port: in a URL's password, write / as %2F, @ as %40, : as %3A"
        )


async def advisory_lock(connection: Connection, key: int) -> None:
    """Waits without a limit for a session-level advisory lock. The connection stays usable after a cancelled wait.

    anyio cancels a task repeatedly until it ends, which breaks the way psycopg ends a query. So the query runs
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
        # This raises the cancellation again: a cancelled wait must never look like a granted lock.
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
        # The cancel request of an earlier wait for a lock arrived late, and cancelled this statement instead.
        await query(connection, _UNLOCK)


async def query(
    connection: Connection, text: str, values: Mapping[str, Any] | None = None, *, slow: bool = False
) -> list[tuple[Any, ...]]:
    """Returns the rows of a statement. A cancellation waits for its end (`advisory_lock` has the reason).

    Raises DatabaseError when a quick statement has no answer in time: the connection may have broken unnoticed while it
    was idle.
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
        # This commits the statement. The next transaction begins at once, so the pooler can't take the session away.
        await connection.execute("commit and chain")
    return rows


@contextmanager
def _answered(connection: Connection, within: float | None) -> Iterator[None]:
    """Closes the socket when the block takes longer than `within` seconds. It uses a timer, since a task for each
    statement would cost the same as the statement itself."""
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
    """Sets the role's own search_path for the block, so that a table's name means what it means to the user."""
    await query(connection, "set search_path to default")
    try:
        yield
    finally:
        # It fails only on a lost connection, and the next statement reports that.
        with suppress(BridgeError):
            await query(connection, _PINNED_PATH)


async def notification(connection: Connection, within: float | None = None) -> bool:
    """Whether a notification came within this number of seconds (None: no limit)."""
    async with aclosing(connection.notifies(timeout=within, stop_after=1)) as notifications:
        async for _ in notifications:
            return True
    return False


@contextmanager
def translated() -> Iterator[None]:
    """Turns errors of psycopg in this block into ours."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error) from error


def translate(error: psycopg.Error) -> BridgeError:
    """Returns psycopg's error as one of ours: DatabaseError when a retry can help, else ConfigError."""
    diagnosis = error.diag
    # libpq's own messages have several lines, with tabs; ours has one.
    text = hidden(" ".join((diagnosis.message_primary or str(error)).split())) or type(error).__name__
    if diagnosis.message_hint:
        text = f"{text} ({diagnosis.message_hint})"
    missing = psycopg.errors.InvalidSchemaName | psycopg.errors.UndefinedTable | psycopg.errors.UndefinedFunction
    if isinstance(error, missing) and _OURS.search(text):
        return ConfigError(f"{text}: is Commit Bridge installed in this database? `bridge install` installs it")
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return ConfigError(f"{text}: connect with a role that has this right, see docs/howto/roles.md")
    if named := next((ours for theirs, ours in _NAMED.items() if isinstance(error, theirs)), None):
        return named(text)
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        # The server is a standby before its promotion, or a primary that is set to read-only.
        return DatabaseError(f"the server does not accept writes now: {text}")
    if isinstance(error, _OUTAGES):
        return ConfigError(text) if _PERMANENT.search(text) else DatabaseError(text)
    return ConfigError(text)
