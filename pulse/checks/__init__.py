"""The door to the system checks: every way to install pulse wrong, with a lasting id and a hint."""

from pulse.checks.registry import register_all

__all__ = ["register_all"]
