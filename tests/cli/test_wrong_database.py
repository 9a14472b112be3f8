"""The database is wrong, away, or closed to us: every command prints one clear sentence."""

import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from bridge.database import schema
from tests.cli.command import SECRET, Command, Launch, Result, started
from tests.eventually import eventually
from tests.fix_bridge import BRIDGE, environment
from tests.fix_postgres import Database, on_pg15, on_pg18
from tools.servers import Child, Postgres
from tools.servers.port import free_port

SHORT = ["install", "apply", "status", "tail"]  # the commands that do not wait until the database is ready


def calls(file: Path) -> dict[str, list[str]]:
    return {"install": ["install"], "apply": ["apply", str(file)], "status": ["status"], "tail": ["tail"]}


def everywhere(bridge: Command, file: Path, url: str, only: Sequence[str] = ()) -> set[str]:
    """Returns the errors that the commands print for this address."""
    chosen = [call for name, call in calls(file).items() if not only or name in only]
    said = {bridge(*call, "--database-url", url).sentence() for call in chosen}
    if not only or "run" in only:
        done = started("run", "--broker-url=memory://", BRIDGE_DATABASE_URL=url)
        # The log of `run` goes to standard error too.
        [error] = [line for line in done.err.splitlines() if line.startswith("Error: ")]
        said.add(Result(done.code, done.out, error).sentence())
        assert SECRET not in done.err
        assert "Traceback" not in done.err
    return said


def test_no_database_is_named(bridge: Command, file: Path) -> None:
    said = {bridge(*call).sentence() for call in calls(file).values()}
    assert said == {"the database address is missing; give --database-url, or set BRIDGE_DATABASE_URL"}


@pytest.mark.parametrize(
    "url", [f"postgres//ann:{SECRET}@host/name", f"host password={SECRET}", f"mysql://ann:{SECRET}@host/name"]
)
def test_address_that_is_none(bridge: Command, file: Path, url: str) -> None:
    [sentence] = everywhere(bridge, file, url)
    assert "postgresql://user@host/name" in sentence


@pytest.mark.parametrize(
    "rest", [f"{SECRET}@host:port", f"{SECRET}@host:99999", f"{SECRET}/x@host", f"x@{SECRET}@host"]
)
def test_port_or_host_that_is_none(bridge: Command, file: Path, rest: str) -> None:
    [sentence] = everywhere(bridge, file, f"postgresql://ann:{rest}/name")
    assert "no valid host and port" in sentence
    assert "%2F" in sentence


def test_unknown_database(bridge: Command, file: Path, embedded_postgres: Postgres) -> None:
    [sentence] = everywhere(bridge, file, embedded_postgres.dsn("nowhere"), only=SHORT)
    assert 'database "nowhere" does not exist' in sentence


def test_server_that_is_down(bridge: Command, file: Path) -> None:
    url = f"postgresql://ann:{SECRET}@127.0.0.1:{free_port()}/shop"
    [sentence] = everywhere(bridge, file, url, only=SHORT)
    assert "127.0.0.1" in sentence
    assert "refused" in sentence.lower()


def test_run_waits_for_a_server_that_is_down_and_says_so(launch: Launch, tmp_path: Path) -> None:
    url = f"postgresql://ann:{SECRET}@127.0.0.1:{free_port()}/shop"
    log = tmp_path / "run.log"
    env = environment(BRIDGE_DATABASE_URL=url, BRIDGE_BROKER_URL="memory://")
    child = launch([BRIDGE, "run"], log, env)
    assert eventually(lambda: "refused" in log.read_text().lower()), log.read_text()
    assert child.stop() == 0
    assert log.read_text().lower().count("refused") == 1, "the outage must be logged once, not with every try"
    assert SECRET not in log.read_text()


