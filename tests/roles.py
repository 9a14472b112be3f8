"""Roles: applies docs/howto/roles.sql, and connects as one of its roles."""

import subprocess
from contextlib import closing
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from tests.fix_postgres import Database
from tools.servers import Postgres

ROLES_SQL = Path(__file__).parent.parent / "docs" / "howto" / "roles.sql"


def apply_roles(dsn: str, names: dict[str, str]) -> None:
    """Applies the file with these names of roles, by what they are for."""
    variables = [part for role, name in names.items() for part in ("-v", f"{role}={name}")]
    psql: list[str | Path] = [Postgres.bin("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1"]
    subprocess.run([*psql, *variables, "-f", ROLES_SQL, dsn], check=True)


def role_of(database: Database, name: str) -> closing[psycopg.Connection]:
    """Opens a connection that keeps this role: `reset role` does not make the test a superuser again."""
    return closing(psycopg.connect(as_role(database, name), autocommit=True))


def as_role(database: Database, name: str) -> str:
    return make_conninfo(database.dsn, options=f"-c role={name}")
