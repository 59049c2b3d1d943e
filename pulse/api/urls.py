"""Every resource of the API, in one place.

To add one, write a view and name it here (``docs/api.md``, "Adding a resource").
"""

from django.urls import URLPattern, path

from pulse.api.alerts import VIEWS as ALERTS
from pulse.api.alerts import (
    ChannelDeliveries,
    ChannelTest,
    IncidentDetail,
    IncidentList,
    IncidentNotes,
)
from pulse.api.audit import Audit
from pulse.api.docs import Docs, Schema
from pulse.api.document import Policy, Publish
from pulse.api.endpoints import Endpoints
from pulse.api.explain import Explain
from pulse.api.headroom import EndpointLimitDetail, EndpointLimitList
from pulse.api.index import Index
from pulse.api.jobs import (
    ItemList,
    JobCancellation,
    JobDetail,
    JobList,
    JobRepetition,
    ResultDetail,
    ResultList,
)
from pulse.api.keys import KeyDetail, KeyList, KeyRevocation, KeyRotation
from pulse.api.metrics import History, Metrics
from pulse.api.policies import PolicyDetail, PolicyList, name_of
from pulse.api.probes import VIEWS as PROBES
from pulse.api.processes import Processes
from pulse.api.quota import Quota
from pulse.api.revisions import Revision, RevisionDifference, RevisionList, RevisionRollback
from pulse.api.simulate import Simulate
from pulse.api.views import Nowhere
from pulse.core.snapshot import ENDPOINTS
from pulse.policies import kinds

#: Kinds whose views have fields of their own, by the kind's name: the list's and the details'.
SPECIAL: dict[str, tuple[type[PolicyList], type[PolicyDetail]]] = {
    **PROBES,
    **ALERTS,
    ENDPOINTS: (EndpointLimitList, EndpointLimitDetail),
}


def _of_kinds() -> list[URLPattern]:
    found = []
    for kind in kinds.all_kinds():
        several, one = SPECIAL.get(kind.name, (PolicyList, PolicyDetail))
        name = name_of(kind)
        found += [
            path(f"{name}/", several.as_view(kind_name=kind.name), name=f"api-{name}"),
            path(
                f"{name}/<str:ident>/", one.as_view(kind_name=kind.name), name=f"api-{name}-detail"
            ),
        ]
    return found


urlpatterns: list[URLPattern] = [
    *_of_kinds(),
    path(
        "alert-channels/<str:ident>/test/",
        ChannelTest.as_view(),
        name="api-alert-channels-test",
    ),
    path(
        "alert-channels/<str:ident>/deliveries/",
        ChannelDeliveries.as_view(),
        name="api-alert-channels-deliveries",
    ),
    path("incidents/", IncidentList.as_view(), name="api-incidents"),
    path("incidents/<str:ident>/", IncidentDetail.as_view(), name="api-incidents-detail"),
    path("incidents/<str:ident>/notes/", IncidentNotes.as_view(), name="api-incidents-notes"),
    path("schema/", Schema.as_view(), name="api-schema"),
    path("docs/", Docs.as_view(), name="api-docs"),
    path("audit/", Audit.as_view(), name="api-audit"),
    path("processes/", Processes.as_view(), name="api-processes"),
    path("revisions/", RevisionList.as_view(), name="api-revisions"),
    path("revisions/<str:number>/", Revision.as_view(), name="api-revisions-detail"),
    path("revisions/<str:number>/diff/", RevisionDifference.as_view(), name="api-revisions-diff"),
    path(
        "revisions/<str:number>/rollback/",
        RevisionRollback.as_view(),
        name="api-revisions-rollback",
    ),
    path("policy/", Policy.as_view(), name="api-policy"),
    path("policy/publish/", Publish.as_view(), name="api-policy-publish"),
    path("api-keys/", KeyList.as_view(), name="api-api-keys"),
    path("api-keys/<str:ident>/", KeyDetail.as_view(), name="api-api-keys-detail"),
    path("api-keys/<str:ident>/rotate/", KeyRotation.as_view(), name="api-api-keys-rotate"),
    path("api-keys/<str:ident>/revoke/", KeyRevocation.as_view(), name="api-api-keys-revoke"),
    path("endpoints/", Endpoints.as_view(), name="api-endpoints"),
    path("explain/", Explain.as_view(), name="api-explain"),
    path("jobs/", JobList.as_view(), name="api-jobs"),
    path("jobs/<str:ident>/", JobDetail.as_view(), name="api-jobs-detail"),
    path("jobs/<str:ident>/cancel/", JobCancellation.as_view(), name="api-jobs-cancel"),
    path("jobs/<str:ident>/rerun/", JobRepetition.as_view(), name="api-jobs-rerun"),
    path("jobs/<str:ident>/items/", ItemList.as_view(), name="api-jobs-items"),
    path("results/", ResultList.as_view(), name="api-results"),
    path("results/<str:ident>/", ResultDetail.as_view(), name="api-results-detail"),
    path("metrics/", Metrics.as_view(), name="api-metrics"),
    path("metrics/history/", History.as_view(), name="api-metrics-history"),
    path("quota/", Quota.as_view(), name="api-quota"),
    path("simulate/", Simulate.as_view(), name="api-simulate"),
    path("", Index.as_view(), name="api-index"),
    path("<path:address>", Nowhere.as_view()),
]
