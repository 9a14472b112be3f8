"""The cases: every operation of django.db.migrations.operations, on fields that watches name and on other fields.

The third column of the table is `price`, which most watches name. The fourth one is `note`.
"""

from dataclasses import dataclass, field
from typing import Any

MODELS = """
        migrations.CreateModel("Shop", [
            ("id", models.BigAutoField(primary_key=True)), ("name", models.CharField(max_length=30, unique=True)),
        ]),
        migrations.CreateModel("Tag", [
            ("id", models.BigAutoField(primary_key=True)), ("name", models.CharField(max_length=30)),
        ]),
        migrations.CreateModel("Product", [
            ("id", models.BigAutoField(primary_key=True)),
            ("name", models.CharField(max_length=30)),
            ("price", models.IntegerField(default=0)),
            ("note", models.CharField(max_length=40, null=True)),
            ("code", models.IntegerField(null=True)),
            ("shop", models.ForeignKey("Shop", models.CASCADE, null=True)),
        ], options={"base_manager_name": "objects"}),
        migrations.AddField("product", "tags", models.ManyToManyField("Tag")),
        migrations.RunSQL("insert into shelf_shop (name) values ('one')", ""),
"""


@dataclass(frozen=True)
class Names:
    """The names of table and columns, as a declaration writes them."""

    table: str = "shelf_product"
    price: str | None = "price"
    key: str | None = "id"
    is_number: bool = True
    """Whether a condition can compare the price with a number."""

    def watches(self) -> list[dict[str, Any]]:
        price = [self.price] if self.price else None
        narrowed = {"columns": price} if price else {}
        number = f"new.{self.price} >= 0 or old.{self.price} >= 0" if self.price and self.is_number else None
        named = {"columns": price, "named_only": True} if price else {}
        common = {"table": self.table, "task": "shelf.tasks.note"} | ({"key": [self.key]} if self.key else {})
        return [
            {"name": "wide", **common, "call": "event", "unchanged": True},
            {"name": "narrow", **common, "on": ["update"], **narrowed},
            {"name": "condition", **common, **({"when": number} if number else {})},
            {"name": "named", **common, "on": ["update"], **named},
            {"name": "data", **common, "data": ["name", *(price or [])], "unchanged": True},
        ]


@dataclass(frozen=True)
class Case:
    operation: str
    subject: str
    """The thing that the operation changes, for the table in the docs."""
    source: str
    after: Names = field(default_factory=Names)
    earlier: str = ""
    """Operations that run before the one under test."""
    backwards: bool = True
    atomic: bool = True
    writes: bool = False
    """Whether the migration itself changes rows."""
    keeps_key: bool = True
    keeps_price: bool = True
    """Whether the third column is still the one that the watches name."""
    before: Names = field(default_factory=Names)

    @property
    def name(self) -> str:
        return f"{self.operation} {self.subject}".replace("`", "")


_COST = Names(price="cost")
_TEXT = Names(is_number=False)
_NONE = Names(price=None)
_CHECK = """
        migrations.AddConstraint("product",
            models.CheckConstraint(condition=models.Q(price__gte=0), name="not_negative"))"""

