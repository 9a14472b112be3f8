"""The models of the bridge's tables can't lose what waits."""

from collections.abc import Callable

import pytest
from catalog.models import Product

from django_app.models import Event, Watch
from django_app.read_only import ReadOnlyError
from tests.fix_postgres import Database


@pytest.mark.parametrize(
    "write",
    [
        lambda: Event.objects.all().delete(),
        lambda: Event.objects.filter(watch="w").delete(),
        lambda: Event.objects.update(watch="w"),
        lambda: Event.objects.create(id=1),
        lambda: Event.objects.bulk_create([Event(id=1)]),
        lambda: Event.objects.get_or_create(id=1),
        lambda: Event.objects.get().delete(),
        lambda: Event.objects.get().save(),
        lambda: Watch.objects.all().delete(),
        lambda: Event._base_manager.all().delete(),
    ],
)
def test_a_write_is_refused_and_says_what_does_it_instead(migrated: Database, write: Callable[[], object]) -> None:
    product = Product.objects.create(name="Tea", price=1)
    Product.objects.filter(pk=product.pk).update(price=2)
    with pytest.raises(ReadOnlyError, match=r"the rows of bridge\.(event|watch) can't be changed through Django"):
        write()
    assert Event.objects.count() == 1
    assert Watch.objects.count() == 1
