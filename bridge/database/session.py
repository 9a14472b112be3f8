"""Session: the settings that each session of ours has."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from bridge.database.connection import Connection
from bridge.database.query import query
from bridge.database.statement import statement
from bridge.errors import BridgeError

_SESSION = statement("prepare_session")
_OWN_PATH = statement("use_own_search_path")
_PINNED_PATH = statement("pin_search_path")


async def prepare(connection: Connection) -> None:
    """Makes a new session independent of the settings of its role and its database."""
    await query(connection, _SESSION)


@asynccontextmanager
async def own_search_path(connection: Connection) -> AsyncIterator[None]:
    """Sets the role's own search_path for the block, so that a table's name means what it means to the user."""
    await query(connection, _OWN_PATH)
    try:
        yield
    finally:
        # It fails only on a lost connection, and the next statement reports that.
        with suppress(BridgeError):
            await query(connection, _PINNED_PATH)
