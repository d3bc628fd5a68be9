"""A worker and a relay, run to their end in this process."""

import os
from socket import gethostname
from typing import Any

from celery import signals

from claimwright.runtime import Runtime
from claimwright.worker.beside import relay_beside, stopped_by_signals
from claimwright.worker.broker import CeleryBroker
from claimwright.worker.celery_app import app
from claimwright.worker.exposition import metrics_served, share_metrics_between_processes
from claimwright.worker.logs import write_to_standard_error
from claimwright.worker.relay import Relay
from claimwright.worker.traces import begin_traces, follow_messages_if_asked

__all__ = [
    "metrics_served",
    "relay_beside",
    "run_relay",
    "run_worker",
    "share_metrics_between_processes",
    "write_to_standard_error",
]


def run_worker(pool: str, concurrency: int | None, level: str) -> bool:
    """Run Celery's worker until it is told to end; whether it let its tasks end too.

    Args:
        pool: ``prefork``, ``threads`` or ``solo``.
        concurrency: tasks under way at once; by default one a CPU.
        level: of what is logged, by name.

    Raises:
        KeyboardInterrupt: Ctrl-C told it.
        InvalidInputError: traces are asked for, and OpenTelemetry is not installed.
    """
    follow_messages_if_asked()
    told: set[str] = set()

    def on_shutting_down(sig: str, how: str, **_: Any) -> None:  # noqa: ANN401 - Celery's signal
        told.update((sig, how))

    signals.worker_shutting_down.connect(on_shutting_down, weak=False)
    worker = app.Worker(
        # Celery's own default is one name a machine, which RabbitMQ gives to one worker alone.
        hostname=f"claimwright-{os.getpid()}@{gethostname()}",
        pool_cls=pool,
        concurrency=1 if pool == "solo" else concurrency,
        loglevel=level,
        optimization="fair",
        quiet=True,
        without_gossip=True,
        without_mingle=True,
    )
    try:
        worker.start()
    finally:
        signals.worker_shutting_down.disconnect(on_shutting_down)
    if "SIGINT" in told:
        raise KeyboardInterrupt
    return "Cold" not in told and not worker.exitcode


async def run_relay(runtime: Runtime) -> None:
    """Run the relay until SIGTERM."""
    begin_traces(runtime.settings)
    await Relay(runtime, CeleryBroker(app)).run(stopped_by_signals())
