"""Condition: a `Q` over the old and the new row, as the SQL text of a trigger's condition.

    Q(new__active=True) & ~Q(old__price=F("new__price"))

Django's own lookups, transforms and fields make the SQL, as they do for a query. Only the columns belong to the rows
`old` and `new`, and the values stand in the text, since a trigger has no parameters.
"""

import re
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import EmptyResultSet, FieldDoesNotExist, FullResultSet, ValidationError
from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.constants import LOOKUP_SEP
from django.db.models.expressions import Col
from django.db.models.functions import Coalesce
from django.db.models.lookups import Exact
from django.db.models.sql import Query
from django.db.models.sql.where import WhereNode

from django_app.database import alias
from django_app.declarations.literal import literal

SIDES = ("old", "new")
# The text has no values yet, so there are no other quotes than Django's own, and those of names.
_ESCAPE_STRING = re.compile(r"""\"(?:[^"]|"")*\"|\bE('[^']*')""")


class ConditionError(Exception):
    """The condition can't become SQL. The message says why."""


class Condition:
    """A condition of a watch on one model."""

    def __init__(self, model: type[models.Model], q: models.Q) -> None:
        self._query = _RowQuery(model)
        self._q = q

    @property
    def fields(self) -> list[str]:
        """The names of the fields that the condition uses. They are known after `sql`."""
        return sorted(self._query.used)

    def sql(self) -> str:
        """Returns the SQL text; raises ConditionError."""
        connection: BaseDatabaseWrapper = connections[alias()]
        try:
            where = self._where(self._q, decided=False)
            compiler = self._query.get_compiler(connection=connection)
            text, params = where.as_sql(compiler, connection)
            return _plain(text) % tuple(literal(value) for value in params)
        except EmptyResultSet as error:
            raise ConditionError("it is never true") from error
        except FullResultSet as error:
            raise ConditionError("it is empty or always true, so leave it out") from error
        except ConditionError:
            raise
        except Exception as error:  # Django's lookups and a project's own fields raise any
            raise ConditionError(_said(error)) from error

    def _where(self, q: models.Q, *, decided: bool) -> WhereNode:
        """Returns the SQL of a Q. What is `decided` is true or false, and never NULL, since its contrary counts too."""
        decided |= q.negated or q.connector == models.Q.XOR
        node = WhereNode(connector=q.connector, negated=q.negated)
        for child in q.children:
            if isinstance(child, models.Q):
                node.add(self._where(child, decided=decided), q.connector)
            elif isinstance(child, tuple):
                node.add(self._compared(*child, decided=decided), q.connector)
            else:
                raise ConditionError(f"{child!r} is neither a Q nor a comparison such as new__price=3")
        return node

    def _compared(self, path: str, value: Any, *, decided: bool) -> Any:
        """Returns one comparison.

        Django's `exclude` decides only for NULL in the column itself, and so loses rows whose JSON lacks the key.
        """
        column, lookups = self._query.column(path)
        value = self._value(value)
        comparison: Any = self._query.build_lookup(lookups, column, value)
        is_equality = isinstance(comparison, Exact)
        if is_equality and hasattr(value, "resolve_expression"):
            comparison.get_rhs_op = _not_distinct
            return comparison
        return Coalesce(comparison, False, output_field=models.BooleanField()) if decided else comparison

    def _value(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(self._value(each) for each in value)
        if isinstance(value, Iterator):
            raise ConditionError("an iterator can be read only once, so write a list")
        if isinstance(value, models.QuerySet):
            raise ConditionError("a trigger can't run a query for each row, so a QuerySet is not a value")
        return value.resolve_expression(self._query) if hasattr(value, "resolve_expression") else value


class _Column(Col):
    """A column of one of the two rows. Its name may have a percent sign."""

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper) -> tuple[str, Any]:
        text, params = super().as_sql(compiler, connection)
        return text.replace("%", "%%"), params


class _RowQuery(Query):
    """A query whose names begin with `old__` or `new__`, and which has no joins."""

    def __init__(self, model: type[models.Model]) -> None:
        super().__init__(model)
        self.used: set[str] = set()

    def resolve_ref(self, name: str, *_: Any, **__: Any) -> Any:
        """Resolves the F of an expression; Django calls it."""
        column, lookups = self.column(name)
        expression: Any = column
        for each in lookups:
            expression = self.try_transform(expression, each)
        return expression

    def column(self, path: str) -> tuple[Col, list[str]]:
        """Returns the column that a path begins with, and the lookups and transforms that follow."""
        side, *names = path.split(LOOKUP_SEP)
        if side not in SIDES or not names:
            raise ConditionError(f"'{path}' does not begin with old__ or new__")
        field: Any = self._field(names[0])
        target = _target(field)
        if target is not None and len(names) > 1 and _is_named(target, names[1]):
            names.pop(1)
        self.used.add(field.name)
        # The column of a foreign key compares like the field that it refers to.
        return _Column(side, field, target or field), names[1:]

    def _field(self, name: str) -> Any:
        options: Any = self.model._meta  # type: ignore[union-attr]
        if name == "pk":
            name = options.pk.name
        try:
            field = options.get_field(name)
        except FieldDoesNotExist:
            field = None
        if field is None or field not in options.concrete_fields or field.column is None:
            known = ", ".join(sorted(_known(options)))
            raise ConditionError(f"{options.label} has no field '{name}' with a column; its fields are: {known}")
        return field


def _not_distinct(_: BaseDatabaseWrapper, right: str) -> str:
    """Returns the operator of an equality for which NULL is a value like others: its `~` then means "changed"."""
    return f"IS NOT DISTINCT FROM {right}"


def _target(field: Any) -> Any:
    """Returns the field that has the values of this foreign key; None for other fields."""
    target = field.target_field if field.is_relation else None
    return _target(target) or target if target is not None else None


def _is_named(target: Any, name: str) -> bool:
    """Whether `owner__<name>` is the column of the foreign key `owner` itself."""
    return name in (target.name, target.attname) or (name == "pk" and target.primary_key)


def _plain(text: str) -> str:
    """Returns the SQL without the escape strings that Django writes around a column which is a pattern.

    triggers.sql refuses them (see literal.py).
    """
    return _ESCAPE_STRING.sub(lambda found: found[0] if found[1] is None else found[1].replace(r"\\", "\\"), text)


def _known(options: Any) -> Iterator[str]:
    return (field.name for field in options.concrete_fields)


def _said(error: Exception) -> str:
    return "; ".join(error.messages) if isinstance(error, ValidationError) else " ".join(str(error).split())
