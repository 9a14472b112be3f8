"""`manage.py seed`: adds products with their offers to both catalogues."""

from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from catalog.models import LegacyOffer, LegacyProduct, Offer, Product

KINDS: list[tuple[type[Any], type[Any]]] = [(Product, Offer), (LegacyProduct, LegacyOffer)]
PRICE = Decimal("10.00")


class Command(BaseCommand):
    help = "Adds products with their offers to both catalogues."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--products", type=int, default=40, help="Products per catalogue.")
        parser.add_argument("--offers", type=int, default=20, help="Offers per product.")

    @transaction.atomic
    def handle(self, *, products: int, offers: int, **options: Any) -> None:
        for product_model, offer_model in KINDS:
            # bulk_create sends no signals and does not call save(), so the old way would start no task for these.
            made = product_model.objects.bulk_create(
                product_model(name=f"Product {number}", price=PRICE) for number in range(1, products + 1)
            )
            offer_model.objects.bulk_create(
                offer_model(product=product, channel=f"Shop {number}", stock=number)
                for product in made
                for number in range(1, offers + 1)
            )
        self.stdout.write(f"{products} products with {offers} offers each, in both catalogues.")
