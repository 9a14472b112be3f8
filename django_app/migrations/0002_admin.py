"""Adds models for the admin and its permissions. They exist only in Django's state: triggers.sql creates the tables."""

from typing import ClassVar

from django.db import migrations, models
from django.db.migrations.operations.base import Operation

from django_app.lenient import LenientDateTimeField, LenientJSONField


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("bridge", "0001_install")]
    operations: ClassVar[list[Operation]] = [
        migrations.CreateModel(
            name="Stream",
            fields=[("name", models.TextField(primary_key=True, serialize=False))],
            options={"db_table": '"bridge"."stream"', "ordering": ("name",), "managed": False},
        ),
        migrations.CreateModel(
            name="DeadLetter",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("stream", models.TextField()),
                ("watch", models.TextField()),
                ("op", models.TextField(verbose_name="operation")),
                ("key", LenientJSONField(null=True)),
                ("data", LenientJSONField(null=True)),
                ("context", models.TextField(null=True)),
                ("at", LenientDateTimeField(verbose_name="time")),
                ("reason", models.TextField()),
                ("failed_at", models.DateTimeField()),
            ],
            options={
                "db_table": '"bridge"."dead_letter"',
                "ordering": ("-failed_at", "-id"),
                "managed": False,
                "permissions": (
                    ("retry_deadletter", "Can retry dead letter"),
                    ("edit_deadletter", "Can edit the arguments of dead letter and retry"),
                    ("discard_deadletter", "Can discard dead letter"),
                ),
            },
        ),
    ]
