"""Pulse's own addresses, to be mounted under any prefix."""

from django.urls import include, path, register_converter

from pulse.pages import (
    csp_reports,
    dashboard,
    doctor,
    endpoints,
    explain,
    incidents,
    jobs,
    metrics,
    policies,
    probes,
    status,
    timeline,
)
from pulse.pages.converters import TargetConverter

register_converter(TargetConverter, "pulse_target")

app_name = "pulse"
urlpatterns = [
    path("", dashboard.show, name="dashboard"),
    path("policies/", policies.listing, name="policies"),
    path("explain/", explain.show, name="explain"),
    path("explain/exception/", explain.make_exception, name="explain-exception"),
    path("probes/", probes.listing, name="probes"),
    path("probes/<pulse_target:name>/", probes.detail, name="probe"),
    path("probes/<pulse_target:name>/mode/", probes.switch, name="probe-mode"),
    path("jobs/", jobs.collection, name="jobs"),
    path("jobs/<int:pk>/", jobs.detail, name="job"),
    path("jobs/<int:pk>/cancel/", jobs.cancel, name="job-cancel"),
    path("jobs/<int:pk>/rerun/", jobs.rerun, name="job-rerun"),
    path("doctor/", doctor.show, name="doctor"),
    path("endpoints/", endpoints.listing, name="endpoints"),
    path("incidents/", incidents.listing, name="incidents"),
    path("incidents/<int:pk>/", incidents.detail, name="incident"),
    path("incidents/<int:pk>/notes/", incidents.note, name="incident-note"),
    path("timeline/", timeline.show, name="timeline"),
    path("status/", status.page, name="status"),
    path("status/badges/<str:slug>.svg", status.badge, name="badge"),
    path("metrics", metrics.scrape, name="metrics"),
    path("api/v1/", include("pulse.api.urls")),
    path("csp-reports/<slug:name>/", csp_reports.collect, name="csp-reports"),
]
