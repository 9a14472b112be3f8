"""The pages of Django's admin. Django imports this package, and each module registers its pages."""

from django_app.admin import event, watch

__all__ = ["event", "watch"]
