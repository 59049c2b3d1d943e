"""What each address of pulse's asks for, by method: the table that ``test_walk`` walks.

Whoever adds an address adds a line: its route under the mount point, and for each method the
scope that it takes; OPEN asks nobody, and methods that are not named do not exist. Screens of the
admin go by their name. Nobody may what is CLOSED.
"""

from collections.abc import Mapping
from typing import Final

from pulse.access.scopes import Scope

OPEN: Final = None
CLOSED: Final = "closed"
VIEW, OPERATE, ADMINISTER = Scope.VIEW, Scope.OPERATE, Scope.ADMINISTER

Asked = Mapping[str, Scope | None]

EVERYTHING: Final[Asked] = dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), OPEN)
PAGES: Final[dict[str, Asked]] = {
    "": {"GET": VIEW},
    "csp-reports/<slug:name>/": {"POST": OPEN},
    "doctor/": {"GET": VIEW},
    "endpoints/": {"GET": VIEW},
    "explain/": {"GET": VIEW, "POST": VIEW},
    "explain/exception/": {"POST": ADMINISTER},
    "incidents/": {"GET": VIEW},
    "incidents/<int:pk>/": {"GET": VIEW},
    "incidents/<int:pk>/notes/": {"POST": OPERATE},
    "jobs/": {"GET": VIEW, "POST": OPERATE},
    "jobs/<int:pk>/": {"GET": VIEW},
    "jobs/<int:pk>/cancel/": {"POST": OPERATE},
    "jobs/<int:pk>/rerun/": {"POST": OPERATE},
    # From networks that PULSE["METRICS_NETWORKS"] does not name.
    "metrics": {"GET": VIEW},
    "policies/": {"GET": VIEW},
    "probes/": {"GET": VIEW},
    "probes/<pulse_target:name>/": {"GET": VIEW},
    "probes/<pulse_target:name>/mode/": {"POST": ADMINISTER},
    "status/": {"GET": OPEN},
    "status/badges/<str:slug>.svg": {"GET": OPEN},
    "timeline/": {"GET": VIEW},
}

READ: Final[Asked] = {"GET": VIEW}
MANY: Final[Asked] = {"GET": VIEW, "POST": ADMINISTER}
ONE: Final[Asked] = {"GET": VIEW, "PUT": ADMINISTER, "PATCH": ADMINISTER, "DELETE": ADMINISTER}
#: Resources whose list is ``MANY`` and whose rows are ``ONE``.
POLICIES: Final = (
    "access-rules",
    "alert-channels",
    "alert-rules",
    "cors-origins",
    "endpoint-limits",
    "exemptions",
    "header-policies",
    "maintenance-windows",
    "payloads",
    "probe-budgets",
    "probe-schedules",
    "probe-targets",
    "rate-tiers",
    "tier-assignments",
    "trusted-proxies",
)
API: Final[dict[str, Asked]] = {
    **{f"{name}/": MANY for name in POLICIES},
    **{f"{name}/<str:ident>/": ONE for name in POLICIES},
    # Nothing is there: a problem says so, to anybody.
    "": {"GET": OPEN},
    "<path:address>": EVERYTHING,
    "api-keys/": {"GET": ADMINISTER, "POST": ADMINISTER},
    "api-keys/<str:ident>/": {**ONE, "GET": ADMINISTER},
    "api-keys/<str:ident>/revoke/": {"POST": ADMINISTER},
    "api-keys/<str:ident>/rotate/": {"POST": ADMINISTER},
    "audit/": {"GET": ADMINISTER},
    "docs/": {"GET": OPEN},
    "endpoints/": READ,
    "explain/": {"POST": VIEW},
    "alert-channels/<str:ident>/deliveries/": READ,
    "alert-channels/<str:ident>/test/": {"POST": OPERATE},
    "incidents/": READ,
    "incidents/<str:ident>/": READ,
    "incidents/<str:ident>/notes/": {"POST": OPERATE},
    "jobs/": {"GET": VIEW, "POST": OPERATE},
    "jobs/<str:ident>/": READ,
    "jobs/<str:ident>/cancel/": {"POST": OPERATE},
    "jobs/<str:ident>/items/": READ,
    "jobs/<str:ident>/rerun/": {"POST": OPERATE},
    "metrics/": READ,
    "metrics/history/": READ,
    "policy/": {"GET": VIEW, "PUT": ADMINISTER},
    "policy/publish/": {"POST": ADMINISTER},
    "processes/": READ,
    "quota/": {"GET": OPEN},
    "results/": READ,
    "results/<str:ident>/": READ,
    "revisions/": READ,
    "revisions/<str:number>/": READ,
    "revisions/<str:number>/diff/": READ,
    "revisions/<str:number>/rollback/": {"POST": ADMINISTER},
    "schema/": {"GET": OPEN},
    "simulate/": {"POST": VIEW},
}

