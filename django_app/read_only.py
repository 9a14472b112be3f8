"""Read-only rows: the bridge's tables are changed by its SQL functions only, never through Django's models."""

from typing import Any, NoReturn

from django.db import models

# models.QuerySet is generic only in the type stubs, not at run time, so the type arguments are left out.


class ReadOnlyError(TypeError):
    """A write through a model of the bridge."""


def _refuse(model: type[models.Model] | None) -> NoReturn:
    table = model._meta.db_table.replace('"', "") if model else "bridge"
    raise ReadOnlyError(
        f"the rows of {table} can't be changed through Django, since events that wait would be lost: `bridge run` "
        "removes delivered events, `manage.py flush` those of a test, `manage.py bridge dead-letters` settles dead "
        "letters, and `manage.py migrate` changes watches"
    )


class ReadOnlyQuerySet(models.QuerySet):  # type: ignore[type-arg]
    """A query that refuses to write."""

    def _refused(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse(self.model)

    _refused.alters_data = True  # type: ignore[attr-defined]  # templates don't call it
    create = bulk_create = get_or_create = update_or_create = _refused
    update = bulk_update = delete = _raw_delete = _refused


class ReadOnlyModel(models.Model):
    """A model whose rows can only be read."""

    objects = ReadOnlyQuerySet.as_manager()

    class Meta:
        abstract = True
        base_manager_name = "objects"

    def save(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuses."""
        _refuse(type(self))

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuses."""
        _refuse(type(self))
