"""The whole product on one machine."""

import importlib.util
import os
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from project.demonstration import banner, redis_server, state, web
from project.demonstration.options import BadOption, Options
from project.demonstration.supervisor import CannotStart, Supervisor

NEEDED = ("gunicorn", "uvicorn", "whitenoise", "celery", "redis", "django_redis", "yaml")

HELP = """\
Runs the shop with pulse in front of it: a private Redis, the web processes, a Celery worker,
beat, and a little traffic. Ctrl-C ends all of it; the data stay in .demo/ for the next time.
"""
EXAMPLES = """\
examples:
  manage.py demo
  SERVER=asgi WEB_PROCESSES=4 PORT=9000 TRAFFIC=0 manage.py demo

from the environment:
  PORT            where to listen (8000; a busy one gives way to the next, 0 is any)
  SERVER          wsgi: gunicorn (default); asgi: uvicorn
  WEB_PROCESSES   how many serve (2)
  TRAFFIC         0 leaves out the stream of requests
  DATABASE_URL    another database than SQLite in .demo/, as postgres://user@host/name
  REDIS_URL       your own Redis, as redis://127.0.0.1:6379/0
"""


class Command(BaseCommand):
    help = HELP
    # The children check, each what it runs.
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        return super().create_parser(
            prog_name,
            subcommand,
            epilog=EXAMPLES,
            formatter_class=RawDescriptionHelpFormatter,
            **kwargs,
        )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """All is said by the environment, so that make and Python take the same words."""

    def handle(self, *_args: object, **_options: object) -> None:
        _require_packages()
        directory = settings.DEMO_DIR
        try:
            options = Options.read(os.environ, directory)
            _require_driver(options.database_url)
            with state.held(directory):
                supervisor = Supervisor(options, settings.BASE_DIR, directory, self.say)
                supervisor.run(self.greet)
        except state.AlreadyRunning:
            raise CommandError(
                f"A demonstration already runs in this checkout, on {state.read(directory).url}. "
                "End it with Ctrl-C where it was started."
            ) from None
        except (BadOption, CannotStart, redis_server.NoServer, web.NoPort) as error:
            raise CommandError(str(error)) from None

    def say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()

    def greet(self, running: Supervisor) -> None:
        colour = self.stdout.isatty() and "NO_COLOR" not in os.environ
        for line in banner.lines(
            running.options, running.state, was_empty=running.database_was_empty, colour=colour
        ):
            self.say(line)
        self.say(f"pulse demo ready on {running.state.url}")


def _require_packages() -> None:
    if os.name != "posix":
        raise CommandError("The demonstration runs on Linux and macOS (on Windows, in WSL).")
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise CommandError(
            f"Not installed: {', '.join(missing)}. The demonstration needs its extra: "
            f"{sys.executable} -m pip install -e '.[demo]'"
        )


def _require_driver(database_url: str) -> None:
    if database_url.startswith("sqlite") or importlib.util.find_spec("psycopg"):
        return
    raise CommandError(
        "DATABASE_URL names a PostgreSQL, and its driver is not installed: "
        f"{sys.executable} -m pip install -e '.[demo,postgres]'"
    )
