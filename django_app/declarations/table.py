"""The table and the columns that a declaration names: by model and field, or as SQL writes them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from django.core.exceptions import FieldDoesNotExist
from django.db import models

from django_app.errors import DeclarationError


class Table(Protocol):
    @property
    def label(self) -> str:
        """The beginning of the default name of a watch."""
        ...

    def place(self, names: Mapping[str, Sequence[str]]) -> tuple[str, dict[str, list[str]]]:
        """Returns the relation as SQL writes it, and the columns for the names in each parameter."""
        ...


@dataclass(frozen=True)
class NamedTable:
    name: str

    @property
    def label(self) -> str:
        return re.sub(r'"', "", self.name)

    def place(self, names: Mapping[str, Sequence[str]]) -> tuple[str, dict[str, list[str]]]:
        return self.name, {parameter: list(listed) for parameter, listed in names.items()}


@dataclass(frozen=True)
class ModelTable:
    model: type[models.Model]
    origin: str

    @property
    def label(self) -> str:
        return self.model._meta.label_lower

    def place(self, names: Mapping[str, Sequence[str]]) -> tuple[str, dict[str, list[str]]]:
        """Returns the table that has the fields. With multi-table inheritance it may be the table of a parent model."""
        if self.model._meta.abstract or self.model._meta.swapped:
            said = f"{self.model.__name__} is {'abstract' if self.model._meta.abstract else 'swapped out'}"
            raise DeclarationError("bridge.E007", self.origin, f"{said} and has no table")
        fields = {
            parameter: [field for name in listed for field in self._fields(name)] for parameter, listed in names.items()
        }
        home = {field.name: field.model._meta.db_table for found in fields.values() for field in found}
        tables = sorted(set(home.values())) or [self.model._meta.db_table]
        if len(tables) > 1:
            places = ", ".join(f"{name} in {table}" for name, table in sorted(home.items()))
            raise DeclarationError(
                "bridge.E007",
                self.origin,
                f"fields of {self.model._meta.label} are in {len(tables)} tables ({places})",
                "A watch has one table: declare one watch for each of these models.",
            )
        return quoted(tables[0]), {
            parameter: [str(field.column) for field in found] for parameter, found in fields.items()
        }

    def _fields(self, name: str) -> list["models.Field[Any, Any]"]:
        options = self.model._meta
        if name == "pk":
            return list(options.pk_fields)
        try:
            field: Any = options.get_field(name)
        except FieldDoesNotExist:
            field = next((each for each in options.concrete_fields if each.column == name), None)
        if field not in options.concrete_fields or field.column is None:
            said = f"'{name}' is not a field of {options.label} that has a column"
            known = ", ".join(each.name for each in options.concrete_fields)
            fix = f"Its fields: {known}."
            if field is not None and field.many_to_many:
                fix = f"Watch the table of the relation: {options.object_name}.{name}.through."
            raise DeclarationError("bridge.E001", self.origin, said, fix)
        return [field]


def quoted(table: str) -> str:
    """Returns a db_table as SQL writes it, by Django's own rule: '"schema"."table"' is already quoted."""
    return table if table.startswith('"') and table.endswith('"') else f'"{table}"'
