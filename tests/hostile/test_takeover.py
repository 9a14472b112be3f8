"""An installation does not take over a schema `bridge` that another role has made, or made something in."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from tests.cli.command import started
from tests.fix_postgres import TRIGGERS_SQL, Database
from tests.hostile.psql import psql

# Each of these objects would run with the installer's rights, or its owner could change it later to do so.
_RUNS = "language plpgsql as $$ begin execute 'alter role {role} superuser'; raise 'reached'; end $$"
PLANTED = {
    "the schema": "create schema bridge authorization {role}",
    "a function": "create function bridge._add_stream(name text) returns void " + _RUNS,
    "a better match": "create function bridge._add_stream(name unknown_) returns void " + _RUNS,
    "a table": "create table bridge.installation (singleton boolean, version text, generation bigint)",
    "a view": "create function evil() returns text " + _RUNS
    + "; create view bridge.installation as select evil() as version",
    "a sequence": "create sequence bridge.event_id",
    "a type": "create type bridge.watch as (name text)",
    "a domain": "create domain bridge.watch as text",
    "a trigger": "create function evil() returns trigger " + _RUNS
    + "; create trigger late before insert on bridge.installation for each row execute function evil()",
    "an operator": "create function evil(text, text) returns boolean " + _RUNS
    + "; create operator bridge.= (function = evil, leftarg = text, rightarg = text)",
}  # fmt: skip


@pytest.fixture
def attacker(empty_database: Database) -> Iterator[str]:
    """Yields a role that may create a schema, and anything in `public`."""
    role = f"{empty_database.name}_attacker"
    with empty_database.connect() as conn:
        conn.execute(sql.SQL("create role {} login").format(sql.Identifier(role)))
        conn.execute(sql.SQL("grant create on schema public to {}").format(sql.Identifier(role)))
        yield role
        conn.execute(sql.SQL("drop owned by {} cascade").format(sql.Identifier(role)))
        conn.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))


@pytest.fixture(params=PLANTED)
def planted(request: pytest.FixtureRequest, empty_database: Database, attacker: str) -> Database:
    """Plants the object in the attacker's schema, or in one of ours in which the attacker could once create objects."""
    statement = PLANTED[request.param].format(role=attacker)
    with empty_database.connect() as conn:
        if request.param != "the schema":
            conn.execute("create schema bridge")
            conn.execute(f"grant create, usage on schema bridge to {attacker}")
            if request.param == "a trigger":
                conn.execute("create table bridge.installation (singleton boolean, version text, generation bigint)")
                conn.execute(f"grant all on bridge.installation to {attacker}")
            conn.execute(f"set role {attacker}")
            conn.execute(statement.replace("unknown_", "regtype").encode())
            conn.execute("reset role")
            conn.execute(f"revoke create on schema bridge from {attacker}")
        else:
            conn.execute(statement.encode())
    return empty_database


def is_untouched(database: Database, attacker: str) -> bool:
    """Returns whether the database contains nothing of ours and the attacker is still an ordinary role."""
    with database.connect() as conn:
        ours = conn.execute("select to_regprocedure('bridge.version()') is null").fetchone()
        role = conn.execute("select rolsuper from pg_roles where rolname = %s", [attacker]).fetchone()
    return (ours, role) == ((True,), (False,))


def test_a_planted_schema_is_refused_with_one_sentence(planted: Database, attacker: str) -> None:
    done = started("install", BRIDGE_DATABASE_URL=planted.dsn)
    assert f'belongs to role "{attacker}"' in done.sentence()
    assert is_untouched(planted, attacker)


@pytest.mark.parametrize("options", [[], ["-v", "ON_ERROR_STOP=1"], ["--single-transaction"]])
def test_psql_does_not_go_on_in_a_planted_schema(planted: Database, attacker: str, options: list[str]) -> None:
    done = psql(planted, *options, "-f", str(TRIGGERS_SQL))
    assert f'belongs to role "{attacker}"' in done.stderr
    assert is_untouched(planted, attacker)


def test_who_may_still_create_in_the_schema_is_named(empty_database: Database, attacker: str) -> None:
    with empty_database.connect() as conn:
        conn.execute("create schema bridge")
        conn.execute(f"grant create on schema bridge to {attacker}")
        with pytest.raises(psycopg.Error, match=f'role "{attacker}" may create objects in schema bridge'):
            conn.execute(TRIGGERS_SQL.read_bytes())
        conn.execute(f"revoke create on schema bridge from {attacker}")
        conn.execute("grant create on schema bridge to public")
        with pytest.raises(psycopg.Error, match="everybody may create objects in schema bridge"):
            conn.execute(TRIGGERS_SQL.read_bytes())
        conn.execute("revoke create on schema bridge from public")
        conn.execute(TRIGGERS_SQL.read_bytes())


def test_an_owner_who_is_no_superuser_installs_and_upgrades(empty_database: Database, attacker: str) -> None:
    with empty_database.connect() as conn:
        conn.execute(f"create schema bridge authorization {attacker}")
        conn.execute("grant execute on function pg_control_system() to public")
        conn.execute(f"set role {attacker}")
        for _ in range(2):
            conn.execute(TRIGGERS_SQL.read_bytes())
        assert conn.execute("show search_path").fetchone() == ('"$user", public',)


@pytest.mark.parametrize("path", ['"$user", public', "", "public, pg_catalog", "pg_catalog, pg_temp"])
def test_the_session_keeps_its_search_path(empty_database: Database, path: str) -> None:
    """The path is set for session or transaction; the file is applied as one query, in a transaction, and by psql."""

    def search_path(conn: psycopg.Connection) -> str:
        [(now,)] = conn.execute("show search_path").fetchall()
        return str(now)

    statement = "select set_config('search_path', %s, %s)"
    with empty_database.connect() as conn:
        before = search_path(conn)
        with conn.transaction():
            conn.execute(statement, [path, True])
            here = search_path(conn)
            conn.execute(TRIGGERS_SQL.read_bytes())
            assert search_path(conn) == here
        assert search_path(conn) == before
        conn.execute(statement, [path, False])
        conn.execute(TRIGGERS_SQL.read_bytes())
        assert search_path(conn) == here
        with pytest.raises(psycopg.Error):
            conn.execute(TRIGGERS_SQL.read_bytes() + b"; select 1 / 0")
        assert search_path(conn) == here
    script = f"select set_config('search_path', '{path}', false);\n\\i {TRIGGERS_SQL}\n\\t\nshow search_path\n"
    done = psql(empty_database, "-A", "-v", "ON_ERROR_STOP=1", script=script)
    assert done.stdout.splitlines()[-1] == here


def test_an_attempt_that_ended_half_way_gives_the_path_back_next_time(empty_database: Database) -> None:
    half, _, _ = TRIGGERS_SQL.read_text().partition("create table if not exists bridge.stream")
    with empty_database.connect() as conn:
        for statement in half.split("$pin$;")[0:2]:
            conn.execute((statement + "$pin$;").encode())
        assert conn.execute("show search_path").fetchone() == ("pg_catalog, pg_temp",)
    script = f"\\set ON_ERROR_STOP off\n{half}\n\\i {TRIGGERS_SQL}\n\\t\nshow search_path\n"
    assert psql(empty_database, "-A", script=script).stdout.splitlines()[-1] == '"$user", public'
