from typing import TYPE_CHECKING

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from project.shop.models import Order, OrderLine, Product

if TYPE_CHECKING:
    ProductAdminBase = admin.ModelAdmin[Product]
    OrderAdminBase = admin.ModelAdmin[Order]
    LineInlineBase = admin.TabularInline[OrderLine, Order]
else:
    ProductAdminBase = OrderAdminBase = admin.ModelAdmin
    LineInlineBase = admin.TabularInline


@admin.register(Product)
class ProductAdmin(ProductAdminBase):
    list_display = ("name", "sku", "price", "stock", "created_at")
    search_fields = ("name", "sku", "description")


class LineInline(LineInlineBase):
    model = OrderLine
    autocomplete_fields = ("product",)
    extra = 0


@admin.register(Order)
class OrderAdmin(OrderAdminBase):
    list_display = ("__str__", "customer", "status", "total", "created_at")
    list_filter = ("status",)
    date_hierarchy = "created_at"
    autocomplete_fields = ("customer",)
    inlines = (LineInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Order]:
        return super().get_queryset(request).select_related("customer").prefetch_related("lines")
