"""The pages of Django's admin. Django imports this package, and each module registers its pages."""

from django_app.admin import dead_letter, event, stream, watch

__all__ = ["dead_letter", "event", "stream", "watch"]
