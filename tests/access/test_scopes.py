"""Who may do what with pulse itself."""

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, Permission

from pulse.access.scopes import ORDER, Scope, holds, scopes_of

pytestmark = pytest.mark.django_db


def user(*permissions: str, **fields: object):
    made = get_user_model().objects.create_user("ana", password="secret", **fields)
    made.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return made


@pytest.mark.parametrize("given", ORDER)
def test_a_scope_includes_the_lower_ones_and_no_higher(given):
    """API.md 1: higher scopes include lower ones."""
    ana = user(given.value, is_staff=True)
    assert [scope for scope in ORDER if holds(ana, scope)] == list(ORDER[: ORDER.index(given) + 1])


def test_superusers_hold_every_scope():
    assert scopes_of(user(is_staff=True, is_superuser=True)) == frozenset(Scope)


def test_permissions_count_for_active_staff_alone():
    """A customer's session opens nothing, whatever groups it is in."""
    assert scopes_of(user("administer")) == frozenset()


def test_somebody_who_was_dismissed_holds_nothing():
    assert scopes_of(user("administer", is_staff=True, is_active=False)) == frozenset()


def test_nobody_holds_nothing():
    assert scopes_of(AnonymousUser()) == frozenset()
