"""What policy rows have in common: announced changes, the shared fields, and limits."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Final

from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator, MaxValueValidator, MinValueValidator
from django.db import models, router, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from pulse.core.quotas import Algorithm, Quota, make_quota
from pulse.core.snapshot import Mode
from pulse.exceptions import InvalidQuota
from pulse.policies.querysets import PolicyManager
from pulse.policies.reading import is_storable
from pulse.policies.validators import validate_rate

#: A time outside of these years cannot be shown in every time zone.
FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 9998


class ModeChoices(models.TextChoices):
    """``Mode``, in words for people."""

    ENFORCE = Mode.ENFORCE.value, _("Enforce")
    SHADOW = Mode.SHADOW.value, _("Shadow")
    OFF = Mode.OFF.value, _("Off")


class AlgorithmChoices(models.TextChoices):
    """``Algorithm``, in words for people."""

    TOKEN_BUCKET = Algorithm.TOKEN_BUCKET.value, _("Token bucket")
    FIXED_WINDOW = Algorithm.FIXED_WINDOW.value, _("Fixed window")


class AnnouncedModel(models.Model):
    """A row of the policy document, saved in one transaction with the mark that this leaves."""

    objects = PolicyManager()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the row and the mark of it, or neither."""
        with transaction.atomic(using=self._written_to(kwargs)):
            super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete the row and leave the mark of it, or neither."""
        with transaction.atomic(using=self._written_to(kwargs)):
            return super().delete(*args, **kwargs)

    def _written_to(self, options: Mapping[str, Any]) -> str:
        return options.get("using") or router.db_for_write(type(self), instance=self)


class Policy(AnnouncedModel):
    """The shared part of every policy."""

    mode = models.CharField(
        _("mode"),
        max_length=8,
        choices=ModeChoices,
        default=ModeChoices.ENFORCE,
        help_text=_("Shadow decides, counts and reports, but never acts. Off does nothing."),
    )
    percent = models.PositiveSmallIntegerField(
        _("percent of clients"),
        default=100,
        validators=[MaxValueValidator(100)],
        help_text=_(
            "The share of clients for whom it is enforced; for the rest it is in shadow. "
            "A client that is in stays in as the share grows."
        ),
    )
    description = models.TextField(
        _("description"),
        blank=True,
        validators=[MaxLengthValidator(2000)],
        help_text=_("Why it is there, for the next person."),
    )
    starts_at = models.DateTimeField(
        _("starts at"), null=True, blank=True, help_text=_("Not in force before. Empty: at once.")
    )
    ends_at = models.DateTimeField(
        _("ends at"), null=True, blank=True, help_text=_("Not in force from then on. Empty: never.")
    )
    version = models.PositiveIntegerField(_("version"), default=1, editable=False)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the row as its next version."""
        if not self._state.adding:
            stored = type(self)._base_manager.using(self._written_to(kwargs)).filter(pk=self.pk)
            version: int | None = stored.values_list("version", flat=True).first()
            self.version = (version or 0) + 1
            if kwargs.get("update_fields") is not None:
                kwargs["update_fields"] = {*kwargs["update_fields"], "version", "updated_at"}
        super().save(*args, **kwargs)

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        """Ask the validators of JSON also of what is empty: ``""`` is no list, nor is ``{}``."""
        super().clean_fields(exclude)
        for column in self._meta.concrete_fields:
            value = getattr(self, column.attname)
            is_asked = isinstance(column, models.JSONField) and column.name not in (exclude or ())
            if is_asked and value in column.empty_values and not (value is None and column.null):
                try:
                    for validate in column.validators:
                        validate(value)
                except ValidationError as error:
                    raise ValidationError({column.name: error.messages}) from error

    def clean(self) -> None:
        """Refuse what cannot be stored, and times that end before they start or cannot be shown."""
        for column in self._meta.concrete_fields:
            value = getattr(self, column.attname)
            if isinstance(value, str) and not is_storable(value):
                text = _("It has a character that cannot be stored.")
                raise ValidationError({column.name: text})
        for name in ("starts_at", "ends_at"):
            moment = getattr(self, name)
            if moment and not FIRST_YEAR <= moment.year <= LAST_YEAR:
                text = _("Write a year from %(first)d to %(last)d.")
                told = {"first": FIRST_YEAR, "last": LAST_YEAR}
                raise ValidationError({name: text % told})
        if self.starts_at and self.ends_at and self.ends_at <= self.starts_at:
            raise ValidationError({"ends_at": _("It ends before it starts.")})

    @property
    def notice(self) -> str:
        """What whoever has just saved it by a document should know; empty: nothing."""
        return ""


class Limit(AnnouncedModel):
    """One quota among the limits of a tier or an endpoint limit."""

    rate = models.CharField(
        _("rate"),
        max_length=40,
        validators=[validate_rate],
        help_text=_("A count and a unit: 10/s, 1000/h, 5/10m."),
    )
    burst = models.PositiveIntegerField(
        _("burst"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("How many at once, for a token bucket. Empty: the rate's count."),
    )
    algorithm = models.CharField(
        _("algorithm"),
        max_length=16,
        choices=AlgorithmChoices,
        default=AlgorithmChoices.TOKEN_BUCKET,
        help_text=_(
            "A token bucket refills all the time. A fixed window opens with a client's first "
            "request and forgets at its end; twice the count can pass across that edge."
        ),
    )

    #: The field that names the rule whose limit it is.
    OWNER: ClassVar[str]

    class Meta:
        abstract = True
        ordering: ClassVar[Sequence[str]] = ["pk"]

    def __str__(self) -> str:
        return self.rate if self.burst is None else f"{self.rate}, {self.burst} at once"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the limit, and raise the version of the rule that it belongs to."""
        with transaction.atomic(using=self._written_to(kwargs)):
            super().save(*args, **kwargs)
            self._raise_version(kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete the limit, and raise the version of the rule that it belonged to."""
        with transaction.atomic(using=self._written_to(kwargs)):
            self._raise_version(kwargs)
            return super().delete(*args, **kwargs)

    def _raise_version(self, options: Mapping[str, Any]) -> None:
        column = self._meta.get_field(self.OWNER)
        owners = column.related_model._base_manager.using(self._written_to(options))  # type: ignore[union-attr]
        owner = owners.filter(pk=getattr(self, column.attname))  # type: ignore[union-attr]
        owner.update(version=F("version") + 1, updated_at=timezone.now())

    def clean(self) -> None:
        """Refuse what would be read two ways."""
        self.rate = self.rate.strip()
        if self.algorithm == Algorithm.FIXED_WINDOW and self.burst is not None:
            raise ValidationError(
                {"burst": _("A fixed window has no burst. Leave it empty, or take a token bucket.")}
            )
        if self.burst is not None:
            self._check_burst()

    def _check_burst(self) -> None:
        try:
            make_quota(self.rate, None, self.algorithm)
        except InvalidQuota:
            return  # What is wrong is said of the rate, or of the algorithm.
        try:
            make_quota(self.rate, self.burst, self.algorithm)
        except InvalidQuota as error:
            raise ValidationError({"burst": str(error)}) from error

    @property
    def quota(self) -> Quota:
        """The limit as the counters read it.

        Raises:
            InvalidQuota: The row was never validated.
        """
        return make_quota(self.rate, self.burst, self.algorithm)
