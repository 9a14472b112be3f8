"""A condition as a Q: its SQL means in a trigger what the Q means in a query."""

import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import ip_address
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection, models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.test.utils import isolate_apps
from psycopg import Binary
from psycopg.types.range import Range

from django_app.declarations.condition import Condition, ConditionError
from django_app.declarations.declaration import Declaration
from django_app.declarations.literal import literal
from django_app.errors import DeclarationError
from tests.fix_postgres import Database


class Kind(models.TextChoices):
    BOOK = "b", "Book"
    TOY = "t", "Toy"


class UpperField(models.CharField):  # type: ignore[type-arg]
    """A custom field: the database has the value in capitals."""

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else str(value).upper()


with isolate_apps("tests.django"):

    class Shelf(models.Model):
        slug = models.CharField(max_length=9, unique=True, db_column="100%s")

        class Meta:
            app_label = "django"

    class Thing(models.Model):
        name = models.CharField(max_length=40, null=True)
        price = models.DecimalField(max_digits=9, decimal_places=2, null=True)
        amount = models.IntegerField(default=0, db_column="Odd Amount")
        kind = models.CharField(max_length=1, choices=Kind.choices, default="b")
        sold_at = models.DateTimeField(null=True)
        day = models.DateField(null=True)
        token = models.UUIDField(null=True)
        extra = models.JSONField(null=True)
        code = UpperField(max_length=9, null=True)
        active = models.BooleanField(default=True)
        owner = models.ForeignKey(User, null=True, on_delete=models.CASCADE)
        shelf = models.ForeignKey(Shelf, models.CASCADE, to_field="slug", null=True, db_constraint=False)

        class Meta:
            app_label = "django"
            db_table = "thing"


@pytest.fixture
def thing(migrated: Database) -> None:
    with connection.schema_editor() as editor:
        editor.create_model(Thing)
    User.objects.create(pk=7, username="anna")


def started(q: Q, before: dict[str, Any] | None, after: dict[str, Any] | None) -> bool:
    """Whether a write from `before` to `after` is recorded by a watch with this condition."""
    on = "insert" if before is None else "delete" if after is None else "update"
    watch = Declaration(Thing, "shop.touch", {"name": "w", "on": [on], "when": q}, "here").watch()
    with connection.cursor() as cursor:
        cursor.execute(
            "select bridge.watch('w', 'thing', 'shop.touch', operations => array[%s], condition => %s)",
            [on, watch.when],
        )
        cursor.execute("select coalesce(max(id), 0) from bridge.event")
        [(last,)] = cursor.fetchall()
        row = Thing._default_manager.create(**before) if before is not None else Thing()
        if after is None:
            row.delete()
        elif before is None:
            Thing._default_manager.create(**after)
        else:
            Thing._default_manager.filter(pk=row.pk).update(**after)
        cursor.execute("select count(*) from bridge.event where watch = 'w' and op = %s and id > %s", [on, last])
        [(number,)] = cursor.fetchall()
    return bool(number)


AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TOKEN = uuid.UUID(int=5)
CASES: list[tuple[Q, dict[str, Any] | None, dict[str, Any] | None, bool]] = [
    (Q(new__active=True), {"active": False}, {"active": True}, True),
    (Q(new__active=True), {"active": True}, {"active": False}, False),
    (Q(new__active=True) & ~Q(old__price=F("new__price")), {"price": 1}, {"price": 2}, True),
    (Q(new__active=True) & ~Q(old__price=F("new__price")), {"price": 1}, {"name": "x"}, False),
    (~Q(old__price=F("new__price")), {"price": None}, {"price": 2}, True),
    (~Q(old__price=F("new__price")), {"price": None}, {"name": "x"}, False),
    (~Q(old__active=True), None, {"name": "x"}, True),
    (Q(new__price__gt=Decimal("9.99")), {"price": 1}, {"price": 10}, True),
    (Q(new__price__gt=F("old__price") * 2), {"price": 4}, {"price": 8}, False),
    (Q(new__price__gt=F("old__price") * 2), {"price": 4}, {"price": 9}, True),
    (Q(new__amount__in=[-1, 3]), {"amount": 0}, {"amount": -1}, True),
    (Q(new__amount__range=(2, 4)), {"amount": 0}, {"amount": 5}, False),
    (Q(new__kind=Kind.TOY), {"kind": "b"}, {"kind": "t"}, True),
    (Q(new__name__isnull=True), {"name": "x"}, {"name": None}, True),
    (Q(new__name=None), {"name": "x"}, {"name": "y"}, False),
    (Q(new__name__icontains="50% o'f\\"), {"name": ""}, {"name": "Now 50% O'F\\ all"}, True),
    (Q(new__name__startswith="a_"), {"name": ""}, {"name": "ab"}, False),
    (Q(new__name__regex=r"^\d+;$"), {"name": ""}, {"name": "12;"}, True),
    (Q(new__name=Lower("old__name")), {"name": "ABC"}, {"name": "abc"}, True),
    (Q(new__sold_at__gte=AT), {}, {"sold_at": AT + timedelta(seconds=1)}, True),
    (Q(new__sold_at__gte=AT), {}, {"sold_at": AT - timedelta(seconds=1)}, False),
    (Q(new__day__year=2026), {}, {"day": date(2026, 5, 1)}, True),
    (Q(new__day=date(2026, 5, 1)), {}, {"day": date(2026, 5, 2)}, False),
    (Q(new__token=TOKEN), {}, {"token": TOKEN}, True),
    (Q(new__extra__state="paid"), {}, {"extra": {"state": "paid"}}, True),
    (Q(new__extra__a__b=[1]), {}, {"extra": {"a": {"b": [2]}}}, False),
    (~Q(old__extra__a=F("new__extra__a")), {"extra": {}}, {"extra": {"a": 1}}, True),
    (~Q(old__extra__a=F("new__extra__a")), {"extra": {"a": 1}}, {"extra": {"a": 1, "b": 2}}, False),
    (Q(new__extra__a=1) & ~Q(old__extra__a=1), {"extra": {}}, {"extra": {"a": 1}}, True),
    (Q(new__name__icontains=F("old__name")), {"name": "5%_\\"}, {"name": "a 5%_\\"}, True),
    (Q(new__name__icontains=F("old__name")), {"name": "5%_\\"}, {"name": "55__\\"}, False),
    (~Q(new__price__gt=F("old__price")), {"price": None}, {"price": 1}, True),
    (Q(new__extra__contains={"x": 1}), {}, {"extra": {"x": 1, "y": 2}}, True),
    (Q(new__extra__has_key="x"), {}, {"extra": {"x": None}}, True),
    (Q(new__code="abc"), {"code": "-"}, {"code": "abc"}, True),
    (Q(new__owner_id=7), {}, {"owner_id": 7}, True),
    (Q(new__owner=7), {}, {"owner_id": 7}, True),
    (Q(new__owner__pk=7), {}, {"owner_id": 7}, True),
    (Q(new__owner__isnull=False), {}, {"owner_id": 7}, True),
    (Q(new__pk__gt=0) | Q(new__name="never"), {}, {"name": "x"}, True),
    (~(Q(new__name="x") | Q(new__amount=1)), {}, {"name": "y"}, True),
    (Q(Q(old__amount=1), Q(new__amount=2), _connector=Q.XOR), {"amount": 1}, {"amount": 2}, False),
    (Q(old__name="x"), {"name": "x"}, None, True),
]


@pytest.mark.usefixtures("thing")
def test_a_condition_selects_the_changes() -> None:
    """All cases share one database, since its migrations take longer than all of them."""
    wrong = [case for case in CASES if started(*case[:3]) is not case[3]]
    assert wrong == []


