"""The roles of docs/howto/roles.sql: what each may do, and what an attacker can't do."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege
from psycopg.types.json import Jsonb

from bridge.call import Refusal
from bridge.database.connect import connect
from bridge.operations import installation, streams, upkeep, watches
from bridge.stream.event_log import EventLog
from bridge.stream.listener import Listener
from tests.fix_postgres import Database
from tests.roles import apply_roles, as_role, role_of

ROLES = ("owner", "application", "worker", "process")


# A retry of this dead letter would create an event.
INVENTED = """
    insert into bridge.dead_letter (id, stream, watch, op, key, at, reason)
    values (1, 'default', 'item', 'insert', '[1]', now(), '')
"""


@pytest.fixture
def names(database: Database, conn: psycopg.Connection) -> Iterator[dict[str, str]]:
    """Yields the names of this database's roles. The first one owns the shop's tables and the schema."""
    names = {role: f"{database.name}_{role}" for role in ROLES}
    for name in names.values():
        conn.execute(sql.SQL("create role {} login").format(sql.Identifier(name)))
    conn.execute("create table item (id int primary key, price int)")
    owner = sql.Identifier(names["owner"])
    conn.execute(sql.SQL("alter table item owner to {}").format(owner))
    for kind, object_name in conn.execute(
        "select case relkind when 'v' then 'view' when 'S' then 'sequence' else 'table' end, oid::regclass::text "
        "from pg_class where relnamespace = 'bridge'::regnamespace and relkind in ('r', 'p', 'v') "
        "union all select 'function', oid::regprocedure::text from pg_proc where pronamespace = 'bridge'::regnamespace"
    ).fetchall():
        conn.execute(sql.SQL("alter {} {} owner to {}").format(sql.SQL(kind), sql.SQL(object_name), owner))
    conn.execute(sql.SQL("alter schema bridge owner to {}").format(owner))
    conn.execute(
        sql.SQL("grant select, insert, update, delete on item to {}").format(sql.Identifier(names["application"]))
    )
    apply_roles(database.dsn, names)
    with role_of(database, names["owner"]) as connection:
        connection.execute("select bridge.watch('item', 'item', 'shop.touch', data => '{price}')")
    yield names
    for name in names.values():
        conn.execute(sql.SQL("drop owned by {} cascade").format(sql.Identifier(name)))
        conn.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def refused(connection: psycopg.Connection, statement: str) -> bool:
    try:
        connection.execute(statement.encode())
    except InsufficientPrivilege:
        return True
    return False


def test_the_application_writes_its_tables_without_any_right_on_the_log(
    database: Database, conn: psycopg.Connection, names: dict[str, str]
) -> None:
    with role_of(database, names["application"]) as application:
        application.execute("insert into item values (1, 1)")
        application.execute("update item set price = 2")
        application.execute("delete from item")
    assert conn.execute("select op from bridge.event order by id").fetchall() == [("insert",), ("update",), ("delete",)]


NOT_THE_APPLICATION = [
    "select * from bridge.event",
    "insert into bridge.event (stream, watch, op, key) values ('default', 'item', 'insert', '[1]')",
    "update bridge.event set key = '[2]'",
    "delete from bridge.event",
    "truncate bridge.event",
    "select * from bridge.watch",
    "update bridge.watch set task = 'os.system'",
    "update bridge.position set seen = '1:1:'",
    "insert into bridge.sendable values ('os.system')",
    "select bridge.watch('evil', 'item', 'os.system')",
    "select bridge.unwatch('item')",
    "select bridge.apply('[]', true)",
    "select bridge.allow('os.system')",
    "select bridge.send('os.system')",
    "select bridge.send_task('os.system', '[]', '{}', '{}')",
    "select bridge.send_task('shop.mail', '[]', '{}', '{}', '{os.system}')",
    "select bridge._send('{\"task\": \"os.system\"}', 'default')",
    "select bridge.allow_only('{os.system}', 'django')",
    "select bridge.disallow('shop.mail')",
    "select bridge.once(gen_random_uuid())",
    "select bridge.bury('default', '{1}', '{2026-01-01}', '{1}', '{because}')",
    "select bridge.retry(since => '-infinity')",
    "select bridge.recycle('0')",
    "select bridge.step_aside('item')",
    "create table bridge.mine ()",
    "drop schema bridge cascade",
]


def test_the_application_can_do_nothing_else_in_the_schema(database: Database, names: dict[str, str]) -> None:
    with role_of(database, names["application"]) as application:
        assert [statement for statement in NOT_THE_APPLICATION if not refused(application, statement)] == []


def test_the_application_sends_only_tasks_that_the_owner_allowed(
    database: Database, conn: psycopg.Connection, names: dict[str, str]
) -> None:
    with role_of(database, names["owner"]) as owner, role_of(database, names["application"]) as application:
        owner.execute("select bridge.allow('shop.mail')")
        application.execute("select bridge.send('shop.mail', '[1]')")
        assert refused(application, "select bridge.send('shop.other', '[1]')")
    assert conn.execute("select data ->> 'task' from bridge.waiting").fetchall() == [("shop.mail",)]


def test_the_application_notes_publishes_of_shadow_watches_and_nothing_else(
    database: Database, conn: psycopg.Connection, names: dict[str, str]
) -> None:
    note = "select bridge.note_publishes(%s::jsonb)"
    one = '{"task": "shop.touch", "args": [1], "age": -1e9, "xid": "99999999999", "place": "' + "x" * 999 + '"}'
    with role_of(database, names["owner"]) as owner, role_of(database, names["application"]) as application:
        assert application.execute(note, [f"[{one}]"]).fetchone() == (0,)  # no shadow watch
        owner.execute("""select bridge.watch('item', 'item', 'shop.touch', options => '{"shadow": true}')""")
        assert application.execute(note, [f"[{','.join([one] * 1500)}]"]).fetchone() == (1000,)
        odd = ['[{"task": "os.system", "args": []}]', '[{"task": "shop.touch", "args": "1"}]', "[7, null, []]", "{}"]
        odd += ['[{"task": "shop.touch", "args": ["' + "x" * 3000 + '"]}]', "null", "[]"]
        for text in odd:
            assert application.execute(note, [text]).fetchone() == (0,), text[:99]
        for statement in ("select * from bridge.shadow_publish", "delete from bridge.shadow_publish"):
            assert refused(application, statement)
    assert conn.execute("select max(length(place)), max(at) <= now() from bridge.shadow_publish").fetchone() == (
        200,
        True,
    )
    conn.execute("select bridge.recycle('0')")
    assert conn.execute("select count(*) from bridge.shadow_publish").fetchone() == (0,)


NOT_THE_PROCESS = [
    """select bridge.note_publishes('[]')""",
    "select * from item",
    "insert into item values (7)",
    "update item set price = 0",
    "insert into bridge.event (stream, watch, op, key) values ('default', 'item', 'insert', '[1]')",
    "update bridge.event set watch = 'other'",
    "delete from bridge.event",
    "truncate bridge.event",
    "update bridge.watch set task = 'os.system'",
    "insert into bridge.watch select * from bridge.watch",
    "insert into bridge.sendable values ('os.system')",
    "insert into bridge.position (stream) values ('mine')",
    "delete from bridge.position",
    INVENTED,
    "update bridge.dead_letter set watch = 'other'",
    "delete from bridge.dead_letter",
    "select bridge.watch('evil', 'item', 'os.system')",
    "select bridge.send('shop.mail')",
    "select bridge.allow('os.system')",
]


def test_the_process_can_neither_touch_tables_nor_make_up_work(database: Database, names: dict[str, str]) -> None:
    with role_of(database, names["process"]) as process:
        assert [statement for statement in NOT_THE_PROCESS if not refused(process, statement)] == []


PLAN = "select action, before, after from bridge.plan(%s)"


@pytest.mark.parametrize("more", [{}, {"task": "shop.other"}, {"name": "second"}, {"condition": "new.price > 1/0"}])
def test_the_process_sees_how_watches_differ_and_can_not_change_them(
    database: Database, names: dict[str, str], more: dict[str, str]
) -> None:
    wanted = Jsonb([{"name": "item", "relation": "item", "task": "shop.touch", "data": ["price"], **more}])
    with role_of(database, names["process"]) as process, role_of(database, names["owner"]) as owner:
        assert process.execute(PLAN, [wanted]).fetchall() == owner.execute(PLAN, [wanted]).fetchall()
        with pytest.raises(InsufficientPrivilege):
            process.execute("select * from bridge.apply(%s)", [wanted])


def test_a_condition_is_not_evaluated_with_the_owners_rights_when_it_is_compared(
    database: Database, conn: psycopg.Connection, names: dict[str, str]
) -> None:
    conn.execute("create table told (role text)")
    conn.execute("grant insert on told to public")
    conn.execute(
        "create function tell() returns boolean immutable language plpgsql as "
        "$$ begin insert into told values (current_user); return true; end $$"
    )
    wanted = Jsonb([{"name": "x", "relation": "item", "task": "shop.touch", "condition": "public.tell()"}])
    with role_of(database, names["process"]) as process:
        process.execute(PLAN, [wanted])
    assert conn.execute("select count(*) from told").fetchone() == (0,)


def test_the_worker_notes_what_it_has_done_and_can_do_nothing_else(
    database: Database, conn: psycopg.Connection, names: dict[str, str]
) -> None:
    conn.execute("select bridge.allow('shop.mail')")
    with role_of(database, names["worker"]) as worker:
        assert worker.execute("select bridge.once('6a1f2f0e-6d0b-4c39-9d53-0c7c5e1b7f5a')").fetchone() == (True,)
        assert refused(worker, "select bridge.send('shop.mail')")
        assert refused(worker, "select * from bridge.inbox")
        assert refused(worker, "delete from bridge.inbox")


def test_without_a_role_of_their_own_workers_are_the_application(database: Database, names: dict[str, str]) -> None:
    apply_roles(database.dsn, {role: name for role, name in names.items() if role != "worker"})
    with role_of(database, names["application"]) as application:
        assert application.execute("select bridge.once(gen_random_uuid())").fetchone() == (True,)


def test_an_older_grant_that_let_the_process_make_up_work_is_taken_back(
    database: Database, conn: psycopg.Connection, names: dict[str, str]
) -> None:
    process = sql.Identifier(names["process"])
    conn.execute(sql.SQL("grant insert, update on bridge.dead_letter to {}").format(process))
    apply_roles(database.dsn, names)
    with role_of(database, names["process"]) as connection:
        assert refused(connection, INVENTED)


def test_burying_what_is_not_in_the_log_makes_no_work(
    database: Database, conn: psycopg.Connection, names: dict[str, str]
) -> None:
    conn.execute("insert into item values (1, 1)")
    with role_of(database, names["process"]) as process:
        for number, at, xid in ((1, "2026-01-01", "1"), (10**6, "now", "1")):
            bury = (
                "select bridge.bury('default', array[%s]::bigint[], array[%s]::timestamptz[], array[%s]::xid8[], '{x}')"
            )
            assert process.execute(bury, [number, at, xid]).fetchone() == (0,)
        assert process.execute("select bridge.retry(since => '-infinity')").fetchone() == (0,)
    assert conn.execute("select count(*) from bridge.event").fetchone() == (1,)


@pytest.mark.anyio
async def test_the_process_has_all_it_needs(
    database: Database, conn: psycopg.Connection, names: dict[str, str]
) -> None:
    conn.execute("insert into item values (1, 1), (2, 2)")
    dsn = as_role(database, names["process"])
    async with Listener.open(dsn, "default", 30) as listener, EventLog.open(dsn, "default", 1) as log:
        assert [await anext(listener), await anext(listener)] == ["connected", "armed"]
        await log.own()
        await log.targets()
        await log.note_broker("refused")
        await log.note_broker(None)
        while (batch := await log.read()).events:
            await log.bury([Refusal(batch.events[0], "a reason")])
            await log.move(batch.position)
        buried = "select key, reason from bridge.dead_letter order by id"
        assert conn.execute(buried).fetchall() == [([1], "a reason"), ([2], "a reason")]
        conn.execute("update bridge.position set cluster = 1")
    async with EventLog.open(dsn, "default", 10) as log:
        await log.own()
        assert not (await log.read()).events
        await log.finish()
    async with connect(dsn, "catalog") as connection:
        await installation.require(connection)
        assert [status.waiting for status in await streams.status(connection)] == [0]
        assert await watches.drift(connection) == []
        assert await streams.names(connection) == ["default"]
        await upkeep.recycle(connection, 0)


def test_planted_objects_are_not_reached(database: Database, conn: psycopg.Connection, names: dict[str, str]) -> None:
    """The attacker's functions, operators and tables are in public and pg_temp, before all other schemas."""
    conn.execute(sql.SQL("grant create on schema public to {}").format(sql.Identifier(names["application"])))
    with role_of(database, names["application"]) as application:
        application.execute(
            b"""
            create table public.stolen (what text);
            create function public.jsonb_build_array(variadic anyarray) returns jsonb language plpgsql as
                $$ begin raise exception 'reached'; end $$;
            create function public.pg_notify(text, text) returns void language plpgsql as
                $$ begin raise exception 'reached'; end $$;
            create function public.pg_try_advisory_xact_lock_shared(bigint) returns boolean language plpgsql as
                $$ begin raise exception 'reached'; end $$;
            create function public.differs(int, int) returns boolean language plpgsql as
                $$ begin raise exception 'reached'; end $$;
            create operator public.= (function = public.differs, leftarg = int, rightarg = int);
            create temporary table event (
                id bigint, stream text, watch text, op text, key jsonb, data jsonb, context text
            );
            create temporary table position (stream text, sleep_key bigint);
            set search_path = public, pg_temp, pg_catalog;
            insert into public.item values (1, 1);
            update public.item set price = 2;
            """
        )
        assert application.execute("select count(*) from pg_temp.event").fetchone() == (0,)
    assert conn.execute("select op from bridge.event order by id").fetchall() == [("insert",), ("update",)]
