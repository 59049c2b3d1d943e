"""The demonstration site: a small shop with pulse in front of it."""

# Celery's `shared_task` finds its application through this import.
from project.celery import app as celery_app

__all__ = ["celery_app"]
