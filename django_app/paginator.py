"""Pages of a log that is too long to be counted."""

from typing import Any, cast

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property

MOST = 10_000
"""Rows that are counted, and so can be paged to; filters and the search reach the rest."""


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # generic for the type checker only
    @cached_property
    def count(self) -> int:
        # Without the order: PostgreSQL then stops at the bound and sorts nothing.
        return cast("QuerySet[Any]", self.object_list).order_by()[:MOST].count()
