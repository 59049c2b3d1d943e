"""The part of `manage.py demo` that speaks to the database."""

import json
import os
from argparse import ArgumentParser
from pathlib import Path

from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from rest_framework.authtoken.models import Token

from project.shop.catalogue import stock_shelves
from pulse.access import keys
from pulse.access.scopes import Scope
from pulse.exceptions import KeyRefused
from pulse.models import PolicyRevision
from pulse.policies.publisher import Actor

ADMIN = "admin"
CUSTOMER = "ada"
POLICY = Path(__file__).parents[2] / "policy.yaml"


class Command(BaseCommand):
    help = (
        "Migrate and fill the demonstration's database (`demo` runs it). "
        "Example: DEMO_PASSWORD=secret manage.py demo_prepare .demo/prepared.json"
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("result", type=Path, help="where to write what others need to know")

    def handle(self, *_args: object, result: Path, **_options: object) -> None:
        password = os.environ.get("DEMO_PASSWORD", "")
        if not password:
            raise CommandError("Set DEMO_PASSWORD: the password of the user admin.")
        call_command("migrate", interactive=False, stdout=self.stdout, stderr=self.stderr)
        stock_shelves()
        token = _customer_token()
        applied = _is_untouched()
        if applied:
            call_command("pulse_apply", str(POLICY), stdout=self.stdout, stderr=self.stderr)
        _let_in(ADMIN, password)
        told = {"username": ADMIN, "token": token, "api_key": _api_key(), "applied": applied}
        descriptor = os.open(result, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(told, file)


def _is_untouched() -> bool:
    """Whether nobody has edited a policy yet: there is no revision beyond the seeds'."""
    return not PolicyRevision.objects.filter(number__gt=1).exists()


def _let_in(username: str, password: str) -> None:
    """Make sure that the printed password works; one that does is left, and sessions with it."""
    user, created = User.objects.get_or_create(username=username)
    user.is_active = user.is_staff = user.is_superuser = True
    if created or not user.check_password(password):
        user.set_password(password)
    user.save()


def _api_key() -> str:
    """Return the key of the last time where it still counts, else a new one."""
    last = os.environ.get("DEMO_API_KEY", "")
    try:
        keys.authenticate(last)
    except KeyRefused:
        actor = Actor("command", "demo")
        return keys.make("demo", actor=actor, scopes=[Scope.ADMINISTER.value]).text
    return last


def _customer_token() -> str:
    customer, created = User.objects.get_or_create(username=CUSTOMER)
    if created:
        customer.set_unusable_password()
        customer.save()
    customer.groups.add(Group.objects.get_or_create(name="paying")[0])
    return str(Token.objects.get_or_create(user=customer)[0].key)
