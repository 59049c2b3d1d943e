"""The app, and the wiring of its rooms."""

from django.apps import AppConfig
from django.core.signals import request_finished
from django.db.models.signals import post_migrate, post_save, pre_delete, pre_save
from django.utils.translation import gettext_lazy as _


class PulseConfig(AppConfig):
    """Traffic policy and health of a Django project."""

    name = "pulse"
    verbose_name = _("Pulse")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register kinds and checks, and connect what listens. Queries nothing."""
        from django.contrib.auth import get_user_model
        from django.contrib.auth.models import Group

        from pulse import checks, logging, tasks
        from pulse.access import keys
        from pulse.access import receivers as access_receivers
        from pulse.alerts import kinds as alert_kinds
        from pulse.audit import failures, receivers
        from pulse.metrics import flush, queries, resources, settling
        from pulse.policies import current, kinds, names, publisher, seeds, watching
        from pulse.policies.bases import AnnouncedModel
        from pulse.policies.signals import policies_changed
        from pulse.probes import kinds as probe_kinds
        from pulse.store import heartbeat, processes

        logging.install_factory()
        request_finished.connect(logging.forget_request, dispatch_uid="pulse.logging")
        tasks.connect()
        receivers.connect()
        access_receivers.connect()
        current.read_keys_by(keys.live)
        kinds.register_own()
        probe_kinds.register()
        alert_kinds.register()
        checks.register_all()
        for model in self.get_models():
            if issubclass(model, AnnouncedModel):
                for signal in (pre_save, pre_delete, policies_changed):
                    signal.connect(
                        publisher.mark_changed, sender=model, dispatch_uid=f"pulse.{model.__name__}"
                    )
        post_migrate.connect(seeds.seed, sender=self, dispatch_uid="pulse.seed")
        for model in (get_user_model(), Group):
            post_save.connect(
                names.renamed, sender=model, dispatch_uid=f"pulse.renamed.{model.__name__}"
            )
        processes.say_by(current.standing)
        processes.say_also(flush.standing)
        processes.say_also(resources.standing)
        heartbeat.register("resources", resources.LOOK_S, resources.look)
        heartbeat.register("settling", settling.LOOK_S, settling.look)
        queries.connect()
        for name, seconds, look in (
            ("policy", 1.0, current.look),
            ("guards", watching.LOOK_S, watching.look),
            ("leftovers", 10.0, publisher.finish_leftovers),
            ("audit", 60.0, failures.flush),
        ):
            heartbeat.register(
                name, seconds, current.leaving_no_connection(look), asks_database=True
            )
