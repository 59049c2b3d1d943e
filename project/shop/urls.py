from django.urls import path

from project.shop import export, views

urlpatterns = [
    path("", views.home, name="home"),
    path("api/products/", views.Products.as_view(), name="products"),
    path("api/products/<int:pk>/", views.ProductDetail.as_view(), name="product"),
    path("api/orders/", views.Orders.as_view(), name="orders"),
    path("api/search/", views.Search.as_view(), name="search"),
    path("api/export/", export.export, name="export"),
    path("api/upload/", views.upload, name="upload"),
    path("api/slow/", views.slow, name="slow"),
    path("api/flaky/", views.flaky, name="flaky"),
    path("api/echo/", views.echo, name="echo"),
]
