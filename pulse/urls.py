"""Pulse's own addresses, to be mounted under any prefix."""

from django.urls import path

from pulse.pages import csp_reports

app_name = "pulse"
urlpatterns = [
    path("csp-reports/<slug:name>/", csp_reports.collect, name="csp-reports"),
]
