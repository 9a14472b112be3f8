"""`manage.py bridge explain` for every sort of primary key: the events of a row are found by its key."""

import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import click
import pytest
from catalog.models import Product
from catalog.tasks import reprice
from django.core.management import call_command
from django.db import connection, models
from django.test.utils import isolate_apps

from django_app import watch
from django_app.cli import explain
from django_app.watched import by_home, keys_of, watched
from tests.fix_postgres import Database

TOKEN = uuid.UUID(int=5)

with isolate_apps("tests.django"):

    class Dear(models.Model):
        id = models.DecimalField(primary_key=True, max_digits=6, decimal_places=2)

        class Meta:
            app_label = "django"
            db_table = "Dear Rows"

    class Moment(models.Model):
        at = models.DateTimeField(primary_key=True, db_column="select")

        class Meta:
            app_label = "django"
            db_table = "order"

    class Text(models.Model):
        code = models.CharField(primary_key=True, max_length=20)

        class Meta:
            app_label = "django"

    class Token(models.Model):
        token = models.UUIDField(primary_key=True)

        class Meta:
            app_label = "django"

    class OfToken(models.Model):
        token = models.OneToOneField(Token, models.CASCADE, primary_key=True)

        class Meta:
            app_label = "django"

    class Raw(models.Model):
        raw = models.BinaryField(primary_key=True)

        class Meta:
            app_label = "django"

    class Pair(models.Model):
        pk = models.CompositePrimaryKey("day", "price")
        day = models.DateField()
        price = models.DecimalField(max_digits=6, decimal_places=2)

        class Meta:
            app_label = "django"


ROWS: list[tuple[type[models.Model], dict[str, Any], Any]] = [
    (Dear, {"id": Decimal("1.5")}, Decimal("1.5")),
    (Moment, {"at": datetime(2026, 1, 2, 3, 4, 5, 600, UTC)}, datetime(2026, 1, 2, 3, 4, 5, 600, UTC)),
    (Text, {"code": "a ' \" \\ é"}, "a ' \" \\ é"),
    (Text, {"code": ""}, ""),
    (Token, {"token": TOKEN}, TOKEN),
    (OfToken, {"token_id": TOKEN}, TOKEN),
    (Raw, {"raw": b"\x00\xff"}, b"\x00\xff"),
    (Pair, {"day": date(2026, 1, 2), "price": Decimal(3)}, (date(2026, 1, 2), Decimal(3))),
]


@pytest.fixture
def tables(migrated: Database, undeclared: None) -> Iterator[None]:
    with connection.schema_editor() as editor:
        for model in (Dear, Moment, Text, Token, OfToken, Raw, Pair):
            editor.create_model(model)
    with connection.cursor() as cursor:
        # A project may have another time zone for a database (TIME_ZONE), or another role one of its own.
        cursor.execute("set timezone = 'Asia/Tokyo'")
    yield
    with connection.cursor() as cursor:
        cursor.execute("reset timezone")


@pytest.mark.parametrize(("model", "values", "pk"), ROWS, ids=lambda value: getattr(value, "__name__", None))
def test_the_key_is_that_of_the_events(tables: None, model: Any, values: dict[str, Any], pk: Any) -> None:
    watch(model, task=reprice, name="w", on=["insert", "delete"])
    call_command("bridge", "apply")
    if model is OfToken:
        Token._default_manager.create(token=TOKEN)
    row = model._default_manager.create(**values)
    for when in ("exists", "is deleted"):
        keys = keys_of(connection, by_home(model, watched(connection).values()), pk)
        with connection.cursor() as cursor:
            cursor.execute("select key = %s::jsonb from bridge.event where watch = 'w'", [keys["w"]])
            assert set(cursor.fetchall()) == {(True,)}, (when, keys)
            cursor.execute("show timezone")
            assert cursor.fetchone() == ("Asia/Tokyo",)
        if when == "exists":
            row.delete()


@pytest.mark.parametrize(
    ("pk", "said"),
    [
        ("1", "write a JSON array of 2 values: day, price"),
        ("[1]", "write a JSON array of 2 values: day, price"),
        ("null", "write a JSON array of 2 values: day, price"),
        ("[null, null]", "write a JSON array of 2 values: day, price"),
        ('{"day": 1}', "write a JSON array of 2 values: day, price"),
        ("x y", "this is not a JSON array"),
        ('["x", 3]', "invalid date format"),
        ('["2026-01-02", "x"]', "must be a decimal number"),
        ('["2026-01-02", [1]]', "must be a decimal number"),
    ],
)
def test_a_wrong_composite_key_is_one_sentence(pk: str, said: str) -> None:
    with pytest.raises(click.ClickException, match=r"is not a primary key of django\.Pair") as caught:
        explain._value(Pair, pk)
    assert said in caught.value.message


@pytest.mark.usefixtures("undeclared")
def test_a_watch_with_a_key_of_its_own(migrated: Database, capsys: pytest.CaptureFixture[str]) -> None:
    watch(Product, task=reprice, name="by_name", key=["name"])
    call_command("bridge", "apply")
    product = Product.objects.create(name="Tea", price=1)
    call_command("bridge", "explain", "catalog.Product", "--pk", str(product.pk))
    assert "by_name insert: waits" in capsys.readouterr().out
    product.delete()
    call_command("bridge", "explain", "catalog.Product", "--pk=-5")
    said = capsys.readouterr().out
    assert "by_name: the key of its events is known only while the row exists" in said
    assert "the row does not exist now" in said


@pytest.mark.usefixtures("undeclared")
def test_a_key_that_the_column_can_t_hold(migrated: Database, capsys: pytest.CaptureFixture[str]) -> None:
    watch(Product, task=reprice, name="w")
    call_command("bridge", "apply")
    with pytest.raises(SystemExit, match="2"):
        call_command("bridge", "explain", "catalog.Product", "--pk", "9" * 30)
    assert "bigint out of range" in capsys.readouterr().err


def test_a_model_without_its_app(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        call_command("bridge", "explain", "product")
    assert "written as APP.MODEL. Did you mean catalog.Product?" in capsys.readouterr().err
