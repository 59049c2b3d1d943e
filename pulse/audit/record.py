"""The one door by which an entry is written: redacted, bounded, and never changed after."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from django.db import router
from django.utils import timezone

from pulse.audit.models import Action, AuditEntry, Outcome
from pulse.core.document import canonical
from pulse.core.redaction import Redactor
from pulse.policies.kinds import time_to_text
from pulse.policies.publisher import Actor

#: Of a larger value the beginning of its JSON is kept, in characters; its revision has the whole.
MAX_VALUE: Final = 10_000
MAX_NAME: Final = 200
BATCH: Final = 500
#: As JSON writes it; PostgreSQL stores it in no text.
NUL: Final = r"\u0000"

Fields = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Deed:
    """What is to be written of one thing that was done.

    Attributes:
        kind: Of what kind it was done to, and ``key`` its natural key; empty where to nothing.
        fields: ``before`` and ``after`` by field. The fields' own names are pulse's, and no
            reason to hide their values; names and forms within the values are.
    """

    action: str
    outcome: str = Outcome.SUCCESS
    kind: str = ""
    key: Mapping[str, Any] = field(default_factory=dict)
    fields: Fields = field(default_factory=dict)


def record(
    action: str,
    actor: Actor,
    *,
    outcome: str = Outcome.SUCCESS,
    kind: str = "",
    key: Mapping[str, Any] | None = None,
    revision: int | None = None,
    request_id: str = "",
    fields: Fields | None = None,
    using: str | None = None,
) -> AuditEntry:
    """Write one entry, in the transaction that is open.

    Args:
        action: One of ``Action``.
        actor: Who.
        outcome: ``success`` or ``failure``.
        kind: Of what kind it was done to.
        key: Its natural key.
        revision: The policy that came of it.
        request_id: Of which request.
        fields: ``before`` and ``after`` by field; secrets in them are taken out.
        using: The database.

    Raises:
        DatabaseError: It could not be written. Who must go on all the same catches it.
    """
    deed = Deed(action, outcome, kind, key or {}, fields or {})
    (entry,) = record_all([deed], actor, revision=revision, request_id=request_id, using=using)
    return entry


def record_all(
    deeds: Iterable[Deed],
    actor: Actor,
    *,
    revision: int | None = None,
    request_id: str = "",
    using: str | None = None,
) -> list[AuditEntry]:
    """Write what was done at once as entries of one moment, in batches; see ``record``."""
    now, shown = timezone.now(), _Shown()
    entries = [
        AuditEntry(
            created_at=now,
            actor_type=actor.type,
            actor_name=_plain(actor.name)[:150],
            address=_plain(actor.address)[:64],
            action=Action(deed.action),
            outcome=Outcome(deed.outcome),
            kind=deed.kind[:32],
            key={name: shown(value) for name, value in deed.key.items()},
            revision=revision,
            request_id=_plain(request_id)[:128],
            fields={
                name[:MAX_NAME]: {side: shown(value) for side, value in sides.items()}
                for name, sides in deed.fields.items()
            },
        )
        for deed in deeds
    ]
    using = using or router.db_for_write(AuditEntry)
    return AuditEntry.objects.using(using).bulk_create(entries, batch_size=BATCH)


class _Shown:
    """Makes values what an entry shows of them; of ten thousand rows many say the same."""

    def __init__(self) -> None:
        redactor = Redactor()
        self._text = lru_cache(maxsize=1024)(redactor.text)
        self._value = redactor.value

    def __call__(self, value: object) -> object:
        return _bounded(self._text(value) if isinstance(value, str) else self._value(value))


def _bounded(value: object) -> object:
    """Keep the beginning of what is too large; numbers and truth values never are."""
    if isinstance(value, str):
        text = value = _plain(value)
    elif isinstance(value, list | dict):
        text = canonical(value)
        if NUL in text:
            text = value = text.replace(NUL, "")
    else:
        return time_to_text(value) if isinstance(value, datetime) else value
    return value if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"


def _plain(text: str) -> str:
    """Leave out what PostgreSQL stores in no text."""
    return text.replace("\0", "")