CASES = [
    Case(
        "CreateModel",
        "that refers to the table",
        """
        migrations.CreateModel("Line", [("id", models.BigAutoField(primary_key=True)),
            ("product", models.ForeignKey("Product", models.CASCADE))])""",
    ),
    Case("DeleteModel", "the watched table", 'migrations.DeleteModel("Product")', after=Names(), backwards=True),
    Case(
        "DeleteModel",
        "another table",
        'migrations.RemoveField("product", "shop"), migrations.DeleteModel("Shop")',
        backwards=False,
    ),
    Case(
        "RenameModel", "the watched table", 'migrations.RenameModel("Product", "Item")', after=Names(table="shelf_item")
    ),
    Case("RenameModel", "the other side of a relation", 'migrations.RenameModel("Shop", "Store")'),
    Case(
        "AlterModelTable",
        "the watched table",
        'migrations.AlterModelTable("product", "Odd Goods")',
        after=Names(table='"Odd Goods"'),
    ),
    Case("AlterModelTableComment", "the watched table", 'migrations.AlterModelTableComment("product", "goods")'),
    Case(
        "AlterUniqueTogether", "with a watched column", 'migrations.AlterUniqueTogether("product", {("id", "price")})'
    ),
    Case("AlterOrderWithRespectTo", "the watched table", 'migrations.AlterOrderWithRespectTo("product", "shop")'),
    Case("AlterModelOptions", "the watched table", 'migrations.AlterModelOptions("product", {"verbose_name": "good"})'),
    Case(
        "AlterModelManagers",
        "the watched table",
        'migrations.AlterModelManagers("product", [("objects", models.Manager())])',
    ),
    Case("AddField", "nullable", 'migrations.AddField("product", "stock", models.IntegerField(null=True))'),
    Case("AddField", "with `default`", 'migrations.AddField("product", "stock", models.IntegerField(default=3))'),
    Case("AddField", "with `db_default`", 'migrations.AddField("product", "stock", models.IntegerField(db_default=3))'),
    Case(
        "AddField",
        "a `ForeignKey`",
        """
        migrations.AddField("product", "second",
            models.ForeignKey("Shop", models.CASCADE, null=True, related_name="+"))""",
    ),
    Case(
        "AddField",
        "a `ManyToManyField`",
        'migrations.AddField("product", "shops", models.ManyToManyField("Shop", related_name="+"))',
    ),
    Case(
        "AddField",
        "a `GeneratedField`",
        """
        migrations.AddField("product", "double", models.GeneratedField(
            expression=models.F("id") * 2, output_field=models.BigIntegerField(), db_persist=True))""",
    ),
    Case(
        "AddField",
        "a unique one",
        'migrations.AddField("product", "stock", models.IntegerField(null=True, unique=True, db_index=True))',
    ),
    Case("RemoveField", "a watched column", 'migrations.RemoveField("product", "price")', after=_NONE),
    Case("RemoveField", "another column", 'migrations.RemoveField("product", "note")'),
    Case("RemoveField", "a `ForeignKey`", 'migrations.RemoveField("product", "shop")'),
    Case("RemoveField", "a `ManyToManyField`", 'migrations.RemoveField("product", "tags")'),
    Case("RenameField", "a watched column", 'migrations.RenameField("product", "price", "cost")', after=_COST),
    Case("RenameField", "another column", 'migrations.RenameField("product", "note", "remark")'),
    Case("RenameField", "the key", 'migrations.RenameField("product", "id", "number")', after=Names(key="number")),
    Case(
        "RenameField",
        "and a new one under the old name",
        """
        migrations.RenameField("product", "price", "cost"),
        migrations.AddField("product", "price", models.IntegerField(default=0))""",
        keeps_price=False,
    ),
    Case(
        "AlterField",
        "type of a watched column",
        'migrations.AlterField("product", "price", models.BigIntegerField(default=0))',
    ),
    Case(
        "AlterField",
        "a watched column to text",
        'migrations.AlterField("product", "price", models.CharField(max_length=20, default=""))',
        after=_TEXT,
        backwards=False,
    ),
    Case(
        "AlterField",
        "type of another column",
        'migrations.AlterField("product", "code", models.BigIntegerField(null=True))',
    ),
    Case(
        "AlterField",
        "`max_length` of another column",
        'migrations.AlterField("product", "note", models.CharField(max_length=90, null=True))',
    ),
    Case(
        "AlterField",
        "type of the key",
        'migrations.AlterField("product", "id", models.IntegerField(primary_key=True))',
        backwards=False,
    ),
    Case(
        "AlterField",
        "`null` of a watched column",
        'migrations.AlterField("product", "price", models.IntegerField(null=True))',
    ),
    Case(
        "AlterField",
        "`unique` of a watched column",
        'migrations.AlterField("product", "price", models.IntegerField(default=0, unique=True))',
    ),
    Case(
        "AlterField",
        "`db_column` of a watched column",
        'migrations.AlterField("product", "price", models.IntegerField(default=0, db_column="cost"))',
        after=_COST,
    ),
    Case(
        "AlterField",
        "`db_default` of a watched column",
        'migrations.AlterField("product", "price", models.IntegerField(db_default=7))',
    ),
    Case(
        "AlterField",
        "`db_comment`, `db_collation`",
        """
        migrations.AlterField("product", "note",
            models.CharField(max_length=40, null=True, db_comment="x", db_collation="C"))""",
    ),
    Case(
        "AlterField",
        "key of the table that is referred to",
        'migrations.AlterField("shop", "id", models.IntegerField(primary_key=True))',
    ),
    Case(
        "AlterField",
        "target of a `ForeignKey`",
        'migrations.AlterField("product", "shop", models.ForeignKey("Tag", models.CASCADE, null=True))',
    ),
    Case(
        "AlterField",
        "`ManyToManyField`, other options",
        'migrations.AlterField("product", "tags", models.ManyToManyField("Tag", blank=True))',
    ),
    Case(
        "AddIndex",
        "on a watched column",
        'migrations.AddIndex("product", models.Index(fields=["price"], name="by_price"))',
    ),
    Case(
        "RemoveIndex",
        "on a watched column",
        'migrations.RemoveIndex("product", "by_price")',
        earlier='migrations.AddIndex("product", models.Index(fields=["price"], name="by_price")),',
    ),
    Case(
        "RenameIndex",
        "on a watched column",
        'migrations.RenameIndex("product", "by_cost", old_name="by_price")',
        earlier='migrations.AddIndex("product", models.Index(fields=["price"], name="by_price")),',
    ),
    Case("AlterIndexTogether", "nothing, since Django 5.1", 'migrations.AlterIndexTogether("product", set())'),
    Case(
        "AddConstraint",
        "a check",
        _CHECK,
    ),
    Case(
        "AddConstraint",
        "unique",
        """
        migrations.AddConstraint("product", models.UniqueConstraint(fields=["id", "price"], name="one"))""",
    ),
    Case(
        "RemoveConstraint",
        "a check",
        'migrations.RemoveConstraint("product", "not_negative")',
        earlier=_CHECK,
    ),
    Case(
        "AlterConstraint",
        "the message of a check",
        """
        migrations.AlterConstraint("product", "not_negative", models.CheckConstraint(
            condition=models.Q(price__gte=0), name="not_negative", violation_error_message="No."))""",
        earlier=_CHECK,
    ),
    Case(
        "RunSQL",
        "`ALTER TABLE` of a watched column",
        """
        migrations.RunSQL("ALTER TABLE shelf_product ALTER COLUMN price TYPE numeric(14,2)",
            "ALTER TABLE shelf_product ALTER COLUMN price TYPE integer")""",
    ),
    Case(
        "RunSQL",
        "with `atomic = False`",
        """
        migrations.RunSQL("ALTER TABLE shelf_product ALTER COLUMN price TYPE numeric(14,2)",
            "ALTER TABLE shelf_product ALTER COLUMN price TYPE integer")""",
        atomic=False,
    ),
    Case(
        "RunSQL",
        "`DROP COLUMN ... CASCADE`, then an `UPDATE`",
        """
        migrations.RunSQL("ALTER TABLE shelf_product DROP COLUMN price CASCADE; UPDATE shelf_product SET code = 3",
            "ALTER TABLE shelf_product ADD COLUMN price integer default 0")""",
        after=_NONE,
        writes=True,
    ),
    Case(
        "RunSQL",
        "the key is dropped",
        """
        migrations.RunSQL("ALTER TABLE shelf_product DROP COLUMN id CASCADE;"
            "ALTER TABLE shelf_product ADD id serial primary key")""",
        keeps_key=False,
        backwards=False,
    ),
    Case(
        "RunPython",
        "that updates rows",
        """
        migrations.RunPython(reprice, migrations.RunPython.noop)""",
        writes=True,
    ),
    Case(
        "RunPython",
        "between operations",
        """
        migrations.AlterField("product", "price", models.BigIntegerField(default=0)),
        migrations.RunPython(reprice, migrations.RunPython.noop),
        migrations.RenameField("product", "price", "cost")""",
        after=_COST,
        writes=True,
        atomic=False,
    ),
    Case(
        "SeparateDatabaseAndState",
        "a watched column",
        """
        migrations.SeparateDatabaseAndState(
            [migrations.RunSQL("ALTER TABLE shelf_product DROP COLUMN price",
                "ALTER TABLE shelf_product ADD COLUMN price integer default 0")],
            [migrations.RemoveField("product", "price")])""",
        after=_NONE,
    ),
]
