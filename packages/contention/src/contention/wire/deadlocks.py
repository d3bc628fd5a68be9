"""Deadlocks in words: who waits for whom in a circle, for what, and since when that is held."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from contention.model.steps import Blocker
from contention.wire.blocking import LockWaits, lock_name
from contention.wire.postgres_messages import ServerMessage

DEADLOCK_DETECTED: Final = "40P01"

# The DETAIL and CONTEXT of the error: src/backend/storage/lmgr/deadlock.c and lmgr.c.
_WAIT: Final = re.compile(r"Process (\d+) waits for \w+ on (.+?); blocked by process (\d+)\.")
_ROW: Final = re.compile(r'while [\w ]*tuple [(\d,) ]*(?:of tuple )?in relation "(.+?)"')
_UNIQUE: Final = re.compile(r"index tuple|uniqueness|exclusion")
_RELATION: Final = re.compile(r"(tuple \([\d,]+\) of )?relation (\d+) of database \d+\Z")
_ADVISORY: Final = re.compile(r"advisory lock \[\d+,(\d+),(\d+),(\d+)\]\Z")


@dataclass(frozen=True, slots=True)
class Link:
    """One wait in the circle.

    Attributes:
        waiter: a backend.
        blocker: the backend that it waits for.
        lock: as the server says it.
    """

    waiter: int
    blocker: int
    lock: str


@dataclass(frozen=True, slots=True)
class Circle:
    """Backends that wait for one another, from the victim on; false when nothing is known."""

    links: tuple[Link, ...] = ()

    @property
    def in_order(self) -> list[int]:
        """The backends, each waiting for the next, the last for the first."""
        return [link.waiter for link in self.links]

    @property
    def backends(self) -> set[int]:
        """All of them."""
        return set(self.in_order)

    def __bool__(self) -> bool:
        return bool(self.links)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a waiter wants.

    Attributes:
        what: for people; empty when it cannot be told.
        table: whose it is; empty when it is no table's.
    """

    what: str = ""
    table: str = ""


def circle_of(error: ServerMessage) -> Circle:
    """The circle that the server found; empty when it speaks another language."""
    found = _WAIT.findall(error.detail)
    return Circle(tuple(Link(int(waiter), int(blocker), lock) for waiter, lock, blocker in found))


async def wanted_by_victim(error: ServerMessage, lock: str, locks: LockWaits) -> Wanted:
    """What the victim of a deadlock waited for, from what the server says of its lock."""
    if advisory := _ADVISORY.match(lock):
        class_id, object_id, sub_id = map(int, advisory.groups())
        return Wanted(lock_name("advisory", class_id, object_id, sub_id))
    if relation := _RELATION.match(lock):
        table = await locks.relation_name(int(relation[2]))
        return Wanted(f"row of {table}" if relation[1] else f"table {table}", table)
    if row := _ROW.search(error.where):
        is_unique = _UNIQUE.search(row[0])
        return Wanted(f"unique key {row[1]}") if is_unique else Wanted(f"row of {row[1]}", row[1])
    return Wanted()


def told(circle: Sequence[tuple[str, Sequence[Blocker]]], next_of: Mapping[str, str]) -> str:
    """A circle in a sentence.

    Args:
        circle: each worker with those whom it waits for.
        next_of: the worker after each in the circle.
    """
    waits = [
        f"{waiter} waits for "
        + str(next((one for one in blockers if one.actor == next_of[waiter]), next_of[waiter]))
        for waiter, blockers in circle
    ]
    return f"deadlock: {', '.join(waits)}"
