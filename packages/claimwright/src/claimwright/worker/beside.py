"""A relay beside a worker: a child process, begun again when it ends, ended with the worker.

Spawned, not forked or threaded: the worker forks its own children from a process without threads
that hold locks.
"""

import asyncio
import logging
import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Event, Thread
from typing import Final

from claimwright.runtime import open_runtime, reach_servers
from claimwright.settings import load_settings
from claimwright.worker.broker import CeleryBroker
from claimwright.worker.celery_app import app
from claimwright.worker.logs import log, write_to_standard_error
from claimwright.worker.relay import Relay
from claimwright.worker.traces import begin_traces

_RESTART_SECONDS: Final = 5.0
_END_SECONDS: Final = 15.0


@contextmanager
def relay_beside() -> Iterator[None]:
    """A relay in a process of its own while the block runs."""
    ending = Event()
    watcher = Thread(target=_keep_running, args=(ending,), name="claimwright-relay", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ending.set()
        watcher.join(2 * _END_SECONDS)


def _keep_running(ending: Event) -> None:
    context = multiprocessing.get_context("spawn")
    while not ending.is_set():
        relay = context.Process(target=_relay_until_the_worker_ends, daemon=True)
        relay.start()
        while relay.is_alive() and not ending.wait(0.2):
            relay.join(0)
        if not ending.is_set():
            log(logging.ERROR, "relay", outcome="died", exit_code=relay.exitcode)
            ending.wait(_RESTART_SECONDS)
    relay.terminate()
    relay.join(_END_SECONDS)
    relay.kill()


def _relay_until_the_worker_ends() -> None:
    """The child: it ends on SIGTERM, and by itself when the worker was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the worker's, which ends us in turn
    settings = load_settings()
    write_to_standard_error(settings)
    begin_traces(settings)
    with ExitStack() as stack:
        addresses = reach_servers(settings, stack)

        async def main() -> None:
            async with open_runtime(settings, addresses) as runtime:
                stop = stopped_by_signals()
                parent = multiprocessing.parent_process()
                if parent is not None:
                    asyncio.get_running_loop().add_reader(parent.sentinel, stop.set)
                await Relay(runtime, CeleryBroker(app)).run(stop)

        asyncio.run(main())


def stopped_by_signals() -> asyncio.Event:
    """An event that SIGTERM sets from now on, in the running loop."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    return stop
