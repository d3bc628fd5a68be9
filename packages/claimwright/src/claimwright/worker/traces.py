"""Traces of workers and relays, where the settings ask for them.

A worker's children begin to export after they were forked: what exports runs in a thread, which a
child would not have.
"""

from typing import Any

from celery import signals

from claimwright.runtime import process_servers
from claimwright.settings import Settings
from claimwright.tracing import export_traces, follow_messages


def begin_traces(settings: Settings) -> None:
    """Export this process's spans, if the settings ask for it.

    Raises:
        InvalidInputError: OpenTelemetry is not installed.
    """
    if settings.traces:
        follow_messages()
        end = export_traces()
        # A child of a worker ends without what is done at a process's exit elsewhere.
        signals.worker_process_shutdown.connect(lambda **_: end(), weak=False)


def follow_messages_if_asked() -> None:
    """Let tasks belong to the traces of those who sent them, if the settings ask for it.

    Raises:
        InvalidInputError: OpenTelemetry is not installed.
    """
    if process_servers()[0].traces:
        follow_messages()


def _begin_in_worker(sender: Any, **_: object) -> None:  # noqa: ANN401 - Celery's worker
    follow_messages_if_asked()
    if "thread" in str(sender.pool_cls):  # which has no children
        begin_traces(process_servers()[0])


def _begin_in_child(**_: object) -> None:
    begin_traces(process_servers()[0])


signals.worker_init.connect(_begin_in_worker)
signals.worker_process_init.connect(_begin_in_child)
