"""Databases in which an attacker planted thousands of objects (hostile/plant.sql), before or after the bridge came.

The attacker's role isn't a superuser. It may create objects in `public` and in its own schema, and use the schema
`bridge` as an application does. Programs that work in such a database must reach none of its objects.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.fix_postgres import TRIGGERS_SQL, Database, PgServer

PLANT = (Path(__file__).parent / "hostile" / "plant.sql").read_bytes()

# With the first path PostgreSQL looks into pg_catalog before public, and finds better matches and missing names in
# public. With the second path every twin hides the original.
PATHS = {"default": '"$user", public', "public_first": "public, pg_catalog"}

# Watches, waiting events and dead letters, so that every command has work.
_SHOP = """
    create table public.product (id int primary key, name text, price numeric, note jsonb);
    create table public.place (id int, area text, primary key (id, area)) partition by list (area);
    create table public.place_north partition of public.place for values in ('north');
    create table public.place_south partition of public.place for values in ('south');
    select bridge.watch(
        'reprice', 'public.product', 'shop.tasks.reprice', condition => 'new.price > 0', data => '{name,note}'
    );
    select bridge.watch(
        'renote', 'public.product', 'shop.tasks.renote', '{update}', columns => '{note}', options => '{"call": "event"}'
    );
    select bridge.watch('place', 'public.place', 'shop.tasks.place', stream => 'places');
    select bridge.allow('shop.tasks.mail');
    insert into public.product values (1, 'Tea', 1, '{}'), (2, 'Milk', 2, '{}'), (3, 'Salt', 3, null);
    insert into public.place values (1, 'north');
    select bridge.send('shop.tasks.mail', '["ann"]');
    insert into bridge.dead_letter (id, stream, watch, op, key, at, reason)
    select 900 + n, 'default', 'reprice', 'update', '[1]', clock_timestamp(), 'a reason' from generate_series(1, 3) n;
"""


@dataclass(frozen=True)
class Hostile:
    """A database with planted objects, and the role that planted them."""

    database: Database
    attacker: str
    _observers: list[psycopg.Connection] = field(default_factory=list)

    def connect(self) -> psycopg.Connection:
        """Connects for the test itself, with a path that does not contain `public`."""
        return self.database.connect(options="-c search_path=pg_catalog")

    def close(self) -> None:
        while self._observers:
            self._observers.pop().close()

    def planted(self) -> int:
        [(number,)] = self._observer().execute("select count(*) from evil.object").fetchall()
        return int(number)

    def forget(self) -> None:
        """Forgets all objects that were reached."""
        self._observer().execute("alter sequence evil.reached restart")

    def reached(self) -> list[str]:
        """Returns the planted object that ran last with another role's rights, or an empty list."""
        query = "select name from evil.object where number = (select last_value from evil.reached where is_called)"
        return [name for (name,) in self._observer().execute(query)]

    def is_superuser(self) -> bool:
        """Returns whether the attacker became a superuser."""
        query = "select rolsuper from pg_roles where rolname = %s"
        [(is_it,)] = self._observer().execute(query, [self.attacker]).fetchall()
        return bool(is_it)

    def _observer(self) -> psycopg.Connection:
        """Returns one session for all queries, because a new session is slow among thousands of objects."""
        if not self._observers:
            self._observers.append(self.connect())
        return self._observers[0]


class Ground:
    """The attacker's role on one server, and the databases in which it has planted objects."""

    def __init__(self, server: PgServer) -> None:
        self._server = server
        self.attacker = f"bridge_test_attacker_{server.run}"
        self._on_role("create role {} login")
        self._templates: dict[bool, Database] = {}
        self._kept: dict[str, Hostile] = {}

    @contextmanager
    def copy(self, path: str, installed: bool) -> Iterator[Hostile]:
        """Yields a private database, with this search_path for every session."""
        hostile = self._make(path, installed)
        yield hostile
        hostile.close()
        self._server.drop(hostile.database.name)

    def kept(self, path: str) -> Hostile:
        """Returns a database that many tests share. All reached objects are forgotten."""
        if path not in self._kept:
            self._kept[path] = self._make(path, installed=True)
        self._on_role("alter role {} nosuperuser")
        self._kept[path].forget()
        return self._kept[path]

    def close(self) -> None:
        for hostile in self._kept.values():
            hostile.close()
        for database in [*self._templates.values(), *(hostile.database for hostile in self._kept.values())]:
            self._server.drop(database.name)
        self._on_role("drop role {}")

    def _make(self, path: str, installed: bool) -> Hostile:
        if installed not in self._templates:
            self._templates[installed] = self._prepare(installed)
        self._on_role("alter role {} nosuperuser")
        database = self._server.create(self._templates[installed].name)
        with database.connect() as conn:
            conn.execute(sql.SQL("alter database {} set search_path = " + path).format(sql.Identifier(database.name)))
        return Hostile(database, self.attacker)

    def _prepare(self, installed: bool) -> Database:
        database = self._server.create()
        attacker = sql.Identifier(self.attacker)
        with database.connect() as conn:
            if installed:
                conn.execute(TRIGGERS_SQL.read_bytes())
                conn.execute(_SHOP.encode())
                conn.execute(sql.SQL("grant usage on schema bridge to {}").format(attacker))
            conn.execute(sql.SQL("create schema evil authorization {}").format(attacker))
            conn.execute(sql.SQL("grant create on schema public to {}").format(attacker))
        plant(database, self.attacker)
        return database

    def _on_role(self, statement: str) -> None:
        self._server.admin.execute(sql.SQL(statement).format(sql.Identifier(self.attacker)))


def plant(database: Database, attacker: str, text: bytes = PLANT) -> None:
    """Plants the objects as the attacker, in a session that can't take another role."""
    with database.connect(options=f"-c role={attacker}") as conn:
        conn.execute(text)


@pytest.fixture(scope="session")
def ground_pg18(pg18: PgServer) -> Iterator[Ground]:
    with closing(Ground(pg18)) as ground:
        yield ground


@pytest.fixture(scope="session")
def ground_pg15(pg15: PgServer) -> Iterator[Ground]:
    with closing(Ground(pg15)) as ground:
        yield ground


@pytest.fixture
def ground(request: pytest.FixtureRequest, pg_server: PgServer) -> Ground:
    ground: Ground = request.getfixturevalue(f"ground_{pg_server.id}")
    return ground


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> str:
    """Returns the search_path of every session."""
    return PATHS[request.param]


@pytest.fixture
def unready(ground: Ground, path: str) -> Iterator[Hostile]:
    """Yields a database with objects that were planted before the bridge is installed."""
    with ground.copy(path, installed=False) as hostile:
        yield hostile


@pytest.fixture
def hostile(ground: Ground, path: str) -> Iterator[Hostile]:
    """Yields a database with objects that were planted beside an installed bridge that has work."""
    with ground.copy(path, installed=True) as hostile:
        yield hostile


@pytest.fixture
def kept(ground: Ground, path: str) -> Hostile:
    """Returns a `hostile` that tests share if they roll back their work. A reached object still shows."""
    return ground.kept(path)
