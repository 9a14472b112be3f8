"""Model fields for dead letters, whose values may be the very reason why they are dead letters."""

from typing import Any

from django.db import models

# models.Field is generic only in the type stubs, not at run time, so the type arguments are left out.


class LenientDateTimeField(models.DateTimeField):  # type: ignore[type-arg]
    """A time; None where it is outside the range of Python's datetime."""

    def select_format(self, compiler: Any, sql: str, params: Any) -> tuple[str, Any]:
        first = f"{sql} OPERATOR(pg_catalog.>=) '0001-01-02'::pg_catalog.timestamptz"
        last = f"{sql} OPERATOR(pg_catalog.<) '9999-12-31'::pg_catalog.timestamptz"
        return f"CASE WHEN {first} AND {last} THEN {sql} END", [*params] * 3


class LenientJSONField(models.JSONField):
    """A JSON value; its text where Python can't read it."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        try:
            return super().from_db_value(value, expression, connection)
        except (ValueError, RecursionError):
            return value