def test_refused_password(bridge: Command, file: Path, launch: Launch, tmp_path: Path) -> None:
    with Postgres(tcp=True) as server:
        url = f"postgresql://postgres:{SECRET}@127.0.0.1:{server.port}/postgres"
        [sentence] = everywhere(bridge, file, url, only=SHORT)
        assert 'password authentication failed for user "postgres"' in sentence
        log, child = waiting(launch, tmp_path, url, 'password authentication failed for user "postgres"')
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as admin:
            admin.execute(Path(schema.path()).read_bytes())
            admin.execute(sql.SQL("alter role postgres password {}").format(sql.Literal(SECRET)))
        assert eventually(lambda: "serving" in log.read_text()), child.tail()
        assert child.stop() == 0
        assert SECRET not in log.read_text()


def waiting(launch: Launch, directory: Path, url: str, reason: str) -> tuple[Path, Child]:
    """Starts `bridge run` and waits until its log says why it waits. Returns the log and the process."""
    log = directory / "run.log"
    child = launch([BRIDGE, "run"], log, environment(BRIDGE_DATABASE_URL=url, BRIDGE_BROKER_URL="memory://"))
    assert eventually(lambda: reason in log.read_text()), child.tail()
    assert "database away, trying again" in log.read_text()
    return log, child


def test_run_waits_until_the_schema_is_installed_and_names_each_thing_that_is_missing(
    launch: Launch, tmp_path: Path, empty_database: Database
) -> None:
    """A container starts before `migrate`, with a role that has no rights yet."""
    name = f"early_{secrets.token_hex(6)}"
    with empty_database.connect() as admin:
        admin.execute(sql.SQL("create role {} login").format(sql.Identifier(name)))
        try:
            url = make_conninfo(empty_database.dsn, options=f"-c role={name}")
            log, child = waiting(launch, tmp_path, url, "Commit Bridge is not installed in database")
            admin.execute(Path(schema.path()).read_bytes())
            assert eventually(lambda: "permission denied" in log.read_text()), child.tail()
            admin.execute(sql.SQL("alter role {} superuser").format(sql.Identifier(name)))
            assert eventually(lambda: "serving" in log.read_text()), child.tail()
            assert child.stop() == 0
            assert log.read_text().count("not installed") == 1, "a reason is logged once, not with every try"
        finally:
            admin.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


@pytest.fixture
def nobody(database: Database, conn: psycopg.Connection) -> Iterator[str]:
    """Yields an address with a role that may only connect."""
    name = f"nobody_{secrets.token_hex(6)}"
    conn.execute(sql.SQL("create role {} login").format(sql.Identifier(name)))
    yield make_conninfo(database.dsn, options=f"-c role={name}")
    conn.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


@on_pg15
def test_role_without_rights(bridge: Command, file: Path, nobody: str) -> None:
    for sentence in everywhere(bridge, file, nobody, only=SHORT):
        assert "permission denied" in sentence or "must be owner" in sentence
        assert "docs/howto/roles.md" in sentence


@on_pg18
def test_database_without_the_schema(bridge: Command, file: Path, empty_database: Database) -> None:
    [sentence] = everywhere(bridge, file, empty_database.dsn, only=["apply", "status", "tail"])
    assert sentence.startswith("Commit Bridge is not installed in database")
    assert "`bridge install`" in sentence
    assert "`manage.py migrate`" in sentence


@on_pg15
def test_a_database_in_which_no_text_is_certain_to_be_text(
    bridge: Command, file: Path, empty_database: Database
) -> None:
    name = f"{empty_database.name}_ascii"
    with empty_database.connect() as admin:
        create = "create database {} template template0 encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C'"
        admin.execute(sql.SQL(create).format(sql.Identifier(name)))
        try:
            [sentence] = everywhere(bridge, file, make_conninfo(empty_database.dsn, dbname=name))
        finally:
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
    assert sentence.startswith(f'the encoding of database "{name}" is SQL_ASCII')
    assert "encoding UTF8" in sentence


def test_without_the_schema_each_command_names_what_installs_it(bridge: Command, empty_database: Database) -> None:
    for call in (["status"], ["doctor"], ["repair"], ["dead-letters", "list"], ["dead-letters", "retry", "--all"]):
        sentence = bridge(*call, "--database-url", empty_database.dsn).sentence()
        assert "un `bridge install`, or with Django `manage.py migrate`" in sentence, call
