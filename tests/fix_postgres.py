"""Databases: a fresh one per test, on PostgreSQL 15 and 18.

A test that takes `database`, `empty_database` or `conn` has a case on each server. scripts/test runs one of them, and
scripts/soak the other one, so that all is run on both and the everyday command stays quick. The name of the case says
which one it is, and so half of the cases are on each server. `@on_pg18` limits a test to the embedded server.
"""

import hashlib
import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.absence import absent
from tools.servers import Postgres

TRIGGERS_SQL = Path(__file__).parent.parent / "triggers.sql"
MACHINE_URL = "postgresql://postgres@127.0.0.1:5432/postgres"
MACHINE_BINARIES = Path("/usr/lib/postgresql/15/bin")

# The ids name the versions that CI has. BRIDGE_TEST_POSTGRES_URL may put another version behind `pg15`.
on_pg18 = pytest.mark.parametrize("pg_server", ["pg18"], indirect=True)
on_pg15 = pytest.mark.parametrize("pg_server", ["pg15"], indirect=True)

_PREFIX = "bridge_test_"
_OWNER_LOCK = 20131  # class of the advisory locks that mean "the test run with this number is alive"


@dataclass(frozen=True)
class Database:
    name: str
    dsn: str

    def connect(self, **options: Any) -> psycopg.Connection:
        """Opens a synchronous autocommit connection. The caller closes it."""
        return psycopg.connect(self.dsn, autocommit=True, **options)


@dataclass
class PgServer:
    """A server, and the databases that this test process makes on it."""

    id: str
    url: str
    in_memory: bool = False
    run: int = field(default_factory=lambda: secrets.randbits(31))
    _admin: psycopg.Connection | None = None
    _template: str | None = None
    _kept: dict[str, Database] = field(default_factory=dict)
    _made: int = 0

    @property
    def version(self) -> int:
        """Returns the version number, such as 180006 for 18.6."""
        return self.admin.info.server_version

    @property
    def admin(self) -> psycopg.Connection:
        if self._admin is None:
            self._admin = psycopg.connect(self.url, autocommit=True, connect_timeout=5)
            self._admin.execute("select pg_advisory_lock(%s, %s)", [_OWNER_LOCK, self.run])
            self.sweep()
        return self._admin

    def dsn(self, database: str) -> str:
        return make_conninfo(self.url, dbname=database)

    def create(self, template: str = "template1") -> Database:
        self._made += 1
        name = f"{_PREFIX}{self.run}_{self._made}"
        self._copy(template, name)
        return Database(name, self.dsn(name))

    def _copy(self, template: str, name: str) -> None:
        # A copy of the files needs a checkpoint. In memory it costs nothing, and this way takes half the time.
        strategy = " strategy file_copy" if self.in_memory else ""
        self._execute("create database {} template {}" + strategy, name, template)

    def drop(self, name: str) -> None:
        self._execute("drop database if exists {} with (force)", name)

    def template(self) -> str:
        """Returns the name of a database with triggers.sql, which is made once."""
        if self._template is None:
            database = self.create()
            with database.connect() as connection:
                connection.execute(TRIGGERS_SQL.read_bytes())
            self._template = database.name
        return self._template

    def kept(self, what: str, database: Database, make: Callable[[], None]) -> None:
        """Brings `database` into the state that `make` leaves. `make` is called once for each `what`; later calls copy.

        `database` must have no connections.
        """
        if what in self._kept:
            self.drop(database.name)
            self._copy(self._kept[what].name, database.name)
        else:
            make()
            self._kept[what] = self.create(database.name)

    def close(self) -> None:
        if self._admin is not None:
            for database in self._kept.values():
                self.drop(database.name)
            if self._template is not None:
                self.drop(self._template)
            self._admin.close()

    def sweep(self) -> None:
        """Drops the databases of test runs that were killed. Their locks are free."""
        rows = self.admin.execute("select datname from pg_database where starts_with(datname, %s)", [_PREFIX])
        for (name,) in rows.fetchall():
            run = int(name.removeprefix(_PREFIX).split("_")[0])
            lock = [_OWNER_LOCK, run]
            if run != self.run and self.admin.execute("select pg_try_advisory_lock(%s, %s)", lock).fetchone() == (
                True,
            ):
                self.drop(name)
                self.admin.execute("select pg_advisory_unlock(%s, %s)", lock)

    def _execute(self, statement: str, *names: str) -> None:
        self.admin.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Before `-m` chooses: a case that is there on both servers is a `soak` on the one that is not its own."""
    servers = [case.params.get("pg_server") if (case := getattr(item, "callspec", None)) else None for item in items]
    names = [_without(item.nodeid, server) for item, server in zip(items, servers, strict=True)]
    there = Counter(names)
    for item, server, name in zip(items, servers, names, strict=True):
        if there[name] > 1 and server != ("pg18", "pg15")[hashlib.sha256(name.encode()).digest()[0] % 2]:
            item.add_marker(pytest.mark.soak)


def _without(name: str, server: str | None) -> str:
    """The name of a case, whichever server it is on."""
    test, _, case = name.partition("[")
    return "-".join([test, *(word for word in case.rstrip("]").split("-") if word != server)])


@pytest.fixture(scope="session")
def embedded_postgres() -> Iterator[Postgres]:
    """Starts a PostgreSQL for all tests of this process. A test that stops its server makes its own."""
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def pg18(embedded_postgres: Postgres) -> Iterator[PgServer]:
    server = PgServer("pg18", embedded_postgres.dsn(), in_memory=True)
    yield server
    server.close()


@pytest.fixture(scope="session")
def pg15() -> Iterator[PgServer]:
    """Starts a private server of the machine's version if its programs exist: in memory it is several times faster."""
    with ExitStack() as stack:
        url = os.environ.get("BRIDGE_TEST_POSTGRES_URL")
        in_memory = url is None and MACHINE_BINARIES.exists()
        if in_memory:
            url = stack.enter_context(Postgres(binaries=MACHINE_BINARIES)).dsn()
        server = PgServer("pg15", url or MACHINE_URL, in_memory)
        try:
            assert server.admin
        except psycopg.OperationalError as error:
            absent("PostgreSQL of the machine (BRIDGE_TEST_POSTGRES_URL)", str(error).strip())
        yield server
        server.close()


@pytest.fixture(scope="session", params=["pg18", "pg15"])
def pg_server(request: pytest.FixtureRequest) -> PgServer:
    # This fixture ends whenever the parameter changes. The servers are fixtures of their own, so they stay.
    server: PgServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def database(pg_server: PgServer) -> Iterator[Database]:
    """Yields a new database with triggers.sql applied."""
    database = pg_server.create(pg_server.template())
    yield database
    pg_server.drop(database.name)


@pytest.fixture
def empty_database(pg_server: PgServer) -> Iterator[Database]:
    """Yields a new database without any objects."""
    database = pg_server.create()
    yield database
    pg_server.drop(database.name)


@pytest.fixture
def conn(database: Database) -> Iterator[psycopg.Connection]:
    """Yields a synchronous autocommit connection to `database`."""
    with database.connect() as connection:
        yield connection
