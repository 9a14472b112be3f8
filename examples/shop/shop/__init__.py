"""The shop: a Django project whose catalogue is edited only in the admin."""

from shop.celery import app as celery_app

__all__ = ["celery_app"]
