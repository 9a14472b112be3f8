"""A column of type text[], as a list of strings: Django's own field wants django.contrib.postgres to be installed."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

# Generic for the type checker only, hence the ignore.


class TextArrayField(models.Field):  # type: ignore[type-arg]
    """psycopg, 3 as well as 2, reads text[] as a list and writes a list as text[]: nothing is left to convert."""

    description = "List of texts"
    empty_strings_allowed = False  # the admin's filter for empty values must not compare an array with ''

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "text[]"

    def to_python(self, value: Any) -> list[str] | None:
        if value is None or (isinstance(value, list | tuple) and all(isinstance(text, str) for text in value)):
            return None if value is None else list(value)
        raise ValidationError(f"{value!r} is not a list of texts.", code="invalid")

    def value_to_string(self, obj: models.Model) -> Any:
        """As it is: every format of Django's serializers has lists."""
        return self.value_from_object(obj)


@TextArrayField.register_lookup
class TextArrayContains(models.Lookup):
    """`operations__contains=["update"]`: every text of the list is in the column."""

    lookup_name = "contains"

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
        column, column_params = self.process_lhs(compiler, connection)
        texts, params = self.process_rhs(compiler, connection)
        return f"{column} @> {texts}::text[]", (*column_params, *params)
