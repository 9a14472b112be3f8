"""Installation: the schema `bridge` in a database, and its version."""

from bridge.database import schema
from bridge.database.connection import Connection
from bridge.database.query import query
from bridge.database.statement import statement
from bridge.database.translation import INSTALL
from bridge.errors import NotReadyError

_INSTALLED = statement("is_installed")
_VERSION = statement("read_version")
_DATABASE = statement("read_database_name")


async def version(connection: Connection) -> str | None:
    """Returns the version of the installed triggers.sql, or None if it is not installed."""
    [(exists,)] = await query(connection, _INSTALLED)
    if not exists:
        return None
    [(version,)] = await query(connection, _VERSION)
    return str(version)


async def require(connection: Connection, mend: str = INSTALL) -> None:
    """Raises NotReadyError unless Commit Bridge is installed in this database and this role may use it. `mend` says
    what installs it."""
    if await version(connection) is None:
        [(name,)] = await query(connection, _DATABASE)
        raise NotReadyError(f'Commit Bridge is not installed in database "{name}": run {mend}')


async def install(connection: Connection) -> tuple[str | None, str]:
    """Applies the packaged triggers.sql in one transaction. Returns the versions before and after."""
    before = await version(connection)
    # PostgreSQL runs several statements of one simple query in one transaction.
    await query(connection, schema.read(), slow=True)
    return before, schema.version()
