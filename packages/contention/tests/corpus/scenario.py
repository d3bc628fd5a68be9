"""A program with its truth, and the order of its statements that shows it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .drivers import Program
from .machine import Machine, Value


class Truth(StrEnum):
    """What some order of the statements can lead to."""

    HOLDS = "holds"
    """Every order ends right."""
    BREAKS = "breaks"
    """Some order ends wrong, or in an error that nobody expects."""
    DEADLOCKS = "deadlocks"
    """Some order ends in a deadlock."""


class BusyError(Exception):
    """A worker did not get what it needs, and its caller is told so."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Workers on a small database, with what is known about them.

    Attributes:
        name: a phrase for what they do.
        order: shows the truth without the kit. A number lets that worker ask its next statement,
            command or COMMIT, which is answered before the order goes on; ``2*`` is not answered:
            worker 2 is seen to wait. ``!`` lets the time-out of every key fire. After the order
            all go on as they can.
        tables: SQL that makes the state to begin with.
        keys: of Redis, at the start.
        invariant: fails by an `AssertionError`; without it some serial order must end the same.
        may_raise: what a worker may end with.
        is_long: whether a search takes hundreds of schedules.
    """

    name: str
    truth: Truth
    order: str
    workers: tuple[Program, ...]
    tables: str = ""
    keys: Mapping[str, Value] = field(default_factory=dict)
    invariant: Program | None = None
    may_raise: tuple[type[Exception], ...] = ()
    is_long: bool = False

    @property
    def has_leases(self) -> bool:
        """Whether the time-out of a key may fire."""
        return "!" in self.order

    async def begin(self, machine: Machine) -> None:
        """Make the state to begin with, on empty servers."""
        for statement in filter(str.strip, self.tables.split(";")):
            await machine.execute(statement)
        for name, value in self.keys.items():
            await machine.keys.set(name, value)


def holds(sql: str) -> Program:
    """An invariant: the one value of a query is true."""

    async def check(machine: Machine) -> None:
        assert await machine.value(sql), f"not true: {sql}"

    return check
