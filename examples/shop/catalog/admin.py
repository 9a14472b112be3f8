"""The admin, which is the only place where the catalogue is edited. Django saves each form in one transaction."""

from django.contrib import admin

from catalog.models import LegacyOffer, LegacyProduct, Offer, Product, TaskRun

# Django's admin classes are generic only in the type stubs, not at run time, so the type arguments are left out.


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
