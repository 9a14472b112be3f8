"""A task's event with the types of the model's fields: the same values as the ORM reads from the row."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from catalog.models import Offer, Product
from django.contrib.postgres.fields import ArrayField
from django.db import connection, models
from django.test import override_settings
from django.test.utils import isolate_apps

from bridge.call import as_argument
from bridge.event import Event
from bridge.stream.row import event_of
from django_app import event, watch
from django_app.typed_event import python_value
from tests.fix_postgres import Database

KEY = UUID("6a1f2f0e-6d0b-4c39-9d53-0c7c5e1b7f5a")


class Shout(models.CharField):  # type: ignore[type-arg]
    """A field of the project that has its own form in Python."""

    def from_db_value(self, value: str | None, *_: Any) -> str | None:
        return None if value is None else value.upper() + "!"


def thing() -> type[models.Model]:
    class Thing(models.Model):
        id = models.UUIDField(primary_key=True)
        price = models.DecimalField(max_digits=20, decimal_places=4, db_column="Odd Price")
        ratio = models.FloatField()
        number = models.BigIntegerField()
        flag = models.BooleanField(null=True)
        day = models.DateField()
        moment = models.DateTimeField()
        clock = models.TimeField()
        span = models.DurationField()
        data = models.JSONField()
        raw = models.BinaryField()
        address = models.GenericIPAddressField()
        state = models.CharField(max_length=9, choices=[("a", "A")])
        shout = Shout(max_length=9)
        days = ArrayField(models.DateField())
        owner = models.ForeignKey(Product, on_delete=models.CASCADE, null=True, db_constraint=False)

        class Meta:
            app_label = "catalog"

    return Thing


@pytest.fixture
def things(shelf: Database) -> Iterator[Any]:
    with isolate_apps("catalog"):
        model = thing()
        with connection.schema_editor() as editor:
            editor.create_model(model)
        columns = [field.column for field in model._meta.concrete_fields]
        with connection.cursor() as cursor:
            sql = "select bridge.watch('things', 'catalog_thing', 't', data => %s, options => '{\"call\": \"event\"}')"
            cursor.execute(sql, [columns])
        yield model


def captured() -> Any:
    """Returns the argument that the real bridge would give to the task of the newest event."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select id, watch, op, key::text, data::text, context, at, xid::text from bridge.event "
            "order by id desc limit 1"
        )
        return as_argument(event_of(cursor.fetchone()))


@pytest.mark.parametrize("use_tz", [True, False])
def test_each_value_is_as_the_orm_reads_it(things: Any, use_tz: bool) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC if use_tz else None)
    with override_settings(USE_TZ=use_tz):
        connection.close()
        things.objects.create(
            id=KEY, price=Decimal("1.50"), ratio=0.1, number=2**62, flag=None, day=date(2026, 1, 2), moment=moment,
            clock=time(3, 4, 5, 6), span=timedelta(days=1, seconds=2, microseconds=3), data={"a": [1, None]},
            raw=b"\x00\xff", address="::1", state="a", shout="hey", days=[date(2026, 1, 2), None], owner_id=7,
        )  # fmt: skip
        argument = captured()
        found = event(argument, things)
        row = things.objects.get()
        assert found.new is not None
        for field in things._meta.concrete_fields:
            expected = getattr(row, field.attname)
            expected = bytes(expected) if isinstance(expected, memoryview) else expected
            for name in (field.attname, field.column):
                value = found.new[name]
                assert value == expected, name
                assert type(value) is type(expected), name
        assert found.new.owner == 7, "a foreign key is its value; no query is made"
        assert found.new.shout == "HEY!"
        assert found.key == (KEY,)
        assert (found.operation, found.old, found.old_key) == ("insert", None, None)


SPANS = [
    timedelta(), timedelta.max, timedelta.min, timedelta(-1), timedelta(-1, 3600), timedelta(microseconds=-1),
    timedelta(400, 5, 6), timedelta(days=-5, hours=-3),
]  # fmt: skip


def test_a_duration_may_have_signs_inside(database: Database) -> None:
    field = models.DurationField()
    with database.connect() as conn:
        texts = "select set_config('intervalstyle', 'iso_8601', true), %s::interval::text"
        for span in SPANS:
            row = conn.execute(texts, [span]).fetchone()
            assert row is not None
            assert python_value(field, row[1]) == span
    with pytest.raises(ValueError, match="is not an interval"):
        python_value(field, "1 day")


class ExactDecoder(json.JSONDecoder):
    def __init__(self, **options: Any) -> None:
        super().__init__(parse_float=Decimal, **options)


class ListedField(models.JSONField):
    def from_db_value(self, value: str | None, *rest: Any) -> Any:
        return list(super().from_db_value(value, *rest).items())


def test_a_json_field_of_the_project_reads_its_own_way() -> None:
    assert python_value(models.JSONField(decoder=ExactDecoder), {"a": 1.5}) == {"a": Decimal("1.5")}
    assert python_value(ListedField(), {"a": 1}) == [("a", 1)]


@pytest.mark.usefixtures("undeclared")
def test_the_model_is_that_of_the_declared_watch() -> None:
    watch(Product, task="t", name="by_name", key=["name", "id"], data=["price"], call="event")
    raw = Event(
        5, "by_name", "update", ["Tea", 7], {"old": {"price": "1.50"}, "new": {"price": None}}, None, datetime.now(UTC)
    )
    found = event(as_argument(raw))
    assert found.old is not None
    assert found.new is not None
    assert (found.key, found.old.price, found.new.price) == (("Tea", 7), Decimal("1.50"), None)
    assert list(found.old) == ["price"]
    with pytest.raises(AttributeError, match=r'does not carry "name"; it has: price. Add it to `data`'):
        _ = found.old.name
    with pytest.raises(LookupError, match='no model is declared for the watch "other"'):
        event({**as_argument(raw), "watch": "other"})
    assert event({**as_argument(raw), "watch": "other"}, "catalog.Offer").model is Offer


@pytest.mark.usefixtures("undeclared")
def test_the_conditions_of_the_watches_are_not_compiled_for_each_event() -> None:
    watch(Product, task="t", name="odd", when=models.Q(new__nothing=1))
    assert event(as_argument(Event(5, "odd", "delete", [7], None, None, datetime.now(UTC)))).key == (7,)


@pytest.mark.usefixtures("undeclared")
def test_a_truncate_has_no_row() -> None:
    watch(Product, task="t", name="all", on=["truncate"])
    found = event(as_argument(Event(5, "all", "truncate", None, None, None, datetime.now(UTC))))
    assert (found.key, found.old, found.new, found.changed) == (None, None, None, ())


def test_what_python_can_not_say_fails_only_where_it_is_read() -> None:
    data = {"new": {"price": "NaN", "name": "x"}}
    raw = Event(5, "w", "insert", [7], data, None, datetime.now(UTC))
    found = event(as_argument(raw), Product)
    assert found.new is not None
    assert found.new.name == "x"
