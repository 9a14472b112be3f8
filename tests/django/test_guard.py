"""The guard of `migrate`: statements of all kinds, runs that fail, and runs that may not touch the watches."""

import gc
import io
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection

from django_app.guard import Guard
from tests.django.operation import Names
from tests.django.project import Project
from tests.fix_postgres import Database, PgServer, on_pg18

BEFORE = """
        migrations.RunSQL('''
            create type shelf_mood as enum ('calm', 'wild');
            create function shelf_is_dear(n integer) returns boolean language sql immutable as 'select n > 100';
            create function shelf_retype() returns void language plpgsql as
                $f$ begin execute 'alter table shelf_' || 'product alter column price type numeric'; end $f$;
            create function shelf_cut() returns void language plpgsql as
                $f$ begin execute 'alter table shelf_' || 'product drop column price cas' || 'cade'; end $f$;
            create procedure shelf_retype_by_call() language plpgsql as
                $f$ begin execute 'alter table shelf_' || 'product alter column price type numeric'; commit; end $f$;
            alter table shelf_product add mood shelf_mood default 'calm';
            create view shelf_names as select name from shelf_product;
            insert into shelf_product (name, price) values ('Tea', 1), ('Pu-erh', 2);
        ''')
"""
PRICES = count(1000)
# The texts of RunSQL("...") in a migration. Each is tried in an atomic migration and in one that is not atomic.
TEXTS = {
    "plain": "ALTER TABLE shelf_product ALTER COLUMN price TYPE numeric",
    "lower case, only": "alter table if exists only shelf_product alter price type numeric",
    "quoted": 'ALTER TABLE "shelf_product" ALTER COLUMN "price" SET DATA TYPE numeric USING price::numeric',
    "schema": 'alter table public."shelf_product" alter price type numeric',
    "comments": "/* drop */ -- cascade\n /* a /* b */ */ ALTER /* x */ TABLE/**/shelf_product ALTER price TYPE text --",
    "several": "select 1; ALTER TABLE shelf_product ADD x int; ALTER TABLE shelf_product ALTER price TYPE numeric",
    "several clauses": "ALTER TABLE shelf_product DROP COLUMN code, ALTER price TYPE numeric, ADD y int DEFAULT 3",
    "do": "DO $$ begin alter table shelf_product alter price type numeric; end $$",
    "do for all tables": "DO $$ declare t regclass; begin for t in select attrelid::regclass from pg_attribute where "
    "attname = 'price' loop execute format('al' || 'ter table %s alter price type numeric', t); end loop; end $$",
    "function": "select shelf_retype()",
    "function in with": "/* look */ with x as (select shelf_retype()) select * from x",
    "drop": "ALTER TABLE shelf_product DROP COLUMN price",
    "drop cascade": "ALTER TABLE shelf_product DROP COLUMN price CASCADE",
    "drop if exists": "alter table shelf_product drop if exists price",
    "drop cascade, then write": "ALTER TABLE shelf_product DROP price CASCADE; "
    "update shelf_product set name = name || '!'",
    "drop cascade in a do, then write": "DO $$ begin execute 'alter table shelf_product drop column price cascade'; "
    "update shelf_product set name = name || '!'; end $$",
    "drop cascade in a function": "select shelf_cut()",
    "a type with cascade": "DROP TYPE shelf_mood CASCADE",
    "a function with cascade": "DROP FUNCTION shelf_is_dear CASCADE",
    "a function": "DROP FUNCTION shelf_is_dear(integer)",
    "rename": "alter table shelf_product rename column price to cost; alter table shelf_product rename to shelf_goods; "
    "alter table shelf_goods alter column cost type numeric",
    "swap": "alter table shelf_product rename price to old_price; alter table shelf_product add price numeric; "
    "update shelf_product set price = old_price; alter table shelf_product drop old_price cascade",
    "schema moves": "create schema attic; alter table shelf_product set schema attic; "
    "alter table attic.shelf_product alter price type numeric",
    "owner": "alter table shelf_product owner to current_user; alter table shelf_product alter price type text",
}
ALONE = {
    "begin and commit": "begin; alter table shelf_product alter price type numeric; commit",
    "begin and commit with cascade": "begin; alter table shelf_product drop price cascade; commit",
    "concurrently": "create index concurrently by_price on shelf_product (price) -- drop cascade",
    "call": "call shelf_retype_by_call()",
    "do with commit": "do $$ begin alter table shelf_product drop price cascade; commit; end $$",
}


