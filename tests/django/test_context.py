"""The context reaches the events of a transaction with one statement, and only where something is written."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from catalog.models import Product
from django.db import DatabaseError, IntegrityError, InternalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from psycopg import sql
from shop.settings import database as database_settings

import bridge
from django_app import context as django_context
from tests.django.wire import sent
from tests.fix_pooler import Pooler
from tests.fix_postgres import Database, on_pg18


@pytest.fixture(autouse=True)
def watched(shelf: Database) -> Iterator[None]:
    run("select bridge.watch('all', 'catalog_product', 't', operations => '{insert,update,truncate}')")
    yield
    with suppress(DatabaseError):
        connection.set_autocommit(True)


def contexts() -> list[Any]:
    """Returns the contexts of all events so far, in order."""
    with connection.cursor() as cursor:
        cursor.execute("select context from bridge.event where watch = 'all' order by id")
        return [None if text is None else json.loads(text) for (text,) in cursor.fetchall()]


def add(name: str = "Tea") -> Product:
    return Product.objects.create(name=name, price=1)


def run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def test_what_reads_sends_nothing_more() -> None:
    with bridge.context(reason="look"), transaction.atomic(), sent() as statements:
        assert Product.objects.filter(name__icontains="x").exists() is False
        assert list(Product.objects.select_for_update()) == []
    assert statements == ["BEGIN", "SELECT", "SELECT"]


def test_a_transaction_that_writes_sends_one_statement_more() -> None:
    with sent() as statements, bridge.context(reason="import"), transaction.atomic():
        product = add()
        product.price = 2
        product.save(update_fields=["price"])
        Product.objects.update(price=3)
    assert statements.count("set context") == 1
    assert statements.index("set context") == statements.index("INSERT") - 1
    assert contexts() == [{"reason": "import"}] * 3


def test_without_a_context_nothing_is_sent() -> None:
    with sent() as statements:
        add()
        with transaction.atomic():
            add()
    assert statements == ["INSERT", "BEGIN", "INSERT", "COMMIT"]
    assert contexts() == [None, None]


def test_outside_of_a_transaction_the_statement_gets_its_own() -> None:
    with sent() as statements, bridge.context(reason="import"):
        add()
    assert statements == ["BEGIN", "set context", "INSERT", "COMMIT"]
    add()
    assert contexts() == [{"reason": "import"}, None]
    assert connection.get_autocommit()


def test_an_error_in_it_leaves_nothing_behind() -> None:
    product = add()
    with bridge.context(reason="import"):
        with pytest.raises(IntegrityError):
            Product.objects.create(pk=product.pk, name="Tea", price=1)
        add()
    add()
    assert contexts() == [None, {"reason": "import"}, None]


def test_the_projects_log_of_queries_has_only_its_own() -> None:
    with CaptureQueriesContext(connection) as queries, bridge.context(reason="import"), transaction.atomic():
        add()
    assert [query["sql"].split()[0] for query in queries.captured_queries] == ["BEGIN", "INSERT", "COMMIT"]


def test_contexts_merge_and_the_inner_one_ends_first() -> None:
    with transaction.atomic(), bridge.context(reason="import", file="a"):
        add()
        with bridge.context(file="b"):
            add()
        add()
    outer, inner = {"reason": "import", "file": "a"}, {"reason": "import", "file": "b"}
    assert contexts() == [outer, inner, outer]


def test_the_context_ends_before_its_transaction() -> None:
    with transaction.atomic():
        with bridge.context(reason="import"):
            add()
        add()
    assert contexts() == [{"reason": "import"}, None]


def test_a_savepoint_takes_the_context_away_and_it_is_set_again() -> None:
    with bridge.context(reason="import"), transaction.atomic():
        with suppress(ZeroDivisionError), transaction.atomic():
            add()
            raise ZeroDivisionError
        add()
        with suppress(ZeroDivisionError), transaction.atomic():
            raise ZeroDivisionError
        add()
    assert contexts() == [{"reason": "import"}] * 2


def test_a_context_from_before_the_savepoint_does_not_come_back() -> None:
    with transaction.atomic():
        with bridge.context(reason="one"):
            add()
        with suppress(ZeroDivisionError), transaction.atomic():
            add()
            raise ZeroDivisionError
        add()
    assert contexts() == [{"reason": "one"}, None]


def test_savepoints_by_hand_count_too() -> None:
    with bridge.context(reason="import"), transaction.atomic():
        run("savepoint mine")
        add()
        run("rollback to savepoint mine")
        add()
    assert contexts() == [{"reason": "import"}]


def test_transactions_without_atomic_count_too() -> None:
    connection.set_autocommit(False)
    with bridge.context(reason="import"):
        for _ in range(2):
            assert Product.objects.exists() in (True, False)
            add()
            connection.commit()
        add()
        connection.rollback()
        add()
        connection.commit()
    connection.set_autocommit(True)
    run("begin")
    with bridge.context(reason="by hand"):
        add()
    run("commit")
    assert contexts() == [{"reason": "import"}] * 3 + [{"reason": "by hand"}]


def test_an_aborted_transaction_gives_its_own_error() -> None:
    with bridge.context(reason="import"), transaction.atomic():
        with pytest.raises(DatabaseError):
            run("insert into nowhere values (1)")
        with pytest.raises(InternalError, match="aborted"):
            add()
        transaction.set_rollback(True)
    with bridge.context(reason="import"):
        add()
    assert contexts() == [{"reason": "import"}]


def test_many_rows_and_composed_statements_have_the_context() -> None:
    with bridge.context(reason="import"):
        Product.objects.bulk_create(Product(name=name, price=1) for name in "ab")
        with connection.cursor() as cursor:
            rows = [("c", 1), ("d", 2)]
            cursor.executemany("insert into catalog_product (name, price) values (%s, %s)", rows)
            cursor.execute(sql.SQL("update {} set price = 3").format(sql.Identifier("catalog_product")))
            raw: Any = cursor
            raw.execute(b"update catalog_product set price = 4 where name = 'a'")
    assert contexts() == [{"reason": "import"}] * 9


def test_a_function_that_writes_has_the_context() -> None:
    run(
        "create function add_one() returns bigint language sql as "
        "$$ insert into catalog_product (name, price) values ('f', 1) returning id $$"
    )
    with bridge.context(reason="import"):
        run("select add_one()")
        run("with x as (insert into catalog_product (name, price) values ('w', 1) returning id) select * from x")
        with transaction.atomic():
            run("do $$ begin perform add_one(); end $$")
    assert contexts() == [{"reason": "import"}] * 3


def test_a_procedure_may_commit_outside_of_a_transaction() -> None:
    run("create procedure twice() language plpgsql as $$ begin perform 1; commit; perform 2; commit; end $$")
    with bridge.context(reason="import"):
        run("call twice()")
        run(
            "insert into catalog_product (name, price) values ('a', 1); insert into catalog_product (name, price) "
            "values ('b', 1)"
        )
        run("create index concurrently on catalog_product (name)")
        run("vacuum catalog_product")
    assert contexts() == [None, None], "these can't get a transaction of their own"


def test_copy_needs_one_line() -> None:
    with bridge.context(reason="import"), transaction.atomic():
        django_context.apply()
        with connection.cursor() as cursor, cursor.copy("copy catalog_product (name, price) from stdin") as copy:
            copy.write_row(("a", 1))
    assert contexts() == [{"reason": "import"}]


def test_a_transaction_that_begins_with_what_no_wrapper_sees_is_a_new_one() -> None:
    with bridge.context(reason="import"):
        for _ in range(2):
            with transaction.atomic():
                with connection.cursor() as cursor, cursor.copy("copy catalog_product (name, price) to stdout") as copy:
                    list(copy)
                add()
    assert contexts() == [{"reason": "import"}] * 2


def test_rows_that_are_read_by_a_cursor_of_the_server_do_not_disturb() -> None:
    Product.objects.bulk_create(Product(name=name, price=1) for name in "abc")
    with bridge.context(reason="import"):
        for product in Product.objects.iterator(chunk_size=1):
            Product.objects.filter(pk=product.pk).update(price=2)
    assert contexts()[3:] == [{"reason": "import"}] * 3


def test_what_the_project_sets_itself_stays() -> None:
    with bridge.context(reason="import"), transaction.atomic():
        run("select set_config('bridge.context', '{\"mine\": 1}', true)")
        add()
    with bridge.context(reason="import"):
        add()
    assert contexts() == [{"mine": 1}, {"reason": "import"}]


def test_a_wrapper_of_the_project_ends_as_it_should() -> None:
    seen: list[str] = []

    def wrapper(execute: Any, statement: str, *rest: Any) -> Any:
        seen.append(statement.split(maxsplit=1)[0])
        return execute(statement, *rest)

    connection.close()
    with connection.execute_wrapper(wrapper), bridge.context(reason="import"), transaction.atomic():
        add()
    assert wrapper not in connection.execute_wrappers
    assert seen == ["INSERT"]
    with bridge.context(reason="again"):
        add()
    assert contexts() == [{"reason": "import"}, {"reason": "again"}]


def test_threads_and_async_code_have_their_own_contexts() -> None:
    barrier = threading.Barrier(2)
    scope = bridge.context

    def write(reason: str) -> None:
        with scope(reason=reason):
            barrier.wait(10)
            add(reason)
            barrier.wait(10)
        connection.close()

    threads = [threading.Thread(target=write, args=[reason]) for reason in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one["reason"] for one in contexts()) == ["one", "two"]

    @bridge.context(reason="async")
    async def write_async() -> None:
        await Product.objects.acreate(name="async", price=1)
        async with bridge.context(step=2):
            await sync_to_async(add)()

    async_to_sync(write_async)()
    add()
    assert contexts()[2:] == [{"reason": "async"}, {"reason": "async", "step": 2}, None]


def test_a_role_without_any_right_in_the_schema_sets_it() -> None:
    run("create role bridge_test_context")
    try:
        run("grant insert on catalog_product to bridge_test_context")
        run("grant usage on sequence catalog_product_id_seq to bridge_test_context")
        with bridge.context(reason="import"), transaction.atomic():
            run("set local role bridge_test_context")
            run("insert into catalog_product (name, price) values ('a', 1)")
    finally:
        run("drop owned by bridge_test_context")
        run("drop role bridge_test_context")
    assert contexts() == [{"reason": "import"}]


def test_only_the_bridges_database_pays() -> None:
    """Another PostgreSQL of the project has no bridge, and its connection no wrapper of ours."""
    other = connection.copy(alias="other")
    try:
        other.ensure_connection()
        assert other.execute_wrappers == []
    finally:
        other.close()
    assert len([one for one in connection.execute_wrappers if isinstance(one, django_context.Carrier)]) == 1


@on_pg18
def test_nothing_stays_in_a_session_behind_a_pooler(pooler_of_shop: Pooler) -> None:
    with bridge.context(reason="import"):
        add()
        with transaction.atomic():
            add()
    # The pooler gives the same session to the next one who asks.
    add()
    with connection.cursor() as cursor:
        cursor.execute("select current_setting('bridge.context', true)")
        assert cursor.fetchone() in ((None,), ("",))
    assert contexts() == [{"reason": "import"}] * 2 + [None]


@pytest.fixture
def pooler_of_shop(shelf: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pooler]:
    pooler = Pooler(shelf.dsn)
    connection.close()
    for name, value in database_settings(pooler.dsn).items():
        monkeypatch.setitem(connection.settings_dict, name, value)
    monkeypatch.setitem(connection.settings_dict, "DISABLE_SERVER_SIDE_CURSORS", True)
    yield pooler
    connection.close()
    pooler.close()


@pytest.mark.parametrize("value", ["Ä \u2028 ' \" \\ %s %", "x" * 19_000, [1, {"a": None}], 1.5, True])
def test_any_value_travels_unchanged(value: Any) -> None:
    with bridge.context(value=value):
        add()
    assert contexts() == [{"value": value}]
