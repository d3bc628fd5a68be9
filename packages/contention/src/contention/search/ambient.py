"""What an exploration takes from its surroundings when its caller does not say it.

A test's own thread and event loop may be older than the test, so that a context variable set for
the test would not be seen there: there is one value for the process, as there is one test at a
time.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from contention.model.schedules import Schedule
from contention.search.exploration import Exploration
from contention.wire.servers import Servers


class Memory(Protocol):
    """Keeps the schedules that failed, so that they are tried first the next time."""

    def recall(self, name: str) -> list[Schedule]:
        """The schedules that failed and have not been seen to pass since."""

    def remember(self, name: str, schedule: Schedule) -> None:
        """Keep one that failed."""

    def forget(self, name: str) -> None:
        """Drop them all: the whole search is green."""


@dataclass(frozen=True, slots=True)
class Ambient:
    """The surroundings of an exploration.

    Attributes:
        servers: to run on when none are given.
        memory: of schedules that failed; `None` keeps nothing.
        name: of the test, under which they are kept.
        replay: run this one schedule and nothing else.
        ended: told of every exploration when it has ended.
    """

    servers: Servers | None = None
    memory: Memory | None = None
    name: str = ""
    replay: Schedule | None = None
    ended: Callable[[Exploration], None] = lambda _exploration: None


_current: list[Ambient] = [Ambient()]


def ambient() -> Ambient:
    """The surroundings as they are now."""
    return _current[-1]


@contextmanager
def surrounded_by(surroundings: Ambient) -> Iterator[None]:
    """Explore in these surroundings until the block ends."""
    _current.append(surroundings)
    try:
        yield
    finally:
        _current.remove(surroundings)
