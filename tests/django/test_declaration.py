"""Declarations in Django and the watches in SQL that they mean."""

import pytest
from catalog.models import Offer, Product
from catalog.tasks import reprice
from django.db import models
from django.test import override_settings
from django.test.utils import isolate_apps

from bridge.watch import Watch
from django_app import watch
from django_app.declarations import registry
from django_app.declarations.declaration import default_name

pytestmark = pytest.mark.usefixtures("undeclared")


def declared() -> Watch:
    (declaration,) = registry.declared()
    return declaration.watch()


def test_fields_become_columns() -> None:
    watch(Offer, task=reprice, columns=["product", "price"], key=["pk"], data=["product_id"])
    assert declared() == Watch(
        name="catalog.offer_reprice",
        table='"catalog_offer"',
        task="catalog.tasks.reprice",
        columns=("product_id", "price"),
        key=("id",),
        data=("product_id",),
        source="django",
    )


@isolate_apps("catalog")
def test_a_schema_in_db_table_is_kept() -> None:
    class Far(models.Model):
        class Meta:
            app_label = "catalog"
            db_table = '"Other"."far"'

    watch(Far, task="t.t")
    assert declared().table == '"Other"."far"'


@isolate_apps("catalog")
def test_a_proxy_watches_its_models_table() -> None:
    class Cheap(Product):
        class Meta:
            app_label = "catalog"
            proxy = True

    watch(Cheap, task="t.t", columns=["price"])
    assert declared().table == '"catalog_product"'


@isolate_apps("catalog")
def test_an_inherited_field_is_watched_in_its_own_table() -> None:
    class Parent(models.Model):
        title = models.TextField(db_column="Title")

        class Meta:
            app_label = "catalog"

    class Child(Parent):
        class Meta:
            app_label = "catalog"

    watch(Child, task="t.t", columns=["title"])
    assert (declared().table, declared().columns) == ('"catalog_parent"', ("Title",))


@override_settings(BRIDGE_WATCHES=[{"name": "x", "table": "stock.level", "task": "t.t", "on": ["insert"]}])
def test_settings_declare_too() -> None:
    assert declared() == Watch(name="x", table="stock.level", task="t.t", on=("insert",), source="django")


@pytest.mark.parametrize(
    ("module", "file", "origin"),
    [
        ("stock.watches", "/srv/shop/stock/watches.py", "stock/watches.py:3"),
        ("stock.watches", "/srv/shop/stock/watches/__init__.py", "stock/watches/__init__.py:3"),
        ("apps.stock.watches", "/srv/shop/apps/stock/watches.py", "apps/stock/watches.py:3"),
    ],
)
def test_a_declaration_knows_its_file_and_line(module: str, file: str, origin: str) -> None:
    code = compile('\n\nwatch("stock_level", task="t.t")', file, "exec")
    exec(code, {"watch": watch, "__name__": module})
    (declaration,) = registry.declared()
    assert declaration.origin == origin


def test_a_long_name_is_cut_and_stays_unique() -> None:
    one, other = (
        default_name("warehouse.inventorymovement", "t.recalculate_totals_a"),
        default_name("warehouse.inventorymovement", "t.recalculate_totals_b"),
    )
    assert len(one) == len(other) == 47
    assert one != other
