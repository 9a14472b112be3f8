"""Rights: what the pages need in the database, and what the role of the web process lacks."""

from dataclasses import dataclass
from http import HTTPStatus

from django.db import OperationalError, connections

from bridge.database.statement import statement
from django_app.database import sentence

_MISSING = statement("find_missing_rights", "django_app")


@dataclass(frozen=True)
class Lack:
    """Why a page can't be shown, and what mends it."""

    title: str
    reason: str
    mend: tuple[str, ...] = ()
    """Lines of SQL, or commands."""
    status: HTTPStatus = HTTPStatus.FORBIDDEN


@dataclass(frozen=True)
class Needs:
    """Tables and functions of schema `bridge`."""

    tables: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()

    def __add__(self, other: "Needs") -> "Needs":
        return Needs(self.tables + other.tables, self.functions + other.functions)

    def missing(self, using: str) -> Lack | None:
        """Returns what this connection's role lacks; None if it lacks nothing."""
        connection = connections[using]
        if connection.vendor != "postgresql":
            return Lack(
                "Commit Bridge needs PostgreSQL",
                f"The database '{using}' is {connection.display_name}, which has no watches and no events.",
                ("BRIDGE_DATABASE = ...  # in the settings: the alias of a PostgreSQL database",),
            )
        try:
            with connection.cursor() as cursor:
                cursor.execute(_MISSING, {"tables": list(self.tables), "functions": list(self.functions)})
                rows = cursor.fetchall()
        except OperationalError as error:
            reason = f"The database '{using}' gives no answer: {sentence(error)}"
            return Lack("The database is away", reason, status=HTTPStatus.SERVICE_UNAVAILABLE)
        if not rows:
            return None
        absent = [name for _, name, is_there, _ in rows if not is_there]
        if absent:
            return Lack(
                "Commit Bridge is not installed here",
                f"The database '{using}' does not have {absent[0]}, or it has an older version of it.",
                ("python manage.py migrate",),
            )
        role = rows[0][0]
        return Lack(
            "A right is missing in the database",
            f"The role {role}, with which this site connects to the database '{using}', may not read what this page "
            "shows. The owner of schema bridge can grant it:",
            tuple(f"grant {grantable} to {role};" for _, _, _, grantable in rows),
        )
