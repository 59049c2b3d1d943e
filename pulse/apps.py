"""The app, and the wiring of its rooms."""

from django.apps import AppConfig
from django.db.models.signals import post_delete, post_migrate, post_save
from django.utils.translation import gettext_lazy as _


class PulseConfig(AppConfig):
    """Traffic policy and health of a Django project."""

    name = "pulse"
    verbose_name = _("Pulse")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register kinds and checks, and connect what listens. Queries nothing."""
        from pulse import checks
        from pulse.policies import current, kinds, publisher, seeds
        from pulse.policies.bases import AnnouncedModel
        from pulse.policies.signals import policies_changed
        from pulse.store import heartbeat

        kinds.register_own()
        checks.register_all()
        for model in self.get_models():
            if issubclass(model, AnnouncedModel):
                for signal in (post_save, post_delete, policies_changed):
                    signal.connect(
                        publisher.mark_changed, sender=model, dispatch_uid=f"pulse.{model.__name__}"
                    )
        post_migrate.connect(seeds.seed, sender=self, dispatch_uid="pulse.seed")
        heartbeat.register("policy", 1.0, current.look)
        heartbeat.register("leftovers", 10.0, publisher.finish_leftovers)