@pytest.mark.parametrize(
    ("q", "said"),
    [
        (Q(), "it is empty"),
        (Q(new__amount__in=[]), "it is never true"),
        (~Q(new__amount__in=[]), "it is empty"),
        (Q(price=1), "does not begin with old__ or new__"),
        (Q(new__prise=1), "has no field 'prise' with a column; its fields are: active, amount"),
        (Q(new=1), "does not begin with old__ or new__"),
        (Q(new__price__foo=1), "foo"),
        (Q(new__amount="many"), "many"),
        (Q(new__owner__username="anna"), "username"),
        (Q(new__name="a\0b"), "NUL"),
        (Q(new__name="a\ud800"), "half a character"),
        (Q(new__shelf__id=1), "'id'"),
        (Q(new__amount__in=iter([1])), "write a list"),
        (Q(new__shelf__pk=1), "'pk'"),
        (Q(new__name=F("name")), "does not begin with old__ or new__"),
        (Q(new__owner__in=User.objects.all()), "QuerySet"),
        (Q(models.Exists(User.objects.all())), "neither a Q nor a comparison"),
    ],
)
def test_a_wrong_condition_says_what_is_wrong(q: Q, said: str) -> None:
    with pytest.raises(ConditionError, match=said):
        Condition(Thing, q).sql()


def test_names_and_values_with_percent_signs() -> None:
    assert Condition(Shelf, Q(new__slug__contains="%s")).sql() == """"new"."100%s"::text LIKE '%\\%s%'"""


def test_a_foreign_key_is_compared_as_the_field_that_it_refers_to() -> None:
    assert Condition(Thing, Q(new__shelf__slug=5)).sql() == Condition(Thing, Q(new__shelf=5)).sql()
    assert Condition(Thing, Q(new__shelf_id=5)).sql() == """"new"."shelf_id" = '5'"""


def test_a_declaration_names_the_place_of_a_wrong_condition() -> None:
    with pytest.raises(DeclarationError, match=r"shop/watches.py:8: its condition: .*has no field 'prise'") as caught:
        Declaration(Thing, "shop.touch", {"when": Q(new__prise=1)}, "shop/watches.py:8").watch()
    assert caught.value.check_id == "bridge.E011"
    with pytest.raises(DeclarationError, match="a Q needs a model"):
        Declaration("thing", "shop.touch", {"when": Q(new__price=1)}, "here").watch()


def test_a_condition_over_a_parent_and_a_child_has_no_table() -> None:
    with isolate_apps("tests.django"):

        class Book(Thing):
            pages = models.IntegerField()

            class Meta:
                app_label = "django"

        declaration = Declaration(Book, "shop.touch", {"columns": ["pages"], "when": Q(new__price=1)}, "here")
        with pytest.raises(DeclarationError, match=r"fields of django\.Book are in 2 tables"):
            declaration.watch()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "NULL"),
        (True, "TRUE"),
        (-3, "(-3)"),
        (1.5, "'1.5'::float8"),
        (Decimal("1.50"), "'1.50'::numeric"),
        ("o'f\\", "'o''f\\'"),
        (Kind.TOY, "'t'"),
        (date(2026, 1, 2), "'2026-01-02'::date"),
        (time(1, 2), "'01:02:00'::time"),
        (AT, "'2026-01-02 03:04:05+00:00'::timestamptz"),
        (AT.replace(tzinfo=None), "'2026-01-02 03:04:05+00:00'::timestamptz"),
        (timedelta(days=1, seconds=2), "'1 days 2.000000 seconds'::interval"),
        (TOKEN, "'00000000-0000-0000-0000-000000000005'::uuid"),
        (b"\x01", "'\\x01'::bytea"),
        (Binary(b"\x01"), "'\\x01'::bytea"),
        (ip_address("::1"), "'::1'::inet"),
        (Range(1, 5), "'[1,5)'"),
        (Range(AT.replace(tzinfo=None), None), "'[\"2026-01-02 03:04:05+00:00\",)'::tstzrange"),
        (["a", 'b"'], '\'{"a","b\\""}\'::text[]'),
        ([1, 2], "ARRAY[1, 2]"),
    ],
    ids=str,
)
def test_literals(value: Any, text: str) -> None:
    assert literal(value) == text


def test_a_value_without_a_literal() -> None:
    with pytest.raises(TypeError, match="a value of type Group"):
        literal(Group())
