"""A paginator for a log that is too long to be counted."""

from typing import Any, cast

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property

MOST = 10_000
"""The largest number of rows that are counted and shown in pages; filters and the search reach the other rows."""


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # generic for the type checker only
    @cached_property
    def count(self) -> int:
        # Without an order PostgreSQL stops at the limit and sorts nothing.
        return cast("QuerySet[Any]", self.object_list).order_by()[:MOST].count()