#: The five screens of a model of policies.
SCREENS: Final = {
    "changelist": VIEW,
    "add": ADMINISTER,
    "change": VIEW,
    "history": VIEW,
    "delete": ADMINISTER,
}
SHOWN_ONLY: Final = {**SCREENS, "add": CLOSED, "delete": CLOSED}
MODELS: Final = {
    "accessrule": SCREENS,
    "alertchannel": SCREENS,
    "alertrule": SCREENS,
    "apikey": dict.fromkeys(SCREENS, ADMINISTER),
    # Who did what is for who administers.
    "auditentry": {
        name: CLOSED if asked == CLOSED else ADMINISTER for name, asked in SHOWN_ONLY.items()
    },
    "corsorigin": SCREENS,
    "endpointlimit": SCREENS,
    "exemption": SCREENS,
    "headerpolicy": SCREENS,
    "maintenancewindow": SCREENS,
    "policyrevision": SHOWN_ONLY,
    "probebudget": SCREENS,
    "probeitem": SHOWN_ONLY,
    "probejob": SHOWN_ONLY,
    "probepayload": SCREENS,
    "probeschedule": SCREENS,
    "probetarget": SCREENS,
    "probeworker": SHOWN_ONLY,
    "ratetier": SCREENS,
    "tierassignment": SCREENS,
    "trustedproxy": SCREENS,
}
#: Screens beside those.
ADMIN: Final[dict[str, Scope | str]] = {
    "pulse_accessrule_many": ADMINISTER,
    "pulse_alertchannel_test": OPERATE,
    "pulse_apikey_revoke": ADMINISTER,
    "pulse_apikey_rotate": ADMINISTER,
    "pulse_auditentry_export": ADMINISTER,
    "pulse_blocked": VIEW,
    "pulse_corsorigin_import": ADMINISTER,
    "pulse_endpointlimit_presets": ADMINISTER,
    "pulse_everything_to_shadow": ADMINISTER,
    "pulse_headerpolicy_csp": ADMINISTER,
    "pulse_headerpolicy_preview": ADMINISTER,
    "pulse_headerpolicy_usual": ADMINISTER,
    "pulse_maintenancewindow_upcoming": VIEW,
    "pulse_policyrevision_compare": VIEW,
    "pulse_policyrevision_discard": ADMINISTER,
    "pulse_policyrevision_publish": ADMINISTER,
    "pulse_policyrevision_rollback": ADMINISTER,
    "pulse_probepayload_sample": ADMINISTER,
    "pulse_probeschedule_run": OPERATE,
    "pulse_probeschedule_upcoming": VIEW,
    **{
        f"pulse_{model}_{screen}": asked
        for model, screens in MODELS.items()
        for screen, asked in screens.items()
    },
}
#: Screens that are posted to, and what is posted.
POSTED: Final[dict[str, dict[str, str]]] = {
    "pulse_headerpolicy_csp": {"report_only": "1"},
    "pulse_headerpolicy_preview": {},
    "pulse_probepayload_sample": {},
    "pulse_probeschedule_run": {},
}
#: Open to all; what they tell whom is their own test's.
HEALTH: Final[dict[str, Asked]] = {"healthz": {"GET": OPEN}, "readyz": {"GET": OPEN}}
