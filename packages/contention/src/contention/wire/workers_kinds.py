"""Which kind of worker plays what a test gave: a task, a thread or a process."""

import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeGuard

from contention.wire.servers import Links
from contention.wire.virtual_loop import VirtualClockLoop
from contention.wire.workers import Body, Process, Worker
from contention.wire.workers_processes import ProcessWorker
from contention.wire.workers_tasks import TaskWorker
from contention.wire.workers_threads import ThreadWorker


def worker_for(name: str, body: Body, loop: VirtualClockLoop, moved: Callable[[], None]) -> Worker:
    """A worker that has not begun.

    Args:
        name: as in ``w1``.
        body: what it plays.
        loop: the kit's own, in which the gates are.
        moved: called in the loop when it has ended.
    """
    if isinstance(body, Process):
        return ProcessWorker(name, body, loop, moved)
    if is_async(body):
        return TaskWorker(name, body, loop, moved)
    return ThreadWorker(name, body, loop, moved)


def is_async(body: Callable[[Links], object]) -> TypeGuard[Callable[[Links], Awaitable[object]]]:
    """Whether a function is an async one, whatever it is wrapped in."""
    while isinstance(body, partial):
        body = body.func
    return inspect.iscoroutinefunction(body) or inspect.iscoroutinefunction(
        getattr(body, "__call__", None)  # noqa: B004 - not whether, but how it can be called
    )
