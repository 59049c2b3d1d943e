"""Where probes and webhooks go is checked before they do."""

from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from pulse.checks import outbound
from tests.checks.messages import ids


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", []),
        ("pulse.testing.StubNetwork", []),
        ("pulse.testing.StubNetwerk", ["E110"]),
        ("nowhere.Network", ["E110"]),
        ("nowhere", ["E110"]),
    ],
)
def test_the_network_can_be_imported(settings, path, expected) -> None:
    """One that cannot would let nothing go out."""
    settings.PULSE = {"OUTBOUND_NETWORK": path}
    assert ids(outbound.check_network()) == expected


def test_production_has_the_real_network(settings) -> None:
    """check --deploy fails on what a test put in its place, and on nothing else."""
    settings.PULSE = {"OUTBOUND_NETWORK": "pulse.testing.StubNetwork"}
    assert ids(outbound.check_deployed_network()) == ["E111"]
    with pytest.raises(SystemCheckError, match=r"pulse\.E111"):
        call_command("check", deploy=True, stderr=StringIO())
    settings.PULSE = {}
    assert ids(outbound.check_deployed_network()) == []
