"""gunicorn's settings in the demonstration (SERVER=wsgi)."""

import os
import signal
from typing import Any

from project.demonstration import serving
from project.demonstration.tether import die_with_parent

bind = f"fd://{os.environ['DEMO_LISTEN_FD']}"
workers = int(os.environ["DEMO_WEB_PROCESSES"])
worker_class = "gthread"
threads = 8
graceful_timeout = 2
control_socket_disable = True
# Who the client is, and over which scheme it came, is for Django and pulse to say.
forwarded_allow_ips = ""


def post_fork(_server: Any, worker: Any) -> None:
    die_with_parent(signal.SIGKILL, worker.ppid)


def post_worker_init(worker: Any) -> None:
    serving.answer_once(worker.wsgi)
    serving.mark_ready()


def child_exit(_server: Any, worker: Any) -> None:
    serving.unmark(worker.pid)
