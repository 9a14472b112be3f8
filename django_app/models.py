"""Read-only models of the bridge's tables. triggers.sql creates the tables, Django never does."""

from django.db import models

from django_app.lenient import LenientDateTimeField, LenientJSONField
from django_app.read_only import ReadOnlyModel
from django_app.text_array import TextArrayField

OPERATIONS = [(name, name) for name in ("insert", "update", "delete", "truncate")]


class Watch(ReadOnlyModel):
    """One rule. A removed watch keeps its row, for the events that it has recorded."""

    name = models.TextField(primary_key=True)
    relation = models.TextField("table")
    task = models.TextField()
    operations = TextArrayField("on")
    columns = TextArrayField(null=True)
    condition = models.TextField("when", null=True)
    key = TextArrayField(null=True)
    data = TextArrayField(null=True)
    options = models.JSONField()
    stream = models.TextField()
    changed_at = models.DateTimeField()
    removed_at = models.DateTimeField(null=True)

    class Meta:
        managed = False
        db_table = '"bridge"."watch"'
        ordering = ("name",)
        verbose_name_plural = "watches"

    def __str__(self) -> str:
        return self.name


class Event(ReadOnlyModel):
    """One committed change, as a trigger recorded it."""

    id = models.BigIntegerField(primary_key=True)
    xid = models.TextField("transaction")
    stream = models.TextField()
    watch = models.TextField()
    op = models.TextField("operation", choices=OPERATIONS)
    key = models.JSONField(null=True)
    data = models.JSONField(null=True)
    context = models.TextField(null=True)
    at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = '"bridge"."event"'
        # The order of the log's only index, backwards: the cost of the newest page does not depend on the log's size.
        ordering = ("-stream", "-xid", "-id")

    def __str__(self) -> str:
        return f"{self.watch} {self.op} {self.key}"


class Stream(ReadOnlyModel):
    """An independent, ordered part of the log."""

    name = models.TextField(primary_key=True)

    class Meta:
        managed = False
        db_table = '"bridge"."stream"'
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class DeadLetter(ReadOnlyModel):
    """An event that could not be published as it is, and waits for a person.

    After a failover two dead letters may have one id; then a decision is about both.
    """

    id = models.BigIntegerField(primary_key=True)
    stream = models.TextField()
    watch = models.TextField()
    op = models.TextField("operation")
    key = LenientJSONField(null=True)
    data = LenientJSONField(null=True)
    context = models.TextField(null=True)
    at = LenientDateTimeField("time")
    reason = models.TextField()
    failed_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = '"bridge"."dead_letter"'
        ordering = ("-failed_at", "-id")
        permissions = (
            ("retry_deadletter", "Can retry dead letter"),
            ("edit_deadletter", "Can edit the arguments of dead letter and retry"),
            ("discard_deadletter", "Can discard dead letter"),
        )

    def __str__(self) -> str:
        return f"{self.watch or 'sent task'} {self.op} {self.id}"
