"""A model field for text[], as a list of strings: Django's own field needs django.contrib.postgres to be installed."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

# models.Field is generic only in the type stubs, not at run time, so the type arguments are left out.


class TextArrayField(models.Field):  # type: ignore[type-arg]
    """A list of strings. psycopg 3 and psycopg 2 both convert between text[] and lists, so this class does not."""

    description = "List of texts"
    empty_strings_allowed = False  # so that the admin's filter for empty values doesn't compare an array with ''

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "text[]"

    def to_python(self, value: Any) -> list[str] | None:
        if value is None or (isinstance(value, list | tuple) and all(isinstance(text, str) for text in value)):
            return None if value is None else list(value)
        raise ValidationError(f"{value!r} is not a list of texts.", code="invalid")

    def value_to_string(self, obj: models.Model) -> Any:
        """Returns the list itself: every format of Django's serializers has lists."""
        return self.value_from_object(obj)


@TextArrayField.register_lookup
class TextArrayContains(models.Lookup):
    """The lookup `operations__contains=["update"]`: the column contains every text of the list."""

    lookup_name = "contains"

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
        column, column_params = self.process_lhs(compiler, connection)
        texts, params = self.process_rhs(compiler, connection)
        return f"{column} @> {texts}::text[]", (*column_params, *params)
