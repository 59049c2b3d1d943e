import pytest
from django.contrib.auth.models import User
from django.test import Client

from project.shop.models import Product


@pytest.fixture
def mug(db: None) -> Product:
    return Product.objects.create(
        sku="mug", name="Mug", description="Holds tea", price="9.50", stock=3
    )


@pytest.fixture
def kettle(db: None) -> Product:
    return Product.objects.create(sku="kettle", name="=Kettle", price="60.00", stock=1)


@pytest.fixture
def customer(db: None) -> User:
    return User.objects.create_user("ada", password="correct horse")


@pytest.fixture
def visitor(client: Client) -> Client:
    """A client that sees the error pages instead of the exceptions behind them."""
    client.raise_request_exception = False
    return client
