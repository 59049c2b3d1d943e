"""Placing and cancelling orders, without selling what is not there."""

from collections.abc import Mapping

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F

from project.shop.models import Order, OrderLine, Product


class OutOfStock(Exception):
    """There are fewer of ``product`` than were asked for."""

    def __init__(self, product: Product, wanted: int) -> None:
        super().__init__(f"There are not {wanted} of {product.name} left.")
        self.product = product
        self.wanted = wanted


@transaction.atomic
def place(customer: User, basket: Mapping[Product, int]) -> Order:
    """Take ``basket`` from the shelf for ``customer``.

    Raises:
        OutOfStock: If any product has too few; nothing is taken then.
    """
    order = Order.objects.create(customer=customer)
    # One order of products for everybody, so that two baskets never wait for each other.
    for product, quantity in sorted(basket.items(), key=lambda line: line[0].pk):
        taken = Product.objects.filter(pk=product.pk, stock__gte=quantity)
        if not taken.update(stock=F("stock") - quantity):
            raise OutOfStock(product, quantity)
        OrderLine.objects.create(
            order=order, product=product, quantity=quantity, price=product.price
        )
    return order


@transaction.atomic
def cancel(pk: int) -> bool:
    """Cancel an order that is still unpaid; false if another hand was first."""
    unpaid = Order.objects.filter(pk=pk, status=Order.Status.PLACED)
    if not unpaid.update(status=Order.Status.CANCELLED):
        return False
    for line in OrderLine.objects.filter(order_id=pk).order_by("product_id"):
        Product.objects.filter(pk=line.product_id).update(stock=F("stock") + line.quantity)
    return True
