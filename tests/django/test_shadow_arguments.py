"""A publish and a change belong together however the arguments are written, and nothing else is asked of a value."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from typing import Any
from uuid import UUID

import pytest
from catalog.models import LegacyProduct
from catalog.tasks import reprice_legacy

from django_app.shadow.arguments import as_json, ordered, row_name
from django_app.shadow.report import _list
from django_app.shadow.verdict import Verdict
from tests.django.fix_shadow import Ledger, ledger, published_to, shadow_watch

__all__ = ["ledger", "published_to", "shadow_watch"]

ONE = UUID("6f1c1c9e-0f0e-4a55-9c3b-000000000001")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Size(IntEnum):
    large = 3


class Costly:
    """An argument whose text needs the database, such as a model's instance, which pickle can send."""

    def __str__(self) -> str:
        raise AssertionError("nobody may ask for this text")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("key", "argument"),
    [
        (7, "7"),
        (7, Size.large.value + 4),
        (3, Size.large),
        (Decimal("1.50"), Decimal("1.5")),
        (Decimal("1.50"), "1.5"),
        (Decimal("1.50"), 1.5),
        (100, Decimal("1E+2")),
        (Decimal("12345678901234567890.12345678901234567890"), "12345678901234567890.1234567890123456789"),
        (str(ONE), ONE),
        (str(ONE), ONE.hex.upper()),
        ("2026-01-01T12:00:00+00:00", NOON),
        ("2026-01-01T13:00:00+01:00", NOON.isoformat()),
        ("2026-01-01T12:00:00+00:00", NOON.astimezone(timezone(timedelta(hours=-5)))),
        ("2026-01-01", NOON.date()),
        ("007", "007"),
        (True, True),
        ("Zürich\n", "Zürich\n"),
    ],
)
def test_the_same_row(key: object, argument: object) -> None:
    assert row_name(as_json([argument]), [key]) == row_name([key], [key])


@pytest.mark.parametrize(
    ("key", "argument"), [("007", "7"), ("1.50", "1.5"), (7, "seven"), (7, None), (7, "1e999999999999"), (7, "\u0667")]
)
def test_another_row(key: object, argument: object) -> None:
    assert row_name(as_json([argument]), [key]) != row_name([key], [key])


def test_arguments_have_the_order_of_the_parameters() -> None:
    def task(order: int, line: int = 1, *, force: bool = False) -> None: ...

    assert ordered(task, (), {"force": True, "line": 2, "order": 7}) == [7, 2, True]
    assert ordered(task, (7,), {"force": True}) == [7, 1, True]
    assert ordered(task, (), {"line": 2}) == [2]
    assert ordered(None, (7,), {"b": 2}) == [7, 2]
    assert ordered(int, (7,), {"b": 2}) == [7, 2]  # a signature that Python does not know


def test_long_values_do_not_hide_the_key() -> None:
    assert as_json([7, "x" * 5000, {"a": 1}, "end"]) == [7, None, None, "end"]
    assert as_json([7, *("ü" * 300,) * 9])[0] == 7
    assert as_json([Costly(), 7, float("nan"), 10**5000]) == [None, 7, None, None]


def test_arguments_that_somebody_forged_break_no_report() -> None:
    for text in ("[" * 999 + "]" * 999, "[1", "9" * 5000, "[" * 100_000 + "]" * 100_000):
        assert _list(text) in ([], [None])  # some versions of Python read the first one


@pytest.mark.parametrize("way", ["kwargs", "payload", "text"])
def test_a_good_dispatch_is_equal_however_it_is_written(
    shadow_watch: Callable[[], list[Verdict]], ledger: Ledger, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task: Any = reprice_legacy
    # The task has no such parameters, and no worker runs it here.
    monkeypatch.setattr(task, "typing", False)
    for pk in ledger.pks[:3]:
        LegacyProduct.objects.filter(pk=pk).update(price=999)
        if way == "kwargs":
            task.apply_async(kwargs={"force": True, "product_id": pk})
        elif way == "payload":
            task.delay(pk, "x" * 50_000, {"a": [1] * 1000})
        else:
            task.delay(str(pk))
    [verdict] = shadow_watch()
    assert (verdict.equal, verdict.is_equal) == (3, True), verdict
