"""``healthz`` and ``readyz``, to be mounted where load balancers and orchestrators look."""

from django.urls import path

from pulse.pages import health

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]
