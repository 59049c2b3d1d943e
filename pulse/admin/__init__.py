"""The admin screens; importing this registers all of them."""

from pulse.admin import endpoints, exceptions, revisions, tiers

__all__ = ["endpoints", "exceptions", "revisions", "tiers"]