def watches() -> list[dict[str, Any]]:
    common = {"table": "shelf_product", "task": "shelf.tasks.note"}
    return [
        *Names().watches(),
        {"name": "mood", **common, "on": ["update"], "columns": ["mood"]},
        {"name": "dear", **common, "when": "public.shelf_is_dear(new.price) or old.name <> new.name"},
    ]


@pytest.fixture
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pg_server: PgServer, shop_database: Database, undeclared: None
) -> Iterator[Project]:
    def migrate() -> None:
        call_command("migrate", verbosity=0)
        connection.close()

    with Project(tmp_path, monkeypatch) as project:
        project.add("before", BEFORE)
        project.declare(watches())
        pg_server.kept("the guard's project", shop_database, migrate)
        yield project


def run_sql(text: str) -> str:
    return f"migrations.RunSQL({text!r})"


def table(database: Database) -> str:
    with database.connect() as other:
        [[name]] = other.execute("select relation::text from bridge.watch where name = 'wide'")
        return str(name)


def events(database: Database, watch: str) -> int:
    with database.connect() as other:
        [[number]] = other.execute("select count(*) from bridge.event where watch = %s", [watch])
        return int(number)


def assert_records(database: Database) -> None:
    """Checks that each watch records its changes. A watch whose column is gone must record every change."""
    before = {watch["name"]: events(database, watch["name"]) for watch in watches()}
    with database.connect() as other:
        columns = {name for (name,) in other.execute("select unnest(bridge._columns(%s::regclass))", [table(database)])}
        price = next((name for name in ("price", "cost", "old_price") if name in columns), None)
        mood = ", mood = case mood when 'calm' then 'wild' else 'calm' end::shelf_mood" if "mood" in columns else ""
        cost = f", {price} = '{next(PRICES)}'" if price else ""
        other.execute(f"update {table(database)} set name = name || '.'{cost}{mood}".encode())
    for watch, number in before.items():
        assert events(database, watch) == number + 2, watch


def guards() -> list[Guard]:
    """Returns the guards that are still active."""
    gc.collect()  # the frames of a failed run's exception are in a reference cycle
    return [wrapper for wrapper in connection.execute_wrappers if isinstance(wrapper, Guard) and not wrapper.is_over]


@pytest.mark.parametrize(
    ("pg_server", "atomic"),
    [
        ("pg18", True),
        ("pg15", False),
        pytest.param("pg15", True, marks=pytest.mark.soak),
        pytest.param("pg18", False, marks=pytest.mark.soak),
    ],
    indirect=["pg_server"],
)
@pytest.mark.parametrize("text", TEXTS)
def test_sql_of_any_kind_passes_and_capture_goes_on(
    text: str, atomic: bool, project: Project, shop_database: Database
) -> None:
    written = events(shop_database, "wide")
    project.add("changed", run_sql(TEXTS[text]), atomic=atomic)
    project.migrate(before_sync=lambda: assert_records(shop_database))
    assert_records(shop_database)
    said = 2 if "update" in TEXTS[text] else 0
    assert events(shop_database, "wide") == written + said + 4
    assert guards() == []


@pytest.mark.parametrize("text", ALONE)
def test_sql_that_wants_no_transaction_passes(text: str, project: Project, shop_database: Database) -> None:
    project.add("changed", run_sql(ALONE[text]), atomic=False)
    project.migrate(before_sync=lambda: assert_records(shop_database))
    assert_records(shop_database)


