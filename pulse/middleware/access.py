"""Who may come in: the access rules, asked before anything else answers."""

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse

from pulse.conf import conf
from pulse.middleware.context import Context
from pulse.middleware.responses import Refusal, refuse
from pulse.policies.texts import access_denied
from pulse.store import blocked, buckets, refusals


def judge(request: HttpRequest, context: Context) -> HttpResponse | None:
    """Refuse a client whose network is denied; needs no route."""
    snapshot, client = context.snapshot, context.client
    if snapshot is None or client is None or not snapshot.access:
        return None
    secret = conf.client_secret
    found = snapshot.access.judge(client, request.path_info, secret)
    if found.would_refuse is not None and context.would_refuse != found.would_refuse.name:
        # A request is judged again after a reload, and is one all the same.
        context.would_refuse = found.would_refuse.name
        context.shadowed += (found.would_refuse.name,)
        buckets.add(buckets.WOULD_REFUSE, found.would_refuse.name)
    rule = found.rule
    if rule is None or not found.refused:
        return None
    refusals.add(snapshot.stamp, rule.name)
    blocked.note(
        rule.name,
        f"ip:{client.prefix}",
        str(client),
        until=rule.ends_at,
        method=request.method,
    )
    return refuse(
        request,
        Refusal(
            HTTPStatus.FORBIDDEN,
            "permission_denied",
            access_denied(),
            rule.name,
            reason=rule.reason,
        ),
    )
