"""Objects planted by a role of lower rights run neither when triggers.sql is applied nor in any SQL function.

tests/hostile/plant.sql plants thousands of objects: a twin of every operator, function, aggregate, type and relation.
A test checks that they work: a statement that names one without its schema reaches it.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from tests.fix_hostile import Hostile
from tests.fix_postgres import TRIGGERS_SQL
from tests.hostile.psql import psql

TEMPORARY = (Path(__file__).parent / "temporary.sql").read_bytes()

Apply = Callable[[Hostile], None]


def by_psql(*options: str) -> Apply:
    def apply(hostile: Hostile) -> None:
        done = psql(hostile.database, "-v", "ON_ERROR_STOP=1", *options, "-f", str(TRIGGERS_SQL))
        assert done.returncode == 0, done.stderr

    return apply


def by_query(hostile: Hostile) -> None:
    with hostile.database.connect() as conn:
        conn.execute(TRIGGERS_SQL.read_bytes())


def by_transaction(hostile: Hostile) -> None:
    with hostile.database.connect() as conn, conn.transaction():
        conn.execute(TRIGGERS_SQL.read_bytes())


# If public comes first, a statement reaches all objects that it reaches with other paths, and more.
public_first = pytest.mark.parametrize("path", ["public_first"], indirect=True)

WAYS: dict[str, Apply] = {
    "psql": by_psql(),
    "psql_single_transaction": by_psql("--single-transaction"),
    "one_query": by_query,
    "transaction": by_transaction,
}


@pytest.fixture(params=WAYS)
def apply(request: pytest.FixtureRequest) -> Apply:
    return WAYS[request.param]


@public_first
def test_the_first_install_reaches_no_planted_object(unready: Hostile, apply: Apply) -> None:
    apply(unready)
    assert (unready.reached(), unready.is_superuser()) == ([], False)


@public_first
def test_applying_the_file_again_reaches_no_planted_object(hostile: Hostile, apply: Apply) -> None:
    apply(hostile)
    assert (hostile.reached(), hostile.is_superuser()) == ([], False)


@public_first
def test_an_upgrade_of_the_watches_reaches_no_planted_object(hostile: Hostile, apply: Apply) -> None:
    with hostile.connect() as conn:
        conn.execute("update bridge.watch set fingerprint = 'of an older file'")
        conn.execute("update bridge.installation set version = '0.0.1'")
    apply(hostile)
    with hostile.connect() as conn:
        assert conn.execute("select name from bridge.drift()").fetchall() == []
    assert (hostile.reached(), hostile.is_superuser()) == ([], False)


STATEMENTS = [
    "select bridge.version()",
    "select bridge.watch('late', 'public.product', 'shop.late', '{update}', '{price}', 'new.price > 1')",
    "select bridge.unwatch('reprice')",
    "select bridge.allow('shop.late')",
    "select bridge.disallow('shop.tasks.mail')",
    "select bridge.send('shop.tasks.mail', '[1]', '{\"a\": 1}', '{\"priority\": 3}')",
    "select bridge.send_task('shop.tasks.mail', '[1]', '{}', '{\"id\": \"a\"}', '{shop.tasks.mail}')",
    "select bridge.allow_only('{shop.late,shop.later}', 'django')",
    'select bridge.plan(\'[{"name": "late", "relation": "product", "task": "t", "columns": ["price"]}]\')',
    "select bridge.plan('[]', true)",
    'select bridge.apply(\'[{"name": "late", "relation": "product", "task": "t", "columns": ["price"]}]\')',
    'select bridge.apply(\'[{"name": "reprice", "relation": "product", "task": "t"}]\', true)',
    "select bridge.drift()",
    "select bridge.status()",
    "select bridge.disk_use()",
    "select bridge.retry('{901}')",
    "select bridge.retry(watch => 'reprice', at_most => 2)",
    "select bridge.discard(since => '-infinity')",
    "select bridge.once('00000000-0000-0000-0000-000000000001')",
    "select bridge.forget('1 day')",
    "select bridge.recycle('0')",
    "select bridge.await_lock(1, '1 s')",
    "select bridge.adopt('default')",
    "select from bridge.waiting",
    "insert into public.product values (7, 'Rice', 7, '[1]')",
    "update public.product set price = 0, note = '{\"a\": 1}'",
    "update public.product set id = default where false",
    "delete from public.product",
    "truncate public.product",
    "insert into public.place values (9, 'south')",
    "update public.place set area = 'south'",
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_of_the_owner_reaches_no_planted_object(kept: Hostile, statement: str) -> None:
    with kept.database.connect() as conn, conn.transaction(force_rollback=True):
        conn.execute(statement.encode())
    assert kept.reached() == []


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("select '{1}'::int[] > '{0}'::int[]", "operator >(integer[], integer[])"),
        ("select array_agg(w) from bridge.watch w", "aggregate array_agg(bridge.watch)"),
        ("select json_object_agg('a'::text, '1'::json)", "aggregate json_object_agg(text, json)"),
        ("select 2::bigint || 'x'::text", "operator ||(bigint, text)"),
        ("select format('%s', 1)", "function format(text, integer)"),
        ("select count(1)", "aggregate count(integer)"),
        ("select * from unnest('{1}'::int[])", "function unnest(integer[])"),
        ("select 2.0 * 3", "operator *(numeric, integer)"),
        ("select * from event", "view event"),
        ("select from installation", "view installation"),
    ],
)
def test_whoever_names_a_planted_object_plainly_reaches_it(kept: Hostile, statement: str, name: str) -> None:
    """This shows that the tests above can fail."""
    with kept.database.connect() as conn, suppress(psycopg.Error):
        conn.execute(statement.encode())
    assert kept.reached() == [name]
    assert kept.is_superuser()


def test_thousands_of_objects_are_planted(kept: Hostile) -> None:
    assert kept.planted() > 5000


@pytest.mark.parametrize("path", ["default"], indirect=True)
@pytest.mark.parametrize(
    "statement",
    [
        statement
        for statement in STATEMENTS
        if not re.search(r"bridge\.(watch|unwatch|allow|disallow|plan|apply|waiting)", statement)
    ],
)
def test_an_application_reaches_nothing_from_its_own_pg_temp(kept: Hostile, statement: str) -> None:
    """The application gets every right on the functions that run as the owner. Capture runs as the owner too."""
    with kept.connect() as conn, conn.transaction(force_rollback=True):
        conn.execute(f'grant execute on all functions in schema bridge to "{kept.attacker}"')
        conn.execute(f'grant select on all tables in schema bridge to "{kept.attacker}"')
        conn.execute(f'grant all on all tables in schema public to "{kept.attacker}"')
        conn.execute(f'set local role "{kept.attacker}"')
        conn.execute(TEMPORARY)
        conn.execute(statement.encode())
    assert kept.reached() == []
