"""The shop: a Django project whose catalogue is edited in the admin only."""

from shop.celery import app as celery_app

__all__ = ["celery_app"]
