"""A concurrency-control test kit: every order of events that matters, on real servers."""

from contention.explore import (
    Exploration,
    NotGreenError,
    PromiseBrokenError,
    UndecidedError,
    explore,
)
from contention.model.schedules import Schedule
from contention.report.write import write_report
from contention.schedulers.bounded import BoundedScheduler
from contention.schedulers.pct import PctScheduler
from contention.schedulers.replay import ReplayScheduler
from contention.search.search import Bounds
from contention.wire.embedded import embedded_servers
from contention.wire.servers import Links, PostgresServer, RedisServer, Servers
from contention.wire.workers import Process, WorkerFailedError, process

__all__ = [
    "BoundedScheduler",
    "Bounds",
    "Exploration",
    "Links",
    "NotGreenError",
    "PctScheduler",
    "PostgresServer",
    "Process",
    "PromiseBrokenError",
    "RedisServer",
    "ReplayScheduler",
    "Schedule",
    "Servers",
    "UndecidedError",
    "WorkerFailedError",
    "embedded_servers",
    "explore",
    "process",
    "write_report",
]
