"""The site's addresses."""

from django.contrib import admin
from django.contrib.auth.views import LoginView
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path(
        "accounts/login/",
        LoginView.as_view(
            template_name="accounts/login.html",
            redirect_authenticated_user=True,
        ),
        name="login",
    ),
    path("pulse/", include("pulse.urls")),
    path("", include("pulse.health_urls")),
    path("", include("project.shop.urls")),
]

handler400 = "pulse.errors.bad_request"
handler403 = "pulse.errors.permission_denied"
handler404 = "pulse.errors.page_not_found"
handler500 = "pulse.errors.server_error"
