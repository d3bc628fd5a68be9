"""A worker of the small database: where it stands, and what its steps touch."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from contention.model.footprints import NOTHING, Footprint, Mode, Resource

from .requests import Request

TABLE: Final = Resource("table t")
COMMITS: Final = Resource("commits")


def row(number: int, by: str = "t_pkey") -> Resource:
    return Resource("table t", by, str(number))


def key(name: str) -> Resource:
    return Resource(f"key {name}")


def touch(mode: Mode, *resources: Resource) -> Footprint:
    return Footprint(tuple((resource, mode) for resource in resources))


@dataclass(slots=True)
class Worker:
    """Where a worker stands.

    Attributes:
        last: what it read last.
        seen: everything it was told.
        touched: by its open transaction.
        staged: rows that its transaction has changed.
        wants: rows that its request still has to lock; the first is waited for.
        sum: what its waiting request had computed before.
        is_parked: whether its poll would get the same answer again.
        snapshot: what it sees, at REPEATABLE READ, and of which versions.
    """

    requests: Sequence[Request]
    position: int = 0
    last: int = 0
    seen: list[object] = field(default_factory=list)
    touched: Footprint = NOTHING
    staged: dict[int, int] = field(default_factory=dict)
    wants: list[int] = field(default_factory=list)
    sum: int = 0
    is_parked: bool = False
    snapshot: dict[int, tuple[int, int]] | None = None

    def copy(self) -> "Worker":
        return replace(self, seen=list(self.seen), staged=dict(self.staged), wants=list(self.wants))

    @property
    def has_ended(self) -> bool:
        return self.position >= len(self.requests)

    @property
    def request(self) -> Request:
        return self.requests[self.position]
