"""Names that policies are given by, and that belong to the host: of users and groups."""

from collections.abc import Collection
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models import Model

from pulse.policies import publisher
from pulse.policies.models import TierAssignment


def renamed(
    sender: type[Model],
    instance: Any,
    created: bool,  # noqa: FBT001 - as Django sends it
    update_fields: Collection[str] | None = None,
    **_: object,
) -> None:
    """Publish anew what names a user or group; receives their ``post_save``.

    Rows hold keys, the published policy names: whoever took the old name would have the tier.
    A login saves ``last_login`` alone and costs nothing.
    """
    name, column = _named_by(sender)
    if created or (update_fields is not None and name not in update_fields):
        return
    if not publisher.is_migrated(publisher.database()):
        return
    rows = TierAssignment.objects.using(publisher.database())
    if rows.filter(**{column: instance.pk}).exists():
        publisher.mark_changed(publisher.database())


def _named_by(model: type[Model]) -> tuple[str, str]:
    if model is Group:
        return "name", "group_id"
    return get_user_model().USERNAME_FIELD, "user_id"