@pytest.mark.parametrize(
    "code",
    [
        "sql.SQL('alter table {} alter price type numeric').format(sql.Identifier('shelf_product'))",
        "b'alter table shelf_product alter price type numeric'",
    ],
)
def test_statements_that_are_no_text_pass(code: str, project: Project, shop_database: Database) -> None:
    project.add("changed", f"migrations.RunPython(lambda apps, editor: editor.connection.cursor().execute({code}))")
    project.migrate(before_sync=lambda: assert_records(shop_database))


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        "select pg_temp.change(%s)",
        '/* look */ select pg_temp . "change" (%s)',
        "do $f$ begin perform pg_temp.change(%s); end $f$",
    ],
)
def test_statements_with_parameters_that_call_something_pass(
    text: str, atomic: bool, project: Project, shop_database: Database
) -> None:
    function = (
        "create function pg_temp.change(clause text) returns void language plpgsql as "
        "$f$ begin execute 'al' || 'ter table shelf_product ' || clause; end $f$"
    )
    call = f"lambda apps, editor: editor.connection.cursor().execute({text!r}, ['alter price type numeric'])"
    project.add("changed", f"{run_sql(function)}, migrations.RunPython({call})", atomic=atomic)
    project.migrate(before_sync=lambda: assert_records(shop_database))
    assert_records(shop_database)


