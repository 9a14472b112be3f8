"""The admin page of watches, which is read-only."""

from django.contrib import admin

from django_app.admin.base import ReadOnlyAdmin
from django_app.models import Watch


@admin.register(Watch)
class WatchAdmin(ReadOnlyAdmin):
    list_display = ("name", "relation", "operations", "columns", "task", "stream", "changed_at", "removed_at")
    list_filter = ("stream", ("removed_at", admin.EmptyFieldListFilter))
    search_fields = ("name", "task")
