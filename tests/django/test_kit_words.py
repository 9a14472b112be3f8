"""The small parts of the testing kit: which arguments are equal, and what the text of a statement shows."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from unittest.mock import ANY
from uuid import UUID

import pytest

from django_app.testing.captured import Values
from django_app.testing.equality import same, same_call
from django_app.testing.statements import Statements

ID = UUID("6a1f2f0e-6d0b-4c39-9d53-0c7c5e1b7f5a")
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (1, 1),
        ("a", "a"),
        (None, None),
        (ID, str(ID)),
        (Decimal("1.5"), "1.50"),
        (date(2026, 1, 2), "2026-01-02"),
        (NOON, "2026-01-02T12:00:00+00:00"),
        (NOON.astimezone(timezone(timedelta(hours=9))), "2026-01-02T12:00:00+00:00"),
        (time(3, 4), "03:04:00"),
        (b"\xde\xad", "\\xdead"),
        ((1, ID), [1, str(ID)]),
        ({"new": {"price": Decimal(2)}}, {"new": {"price": "2.00"}}),
        (ANY, {"whatever": 1}),
        ({"id": ANY}, {"id": 7}),
    ],
)
def test_equal_arguments(expected: Any, found: Any) -> None:
    assert same(expected, found)


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (1, 2),
        (1, "1"),
        ("1", 1),
        (True, 1),
        (ID, "not a uuid"),
        (ID, 7),
        (Decimal("1.5"), "1.51"),
        (Decimal("1.5"), "many"),
        (date(2026, 1, 2), "2026-01-03"),
        (NOON, "2026-01-02T12:00:00"),
        (b"\xde", "\\xad"),
        ([1], [1, 2]),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1}, [1]),
    ],
)
def test_other_arguments(expected: Any, found: Any) -> None:
    assert not same(expected, found)


def test_a_call_has_all_its_arguments() -> None:
    assert same_call((1,), {"a": ID}, [1], {"a": str(ID)})
    assert not same_call((1,), {}, [1], {"a": 1})
    assert not same_call((), {"a": 1}, [1], {"a": 1})


@pytest.mark.parametrize(
    ("text", "op", "table", "columns"),
    [
        ('UPDATE "tea" SET "name" = %s, "price" = (%s + 1) WHERE "id" = 1', "update", "tea", {"name", "price"}),
        ("update only shop.product set price = 1", "update", "product", {"price"}),
        ('INSERT INTO "odd"."Odd Name" ("a") VALUES (1)', "insert", "Odd Name", set()),
        ('DELETE FROM "catalog_product" WHERE "id" IN (SELECT 1)', "delete", "catalog_product", set()),
        ("  truncate table product", "truncate", "product", set()),
    ],
)  # fmt: skip
def test_the_text_of_a_statement_that_writes(text: str, op: str, table: str, columns: set[str]) -> None:
    statements = Statements()
    assert statements(lambda *_: "result", text, (), False, {}) == "result"
    [write] = statements.writes
    assert (write.op, write.table, set(write.columns)) == (op, table, columns)


def test_other_statements() -> None:
    statements = Statements()
    for text in ("select * from product", "", "call change(1)", "with x as (update product set a = 1) select 1"):
        statements(lambda *_: None, text, (), False, {})
    assert statements.writes == []
    assert statements.name("product")
    assert not statements.name("prod")


def test_a_missing_value() -> None:
    with pytest.raises(KeyError, match="this event has no value, and not 'price'"):
        Values()["price"]
    assert Values(price=1)["price"] == 1
    assert Values().get("price") is None
