"""The site as ASGI servers load it."""

import os

from django.core.asgi import get_asgi_application

from pulse.asgi import limit_bodies

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings.demo")

application = limit_bodies(get_asgi_application())
