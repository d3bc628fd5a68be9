"""A concurrency-control test kit: every order of events that matters, on real servers."""

from contention.explore import (
    Exploration,
    NotGreenError,
    PromiseBrokenError,
    UndecidedError,
    explore,
)
from contention.search.search import Bounds
from contention.wire.servers import Links, Servers
from contention.wire.workers import Process, WorkerFailedError, process

__all__ = [
    "Bounds",
    "Exploration",
    "Links",
    "NotGreenError",
    "Process",
    "PromiseBrokenError",
    "Servers",
    "UndecidedError",
    "WorkerFailedError",
    "explore",
    "process",
]
