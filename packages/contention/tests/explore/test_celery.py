"""Celery's own connections to its broker, through the link for brokers."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from celery import Celery

from contention.wire.servers import Links, Servers

from .celery_shop import ANSWERS
from .test_links import played

FOLDER = Path(__file__).parent


class Sale(NamedTuple):
    """The process of the Celery worker, the one in which the task ran, and how it ended."""

    started_process: int
    selling_process: int
    exit_code: int


@contextmanager
def celery_worker(links: Links) -> Iterator[subprocess.Popen[bytes]]:
    """A worker in a process of its own, which is ended by its id."""
    command = [sys.executable, "-m", "celery", "-A", "celery_shop", "-b", links.broker_url]
    options = ["worker", "--pool=solo", "--loglevel=WARNING"]
    environment = os.environ | {"CONTENTION_REDIS_URL": links.redis_url}
    with subprocess.Popen([*command, *options], cwd=FOLDER, env=environment) as process:
        try:
            yield process
        finally:
            process.terminate()


def have_tea_sold(links: Links) -> Sale:
    """Send a task, and wait until a Celery worker has done it."""
    app = Celery(broker=links.broker_url, set_as_current=False)
    with app.connection_for_write() as broker:
        with celery_worker(links) as worker:
            app.send_task("sell", ["tea"], connection=broker)
            with closing(broker.SimpleQueue(ANSWERS)) as answers:
                answer = answers.get(timeout=120)
                answer.ack()
        app.close()
    return Sale(worker.pid, answer.payload["process"], worker.returncode)


def test_what_a_celery_worker_and_its_producer_tell_the_broker_is_recorded_and_no_step(
    servers: Servers,
) -> None:
    sales: list[Sale] = []
    steps, messages, _ = played(servers, lambda links: sales.append(have_tea_sold(links)))
    assert [step.text for step in steps] == ["SET sold:tea 1"]
    (sale,) = sales
    assert (sale.selling_process, sale.exit_code) == (sale.started_process, 0)
    sent = [one.lane for one in messages if one.text.startswith("LPUSH celery ")]
    taken = [one.lane for one in messages if one.text.startswith("BRPOP celery ")]
    assert len(sent) == 1
    assert taken
    assert set(sent).isdisjoint(taken)
