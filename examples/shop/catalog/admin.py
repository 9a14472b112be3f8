"""The catalogue is edited here and nowhere else: Django's own admin, its own transaction."""

from django.contrib import admin

from catalog.models import LegacyOffer, LegacyProduct, Offer, Product, TaskRun

# The admin's classes are generic for the type checker only, hence the ignores.


class OfferInline(admin.TabularInline):  # type: ignore[type-arg]
    model = Offer
    extra = 0
    readonly_fields = ("price",)


class LegacyOfferInline(admin.TabularInline):  # type: ignore[type-arg]
    model = LegacyOffer
    extra = 0
    readonly_fields = ("price",)


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    inlines = (OfferInline,)
    list_display = ("name", "price")
    search_fields = ("name",)


@admin.register(LegacyProduct)
class LegacyProductAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    inlines = (LegacyOfferInline,)
    list_display = ("name", "price")
    search_fields = ("name",)


@admin.register(TaskRun)
class TaskRunAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("task", "product_id", "price_seen", "started_at", "task_id")
    list_filter = ("task",)
