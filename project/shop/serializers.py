"""What the API takes and gives."""

from decimal import Decimal
from typing import Any

from rest_framework import serializers

from project.shop.models import Order, OrderLine, Product

MAX_LINES = 20
MAX_SECONDS = Decimal(30)


class ProductSerializer(serializers.ModelSerializer[Product]):
    class Meta:
        model = Product
        fields = ("id", "sku", "name", "description", "price", "stock", "created_at")


class OrderLineSerializer(serializers.ModelSerializer[OrderLine]):
    quantity = serializers.IntegerField(min_value=1, max_value=100, default=1)

    class Meta:
        model = OrderLine
        fields = ("product", "quantity", "price")
        read_only_fields = ("price",)


class OrderSerializer(serializers.ModelSerializer[Order]):
    lines = OrderLineSerializer(many=True, allow_empty=False)
    total = serializers.DecimalField(max_digits=12, decimal_places=2, read_only=True)

    class Meta:
        model = Order
        fields = ("id", "status", "lines", "total", "created_at")
        read_only_fields = ("status",)

    def validate_lines(self, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if len(lines) > MAX_LINES:
            raise serializers.ValidationError(f"An order has at most {MAX_LINES} lines.")
        if len({line["product"].pk for line in lines}) < len(lines):
            raise serializers.ValidationError("Name each product once, with its quantity.")
        return lines


class SearchQuery(serializers.Serializer[None]):
    q = serializers.CharField(max_length=100, allow_blank=True, default="")


class SlowQuery(serializers.Serializer[None]):
    # A decimal, since a float would let "nan" and "inf" through.
    seconds = serializers.DecimalField(
        max_digits=6,
        decimal_places=3,
        min_value=Decimal(0),
        max_value=MAX_SECONDS,
        default=Decimal(1),
    )
