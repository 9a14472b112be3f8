"""Connect: opens connections to PostgreSQL."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import psycopg
from psycopg.conninfo import conninfo_to_dict

from bridge.database.connection import Connection
from bridge.database.pooler import shares_sessions
from bridge.database.query import answered
from bridge.database.session import prepare
from bridge.database.translation import translated
from bridge.errors import ConfigError
from bridge.secret import note, note_value

# With these values a vanished peer is noticed in about 30 s instead of hours. Values in the user's DSN come first.
_DEFAULTS: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}


@asynccontextmanager
async def connect(database_url: str, purpose: str) -> AsyncIterator[Connection]:
    """Opens a connection in autocommit mode, and closes it at the end. pg_stat_activity shows `purpose`.

    Raises ConfigError when the address can't be right, NotReadyError when the server refuses the login (unknown
    database, wrong password), and DatabaseError when the server is away.
    """
    note(database_url)
    given = parsed(database_url)
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
        with anyio.CancelScope(shield=True), translated(), answered(connection, connection.patience):
            if await shares_sessions(connection, open_one):
                await connection.pin()
        if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
            raise ConfigError(
                f'the encoding of database "{connection.info.dbname}" is SQL_ASCII, which does not guarantee valid '
                "text; copy it into a database with encoding UTF8 (createdb -T template0 -E UTF8, pg_dump, psql)"
            )
        await prepare(connection)
        yield connection
    finally:
        await connection.close()


def labels(addresses: Sequence[str]) -> list[str]:
    """Returns a short name for each address: the database's name, with host and port if two have one name. Raises
    ConfigError for an address that is not one, or that is given twice."""
    parts = [parsed(address) for address in addresses]
    names = [str(part.get("dbname") or part.get("user") or "") for part in parts]
    found = [
        name if names.count(name) == 1 else f"{part.get('host', '')}:{part.get('port', 5432)}/{name}"
        for name, part in zip(names, parts, strict=True)
    ]
    twice = next((label for label in found if found.count(label) > 1), None)
    if twice is not None:
        raise ConfigError(f"the database {twice} is given twice; leave one of the addresses out")
    return found


def parsed(address: str) -> dict[str, Any]:
    """Returns the parts of an address, by libpq's names. Raises ConfigError for an address that is not one."""
    try:
        return dict(conninfo_to_dict(address))
    except psycopg.ProgrammingError as error:
        # The message of libpq may quote the address, which may contain a password.
        raise ConfigError(
            "the database address is neither a URL (postgresql://user@host/name) nor a list of key=value"
        ) from error


def _check_address(given: Mapping[str, Any]) -> None:
    """Raises ConfigError when host or port are not valid. An unencoded "/" or "@" in a password moves a part of the
    password into the host, port or name, and libpq's error would show it."""
    ports = [port for port in str(given.get("port") or "").split(",") if port]
    if "@" in str(given.get("host") or "") or not all(port.isdecimal() and 0 < int(port) < 65536 for port in ports):
        raise ConfigError(
            "the database address has no valid host and port: in a URL's password, write / as %2F, @ as %40, : as %3A"
        )
