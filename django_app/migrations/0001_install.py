"""Applies the packaged triggers.sql, the file that `psql -f` and `bridge install` apply too."""

from typing import Any, ClassVar

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation

from bridge.database import schema
from bridge.database.statement import statement
from django_app.database import aliases, connect, is_supported
from django_app.text_array import TextArrayField


def install(apps: Any, editor: BaseDatabaseSchemaEditor) -> None:
    if _is_ours(editor):
        with connect(editor.connection.alias).cursor() as cursor:
            cursor.execute(schema.read())


def remove(apps: Any, editor: BaseDatabaseSchemaEditor) -> None:
    if _is_ours(editor):
        with connect(editor.connection.alias).cursor() as cursor:
            cursor.execute(statement("drop_schema", "django_app"))


def _is_ours(editor: BaseDatabaseSchemaEditor) -> bool:
    return editor.connection.alias in aliases() and is_supported(editor.connection.alias)


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = []
    operations: ClassVar[list[Operation]] = [
        migrations.RunPython(install, remove, elidable=False),
        # These models exist only in Django's state, for the admin and its permissions: triggers.sql creates the tables.
        migrations.CreateModel(
            name="Watch",
            fields=[
                ("name", models.TextField(primary_key=True, serialize=False)),
                ("relation", models.TextField(verbose_name="table")),
                ("task", models.TextField()),
                ("operations", TextArrayField(verbose_name="on")),
                ("columns", TextArrayField(null=True)),
                ("condition", models.TextField(verbose_name="when", null=True)),
                ("key", TextArrayField(null=True)),
                ("data", TextArrayField(null=True)),
                ("options", models.JSONField()),
                ("stream", models.TextField()),
                ("changed_at", models.DateTimeField()),
                ("removed_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": '"bridge"."watch"',
                "ordering": ("name",),
                "managed": False,
                "verbose_name_plural": "watches",
            },
        ),
        migrations.CreateModel(
            name="Event",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("xid", models.TextField(verbose_name="transaction")),
                ("stream", models.TextField()),
                ("watch", models.TextField()),
                (
                    "op",
                    models.TextField(
                        verbose_name="operation",
                        choices=[(name, name) for name in ("insert", "update", "delete", "truncate")],
                    ),
                ),
                ("key", models.JSONField(null=True)),
                ("data", models.JSONField(null=True)),
                ("context", models.TextField(null=True)),
                ("at", models.DateTimeField()),
            ],
            options={
                "db_table": '"bridge"."event"',
                "ordering": ("-stream", "-xid", "-id"),
                "managed": False,
            },
        ),
    ]
