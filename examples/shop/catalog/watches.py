"""The watches of the catalogue: which changes start which tasks."""

from catalog.models import Product
from catalog.tasks import reprice
from django_app import watch

watch(Product, task=reprice, on=["update"], columns=["price"])
