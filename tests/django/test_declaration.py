"""Declarations in Django and the watches in SQL that they mean."""

from typing import Any

import pytest
from catalog.models import Offer, Product
from catalog.tasks import reprice
from django.contrib.auth.models import User
from django.db import models
from django.db.models import Q
from django.test import override_settings
from django.test.utils import isolate_apps

from bridge.watch import Watch
from django_app import watch
from django_app.declarations import registry
from django_app.declarations.declaration import Declaration, default_name
from django_app.errors import DeclarationError

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


class Nothing:
    """A value that neither JSON nor SQL can hold."""


@pytest.mark.parametrize(
    ("rule", "check_id", "said"),
    [
        ({"on": 5}, "bridge.E004", "on=5 is not a list"),
        ({"columns": 5}, "bridge.E001", "columns=5 is not a list"),
        ({"key": {"id": 1}}, "bridge.E001", "is not a list"),
        ({"columns": ["groups"]}, "bridge.E001", r"Watch the table of the relation: User\.groups\.through"),
        ({"when": Q(new__groups=1)}, "bridge.E011", "no field 'groups' with a column"),
        ({"when": Q(new__id__range=(1,))}, "bridge.E011", "index out of range"),
        ({"queue": "amq.x"}, "bridge.E008", "reserved"),
        ({"queue": "q\0"}, "bridge.E008", "NUL"),
        ({"headers": {"task": "os.system"}}, "bridge.E008", 'header "task" is Celery\'s own'),
        ({"headers": {"a": "\0"}}, "bridge.E008", "NUL"),
        ({"headers": {"a": "\ud800"}}, "bridge.E008", "surrogates"),
        ({"headers": {"a": Nothing()}}, "bridge.E008", "Nothing"),
    ],
    ids=lambda value: "".join(value) if isinstance(value, dict) else "",
)
def test_a_value_that_cannot_be_used_is_found_before_the_database_is_asked(
    rule: dict[str, Any], check_id: str, said: str
) -> None:
    with pytest.raises(DeclarationError, match=said) as caught:
        Declaration(User, "shop.touch", rule, "here").watch()
    assert caught.value.check_id == check_id
    assert str(caught.value).startswith("here: ")


def test_the_label_of_a_model_is_not_the_name_of_a_table() -> None:
    """SQL reads it as the table "user" of a schema "auth", for which the watch waited for ever."""
    with pytest.raises(DeclarationError, match=r"'auth.User' is the name of a model.*its table 'auth_user'"):
        Declaration("auth.User", "shop.touch", {}, "here").watch()
    assert Declaration("auth.user", "shop.touch", {}, "here").watch().table == "auth.user"