@pytest.mark.parametrize("text", ["select shelf_cut()", "do $f$ begin perform shelf_cut(); end $f$"])
def test_no_writer_comes_between_a_lost_trigger_and_the_new_one(
    text: str, project: Project, shop_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside of a transaction too, the statement and its repair are one transaction."""
    project.add("changed", run_sql(text), atomic=False)
    each = Guard._each
    gaps = 0

    def write_between(guard: Guard, step: str, tables: Any) -> None:
        nonlocal gaps
        if "step_back" in step and tables:
            before = events(shop_database, "dear")
            with shop_database.connect() as other, suppress(psycopg.errors.LockNotAvailable):
                other.execute("set lock_timeout = '100ms'")
                other.execute("update shelf_product set name = name || '-'")
                gaps += events(shop_database, "dear") == before
        each(guard, step, tables)

    monkeypatch.setattr(Guard, "_each", write_between)
    project.migrate()
    assert gaps == 0


@on_pg18
def test_a_run_that_fails_leaves_watches_and_connection_as_they_were(project: Project, shop_database: Database) -> None:
    with shop_database.connect() as other:
        before = other.execute("select name, columns, fingerprint from bridge.watch order by 1").fetchall()
        text = "alter table shelf_product alter price type numeric; select 1 / 0"
        project.add("changed", run_sql(text))
        with pytest.raises(DatabaseError, match="division by zero"):
            project.migrate()
        assert guards() == []
        assert other.execute("select name, columns, fingerprint from bridge.watch order by 1").fetchall() == before
    assert_records(shop_database)


@on_pg18
def test_a_refusal_that_is_not_about_watches_stays_a_refusal(project: Project) -> None:
    project.add("changed", run_sql("alter table shelf_product drop column name"))
    with pytest.raises(DatabaseError, match="view shelf_names depends on column name"):
        project.migrate()


@on_pg18
def test_the_rest_of_a_failed_statement_is_undone_with_it(project: Project, shop_database: Database) -> None:
    """Outside of a transaction too, a statement is undone and tried again as a whole."""
    text = "update shelf_product set name = name || '+'; alter table shelf_product alter price type numeric"
    project.add("changed", run_sql(text), atomic=False)
    project.migrate()
    with shop_database.connect() as other:
        assert other.execute("select name from shelf_product order by 1").fetchall() == [("Pu-erh+",), ("Tea+",)]


def test_a_new_column_under_the_old_name_is_what_the_declaration_means(
    project: Project, shop_database: Database
) -> None:
    """The watch names the old column until `migrate` reads the declaration."""
    recorded: list[int] = []

    def change(column: str) -> None:
        before = events(shop_database, "narrow")
        with shop_database.connect() as other:
            other.execute(f"update shelf_product set {column} = {next(PRICES)}".encode())
        recorded.append(events(shop_database, "narrow") - before)

    def during() -> None:
        change("cost")
        change("price")

    project.add(
        "changed",
        """
        migrations.RenameField("product", "price", "cost"),
        migrations.AddField("product", "price", models.IntegerField(default=0))""",
    )
    project.migrate(before_sync=during)
    change("cost")
    change("price")
    assert recorded == [2, 0, 0, 2]


def test_a_statement_with_a_weak_lock_takes_no_stronger_one(project: Project, shop_database: Database) -> None:
    """People write long validations in this way so that no writer has to wait for them."""
    add = "alter table shelf_product add constraint dear check (price is not null) not valid"
    project.migrate(project.add("checked", run_sql(add)))
    validate = "set lock_timeout = '1s'; alter table shelf_product validate constraint dear"
    project.add("validated", run_sql(validate))
    with psycopg.connect(shop_database.dsn) as writer:
        writer.execute("update shelf_product set name = 'under way'")
        project.migrate()


@on_pg18
def test_an_older_triggers_sql_is_upgraded_before_the_migrations(project: Project, shop_database: Database) -> None:
    """The capture functions of the older version may hinder the migrations."""
    with shop_database.connect() as other:
        other.execute("drop function bridge._torn(); update bridge.installation set version = '0.0.1'")
    project.add("changed", 'migrations.AlterField("product", "price", models.BigIntegerField(default=0))')
    project.migrate(before_sync=lambda: assert_records(shop_database))
    assert_records(shop_database)


@on_pg18
def test_sqlmigrate_shows_nothing_of_the_bridge(project: Project) -> None:
    named = project.add("changed", 'migrations.AlterField("product", "price", models.BigIntegerField(default=0))')
    out = io.StringIO()
    call_command("sqlmigrate", "shelf", named, stdout=out, no_color=True)
    assert "ALTER" in out.getvalue()
    assert "bridge" not in out.getvalue()


@on_pg18
def test_who_does_not_own_the_schema_is_told_once_and_migrates_all_the_same(
    project: Project, shop_database: Database
) -> None:
    role = f"migrator_{shop_database.name}"
    with shop_database.connect() as other:
        other.execute(f"create role {role}; grant all on schema public to {role}".encode())
        for name in ("shelf_product", "shelf_shop", "shelf_tag", "django_migrations"):
            other.execute(f"alter table {name} owner to {role}".encode())
    project.add("changed", 'migrations.AddField("product", "stock", models.IntegerField(default=3))')
    with connection.cursor() as cursor:
        cursor.execute(f"set role {role}")
        said = project.migrate()
        cursor.execute("reset role")
    assert said.count("The watches stay as they are: schema bridge belongs to") == 1
    assert guards() == []
    assert_records(shop_database)
    project.migrate()
    with shop_database.connect() as other:
        other.execute(f"drop owned by {role} cascade; drop role {role}".encode())


@on_pg18
def test_the_guard_of_a_failed_run_does_not_stop_a_role_without_rights(
    project: Project, shop_database: Database
) -> None:
    role = f"migrator_{shop_database.name}"
    project.add("changed", run_sql("alter table shelf_product nonsense"))
    with pytest.raises(DatabaseError, match="syntax error") as failed:
        project.migrate()
    [_] = guards()  # the exception keeps the guard
    with connection.cursor() as cursor:
        cursor.execute(f"create role {role}; set role {role}")
        cursor.execute("select pg_catalog.now()")
        cursor.execute(f"reset role; drop role {role}")
    del failed


@on_pg18
def test_a_watch_that_cannot_be_made_leaves_the_others_alone(project: Project, shop_database: Database) -> None:
    broken = {"name": "broken", "table": "shelf_product", "task": "t.t", "when": "new.nothing > 1"}
    new = {"name": "new", "table": "shelf_product", "task": "t.t"}
    project.declare([broken, *watches(), new])
    said = project.migrate()
    assert "broken broken: the condition does not work" in said
    assert "create new" in said
    with pytest.raises(CommandError, match=r"Nothing was changed: .*the condition does not work"):
        call_command("bridge_sync")


@on_pg18
def test_a_condition_that_a_retyped_column_breaks_is_told_and_every_change_counts(
    project: Project, shop_database: Database
) -> None:
    project.add("changed", 'migrations.AlterField("product", "price", models.TextField(default=""))')
    said = project.migrate()
    assert "broken condition: the condition does not work" in said
    assert_records(shop_database)


@on_pg18
def test_the_guard_goes_with_a_failed_run_even_below_other_wrappers(project: Project) -> None:
    seen: list[str] = []

    def look(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        seen.append(str(sql))
        return execute(sql, params, many, context)

    project.add("changed", run_sql("alter table shelf_product nonsense"))
    with connection.execute_wrapper(look), pytest.raises(DatabaseError, match="syntax error"):
        project.migrate()
    assert seen
    assert guards() == []
    assert look not in connection.execute_wrappers
