"""A large upgrade: twelve watches, rows, waiting events, thirty operations in six migrations, forwards and back."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from tests.django.project import Project
from tests.django.writers import Writers
from tests.fix_postgres import Database

MIGRATIONS = [
    """
        migrations.AddField("product", "stock", models.IntegerField(default=0)),
        migrations.AddField("product", "weight", models.DecimalField(max_digits=9, decimal_places=3, db_default=1)),
        migrations.AlterField("product", "price", models.BigIntegerField(default=0)),
        migrations.AlterField("product", "name", models.CharField(max_length=90)),
        migrations.AlterField("shop", "name", models.CharField(max_length=90, unique=True)),
    """,
    """
        migrations.RenameField("product", "note", "remark"),
        migrations.AlterField("product", "remark", models.TextField(null=True)),
        migrations.AddIndex("product", models.Index(fields=["price", "name"], name="by_price")),
        migrations.AddConstraint("product",
            models.CheckConstraint(condition=models.Q(id__gt=0), name="numbered")),
        migrations.RunPython(reprice, migrations.RunPython.noop),
    """,
    """
        migrations.AlterField("product", "price", models.DecimalField(max_digits=14, decimal_places=2, default=0)),
        migrations.RenameField("product", "price", "cost"),
        migrations.AddField("product", "price", models.IntegerField(null=True)),
        migrations.RunSQL("UPDATE shelf_product SET price = cost", migrations.RunSQL.noop),
        migrations.RemoveField("product", "code"),
    """,
    """
        migrations.CreateModel("Line", [
            ("id", models.BigAutoField(primary_key=True)), ("number", models.IntegerField(default=1)),
        ]),
        migrations.AddField("product", "line", models.ForeignKey("Line", models.SET_NULL, null=True)),
        migrations.AlterUniqueTogether("product", {("id", "name")}),
        migrations.RenameModel("Tag", "Label"),
        migrations.AlterModelTable("label", "shelf_labels"),
    """,
    """
        migrations.RemoveField("product", "weight"),
        migrations.AlterField("product", "stock", models.BigIntegerField(null=True)),
        migrations.RunSQL("ALTER TABLE shelf_product ALTER COLUMN stock TYPE numeric",
            "ALTER TABLE shelf_product ALTER COLUMN stock TYPE bigint"),
        migrations.AlterModelOptions("product", {"ordering": ["name"]}),
        migrations.AlterUniqueTogether("product", set()),
    """,
    """
        migrations.RemoveIndex("product", "by_price"),
        migrations.RemoveConstraint("product", "numbered"),
        migrations.RemoveField("product", "tags"),
        migrations.DeleteModel("Label"),
        migrations.SeparateDatabaseAndState(
            [migrations.RunSQL("ALTER TABLE shelf_product DROP COLUMN remark CASCADE",
                "ALTER TABLE shelf_product ADD COLUMN remark text")],
            [migrations.RemoveField("product", "remark")]),
    """,
]


def before() -> list[dict[str, Any]]:
    table = {"table": "shelf_product", "task": "shelf.tasks.note"}
    update = {**table, "on": ["update"]}
    return [
        {"name": "wide", **table, "call": "event", "unchanged": True},
        {"name": "price", **update, "columns": ["price"]},
        {"name": "note", **update, "columns": ["note"]},
        {"name": "code", **update, "columns": ["code", "note"]},
        {"name": "named", **update, "columns": ["price"], "named_only": True},
        {"name": "condition", **table, "when": "new.price > 0 or old.code is not null"},
        {"name": "row", **update, "when": "old.* is distinct from new.*"},
        {"name": "data", **table, "data": ["name", "price", "note"]},
        {"name": "warned", **table, "when": "new.note <> '' or new.price > 0", "on_error": "warn"},
        {"name": "skipped", **table, "may_skip": True, "key": ["id", "name"]},
        {"name": "shop", "table": "shelf_shop", "task": "shelf.tasks.note", "data": ["name"]},
        {"name": "tag", "table": "shelf_tag", "task": "shelf.tasks.note", "columns": ["name"]},
    ]


def after() -> list[dict[str, Any]]:
    renamed: dict[str, dict[str, Any]] = {
        "note": {"columns": ["stock"]},
        "code": {"columns": ["stock", "name"]},
        "condition": {"when": "new.price > 0 or old.cost > 0"},
        "data": {"data": ["name", "price", "cost"]},
        "warned": {"when": "new.price > 0"},
    }
    return [{**watch, **renamed.get(watch["name"], {})} for watch in before() if watch["name"] != "tag"]


@pytest.fixture
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shop_database: Database, undeclared: None
) -> Iterator[Project]:
    with Project(tmp_path, monkeypatch) as project:
        project.declare(before())
        call_command("migrate", verbosity=0)
        yield project


@pytest.mark.parametrize("how", ["before", "after"])
def test_a_project_with_twelve_watches_is_upgraded_and_taken_back(
    how: str, project: Project, shop_database: Database
) -> None:
    writers = Writers(shop_database, "shelf_product")
    writers.start()
    first = project.names[-1]
    # The migrations are atomic: a deadlock in Django repeats `migrate`, and must not find half of a migration done.
    for number, operations in enumerate(MIGRATIONS):
        project.add(f"step{number}", operations)
    if how == "after":
        project.declare(after())
    try:
        said = project.migrate()
        writers.go_on()
        project.declare(before())
        project.migrate(first)
        writers.go_on()
    finally:
        writers.stop()
    writers.assert_not_hurt()
    assert ("broken" in said or "later" in said) == (how == "before"), said
    with shop_database.connect() as other:
        rows = other.execute("select op, key ->> 0 from bridge.event where watch = 'wide'")
        assert not writers.ledger - Counter((op, key) for op, key in rows)
        assert other.execute("select * from bridge.drift()").fetchall() == []
        assert other.execute("select count(*) from bridge.watch where removed_at is null").fetchone() == (12,)
