"""System checks: every way to install pulse wrong, each with a lasting id and a hint."""


def register_all() -> None:
    """Register the checks."""
