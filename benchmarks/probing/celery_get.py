"""A peer: one ``requests.get`` a Celery task, which records nothing."""

import os

import requests
from celery import Celery

app = Celery("get", broker=os.environ.get("BENCH_BROKER", "memory://"))
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = True


@app.task
def get(url: str) -> None:
    requests.get(url, timeout=10)
