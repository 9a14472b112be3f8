"""Which statements may write: a wrong yes costs a query, and a wrong no costs the context."""

from decimal import Decimal

import pytest
from catalog.models import Product
from django.db.models import Avg, Count, F, Max, Q, Window
from django.db.models.functions import Coalesce, Lower, Now, Rank, TruncMonth

from django_app.writing import Kind, kind_of


@pytest.mark.parametrize(
    "statement",
    [
        "insert into a values (1)",
        "  \n UPDATE a SET b = 1",
        "-- a comment; with select\ndelete from a",
        "/* select */ merge into a using b on true when matched then do nothing",
        "truncate a",
        "copy a from stdin",
        "with x as (insert into a values (1) returning *) select * from x",
        "WITH x AS MATERIALIZED (\n  delete from a returning *\n) select 1",
        "explain analyze update a set b = 1",
        "select bridge.send('t')",
        'select "add_one"(1)',
        "select E'it\\'s', add_one(), 'b'",
        "(select add_one())",
        "values (add_one())",
        "execute prepared(1)",
    ],
)
def test_writes(statement: str) -> None:
    assert kind_of(statement) is Kind.WRITES


@pytest.mark.parametrize(
    "statement",
    [
        "select 1",
        "select 'insert into a', \"update\" from a where b in (1, 2) and c = 'x; delete from a'",
        "select * from a for no key update",
        "with x as (select 1) select * from x for update",
        "select pg_catalog.count(*) filter (where true) over (partition by 1), pg_sleep(0)",
        "select $$ add_one() $$, $x$ ; $x$",
        "savepoint a",
        "release savepoint a",
        "show search_path",
        "set local statement_timeout = 1",
        "create index concurrently on a (b)",
        "vacuum a",
        "fetch all from c",
        "",
    ],
)
def test_reads(statement: str) -> None:
    assert kind_of(statement) is Kind.READS


@pytest.mark.parametrize("statement", ["call a()", "do $$ begin end $$", "insert into a values (1); commit", ";;x"])
def test_routines_get_no_transaction(statement: str) -> None:
    assert kind_of(statement) is Kind.ROUTINE


@pytest.mark.parametrize("statement", ["rollback to savepoint a", "COMMIT", "begin", "start transaction;"])
def test_control(statement: str) -> None:
    assert kind_of(statement) is Kind.CONTROL


def test_queries_of_the_orm_read() -> None:
    found = Product.objects
    queries = [
        found.filter(Q(name__icontains="a") | Q(price__in=[1, 2]), offers__stock__gt=0).distinct(),
        found.annotate(n=Count("offers"), m=Max("offers__price"), lower=Lower("name"), now=Now()),
        found.annotate(rank=Window(Rank(), order_by=F("price").desc()), month=TruncMonth(Now())),
        found.values("name").annotate(price=Coalesce(Avg("price"), Decimal(0))).order_by("name")[:3],
        found.filter(name__regex="a", pk__in=found.values("pk")).union(found.filter(price=1)),
    ]
    assert {kind_of(str(query.query)) for query in queries} == {Kind.READS}


def test_a_long_statement_is_judged_too() -> None:
    many = ", ".join(["1"] * 10_000)
    assert kind_of(f"select * from a where b in ({many})") is Kind.READS
    assert kind_of(f"update a set c = 1 where b in ({many})") is Kind.WRITES
