"""What the bridge does for the catalogue."""

from catalog.models import Product
from catalog.tasks import reprice
from django_app import watch

watch(Product, task=reprice, on=["update"], columns=["price"])
