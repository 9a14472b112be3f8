"""A model with a field of each kind, and for each field the values and the comparisons that conditions are made of."""

import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

from django.contrib.postgres.fields import ArrayField, IntegerRangeField
from django.db import models
from django.test.utils import isolate_apps
from psycopg.types.range import Range


class Level(models.IntegerChoices):
    LOW = -1
    HIGH = 7


class ReversedField(models.CharField):  # type: ignore[type-arg]
    """A custom field: the database has the text backwards."""

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else str(value)[::-1]

    def from_db_value(self, value: Any, *_: Any) -> Any:
        return None if value is None else value[::-1]


with isolate_apps("tests.django"):

    class Sample(models.Model):
        """A row; `before` is the row before the change."""

        before = models.ForeignKey("self", null=False, on_delete=models.CASCADE, db_constraint=False)
        text = models.TextField(null=True, db_column="odd 'name'; --")
        number = models.IntegerField(null=True)
        level = models.IntegerField(choices=Level.choices, null=True)
        price = models.DecimalField(max_digits=12, decimal_places=3, null=True)
        ratio = models.FloatField(null=True)
        flag = models.BooleanField(null=True)
        at = models.DateTimeField(null=True)
        day = models.DateField(null=True)
        clock = models.TimeField(null=True)
        lasts = models.DurationField(null=True)
        token = models.UUIDField(null=True)
        blob = models.BinaryField(null=True)
        address = models.GenericIPAddressField(null=True)
        extra = models.JSONField(null=True)
        backwards = ReversedField(max_length=40, null=True)
        tags = ArrayField(models.CharField(max_length=20), null=True)
        sizes = ArrayField(models.IntegerField(), null=True)
        span = IntegerRangeField(null=True)

        class Meta:
            app_label = "django"
            db_table = "sample"


BERLIN = timezone(timedelta(hours=2))
ODD = ["", "a", "A", "50%", "%s", "o'f", 'say "x"', "back\\slash", "a_b", "ünï ☃", "null", "{}", "\n", "$$", "--", "/*"]
VALUES: dict[str, list[Any]] = {
    "text": ODD,
    "number": [-5, 0, 1, 7, 2**31 - 1],
    "level": [*Level, 0],
    "price": [Decimal(one) for one in ("-1.500", "0", "1", "1.50", "99999.999")],
    "ratio": [-1.5, 0.0, 1.0, 1e300, 0.1],
    "flag": [True, False],
    "at": [datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 1, 30, tzinfo=BERLIN), datetime(1, 1, 2, tzinfo=UTC)],
    "day": [date(2026, 1, 1), date(2025, 12, 31), date(9999, 12, 31)],
    "clock": [time(0), time(23, 59, 59, 999999)],
    "lasts": [timedelta(), timedelta(days=-1, seconds=3), timedelta(days=400, microseconds=1)],
    "token": [uuid.UUID(int=1), uuid.UUID(int=2)],
    "blob": [b"", b"\0'\\%", b"a"],
    "address": ["10.0.0.1", "::1"],
    "extra": [
        {}, [], None, 1, "a", True, {"a": None}, {"a": {"b": [1, "x"]}}, {"o'f": 1, "50%": 2}, {'"': "\\", "%s": "%"},
        {"1": "one"}, ["zero", {"a": "%"}], {"a": 1.5}, {"a": "x"},
    ],
    "backwards": ["abc", "cba", "%a'"],
    "tags": [[], ["a"], ['"', "\\", "o'f", "%s,{}"], ["NULL", "null", ""]],
    "sizes": [[], [1], [-1, 2]],
    "span": [Range(1, 5), Range(None, 3), Range(4, None), Range(empty=True)],
}  # fmt: skip


def _each(lookups: Sequence[str], operands: list[Any]) -> dict[str, list[Any]]:
    return dict.fromkeys(lookups, operands)


def _ordered(name: str) -> dict[str, list[Any]]:
    first, *_, last = pool = VALUES[name]
    return {
        **_each(("exact", "gt", "gte", "lt", "lte"), pool),
        **_listed(name),
        "range": [(first, last), [last, first]],
    }


def _listed(name: str) -> dict[str, list[Any]]:
    first, *_, last = pool = VALUES[name]
    return {"exact": pool, "in": [[first, last], [None, first], tuple(pool)], "isnull": [True, False]}


_KEYS = ["a", "o'f", "50%", '"', "%s", "1", "x"]
_INSIDE = [None, 1, "x", "%", 2, [1, "x"], {"a": "%"}, "one", "\\"]
_JSON = [{"a": None}, {"o'f": 1}, [], {}, {"a": {"b": [1]}}, "a", {'"': "\\"}]
_TRUTH = [True, False]
LOOKUPS: dict[str, dict[str, list[Any]]] = {
    **{name: _ordered(name) for name in ("number", "level", "price", "ratio", "clock", "lasts", "token")},
    **{name: _listed(name) for name in ("backwards", "flag", "blob", "address")},
    "text": {
        **_ordered("text"),
        **_each(("contains", "icontains", "startswith", "endswith", "iexact", "istartswith"), ODD),
    },
    "at": {
        **_ordered("at"),
        **_each(("year", "year__gte", "hour", "week_day"), [1, 2, 2026]),
        "date": [date(2026, 1, 1)],
        "time__gt": [time(0, 30)],
    },
    "day": {**_ordered("day"), "year": [1, 2026], "month__in": [[1, 12]], "quarter": [1, 4]},
    "extra": {
        "exact": VALUES["extra"],
        **_each(("contains", "contained_by"), _JSON),
        "has_key": _KEYS,
        **_each(("has_keys", "has_any_keys"), [["a"], ["o'f", "50%"], ["%s", '"']]),
        **_each(("a", "a__b", "a__b__0", "o'f", "50%", '"', "%s", "1", "1__a", "-1"), _INSIDE),
        "a__in": [["x", "%", None], [1, 1.5, True]],
        "a__gt": [1, 1.2, "a"],
        **_each(("a__icontains", "a__startswith"), _KEYS),
        **_each(("isnull", "a__isnull"), _TRUTH),
    },
    "tags": {
        **_each(("exact", "contains", "contained_by", "overlap", "0_2"), VALUES["tags"]),
        "len": [0, 1, 2],
        "0": ['"', "a", "NULL"],
        "0__in": [["a"], ['"', "NULL"]],
        "isnull": _TRUTH,
    },
    "sizes": {
        **_each(("exact", "contains", "overlap"), VALUES["sizes"]),
        **_each(("len__gte", "0__gt"), [0, 1]),
        "isnull": _TRUTH,
    },
    "span": {
        **_each(("exact", "overlap", "fully_lt"), VALUES["span"]),
        "contains": [2, 100, Range(1, 3)],
        "startswith__gt": [0, 1],
        **_each(("isnull", "isempty"), _TRUTH),
    },
}
