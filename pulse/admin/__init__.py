"""The admin screens; importing this registers all of them."""

from pulse.admin import access, cors, endpoints, exceptions, headers, revisions, tiers

__all__ = ["access", "cors", "endpoints", "exceptions", "headers", "revisions", "tiers"]
