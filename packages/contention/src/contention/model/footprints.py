"""What a step touches, and whether two steps can be exchanged without anybody noticing.

A footprint is never guessed low. Where it is not known it conflicts with everything.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


@dataclass(frozen=True, slots=True, order=True)
class Resource:
    """Something that steps touch: a key, a table, or the one row of a table with a unique key.

    Attributes:
        name: as in ``redis key stock`` or ``table accounts``.
        unique_key: the unique index by which a row is named, or empty for the whole.
        value: the row's value under that index, as in ``1``.
    """

    name: str
    unique_key: str = ""
    value: str = ""

    def overlaps(self, other: "Resource") -> bool:
        """Whether the two may have something in common.

        Rows of one table under the same unique key are the same or apart; under different keys
        they may be the same row.
        """
        if self.name != other.name:
            return False
        if self.unique_key and self.unique_key == other.unique_key:
            return self.value == other.value
        return True

    def __str__(self) -> str:
        return (
            f"row {self.value} ({self.unique_key}) of {self.name}" if self.unique_key else self.name
        )


class Mode(StrEnum):
    """How a resource is touched."""

    READ = "read"
    """What others have made visible is looked at, without waiting for anybody."""
    WRITE = "write"
    """It is changed, and everybody sees it at once; or nothing more exact is known."""
    STAGE = "stage"
    """A transaction changes or locks it; others may have to wait, and see it at the release."""
    ACQUIRE = "acquire"
    """It is locked for the transaction alone; whoever holds it is waited for, then its newest
    version is used: having asked before the holder's end or after it makes no difference."""
    HELD = "held"
    """What the transaction has acquired is used or changed again."""
    RELEASE = "release"
    """The transaction ends: others may have it, and see what was staged."""


_UNSEEN: Final = frozenset({Mode.ACQUIRE, Mode.HELD, Mode.STAGE})
"""What a reader, who sees only what is committed, does not notice."""
_OWNING: Final = frozenset({Mode.ACQUIRE, Mode.HELD, Mode.RELEASE})
"""What only one transaction at a time can do; between the turns of two there is a release."""


def _commute(one: Mode, other: Mode) -> bool:
    if one is Mode.READ:
        return other is Mode.READ or other in _UNSEEN
    return other is Mode.READ and one in _UNSEEN


def _take_turns(one: Mode, other: Mode) -> bool:
    """Whether the server itself keeps the order of the two: neither can come to pass the other."""
    return one in _OWNING and other in _OWNING and (one, other) != (Mode.ACQUIRE, Mode.ACQUIRE)


@dataclass(frozen=True, slots=True)
class Footprint:
    """The resources a step touches.

    Attributes:
        touches: resources with the modes they are touched in; a resource may stand there in
            several modes, though a write says all that a read would.
        is_known: whether ``touches`` is all there is; an unknown footprint conflicts with
            every other that touches anything.
    """

    touches: tuple[tuple[Resource, Mode], ...] = ()
    is_known: bool = True

    def __post_init__(self) -> None:
        touches = set(self.touches)
        written = {(resource, Mode.READ) for resource, mode in touches if mode is Mode.WRITE}
        object.__setattr__(self, "touches", tuple(sorted(touches - written)))

    @property
    def is_empty(self) -> bool:
        """Whether the step is known to touch nothing that others can see."""
        return self.is_known and not self.touches

    def conflicts_with(self, other: "Footprint") -> bool:
        """Whether exchanging the two steps could change what anybody sees, or cannot be done."""
        if self.is_empty or other.is_empty:
            return False
        if not (self.is_known and other.is_known):
            return True
        return any(not _commute(one, another) for one, another in self._shared(other))

    def races_with(self, other: "Footprint") -> bool:
        """Whether the two conflict and both orders are possible.

        A lock's holder and whoever wants the lock conflict and do not race, once the lock has been
        taken: the server keeps their order. The race is between the two who acquire it.
        """
        if self.is_empty or other.is_empty:
            return False
        if not (self.is_known and other.is_known):
            return True
        return any(
            not _commute(one, another) and not _take_turns(one, another)
            for one, another in self._shared(other)
        )

    def joined(self, others: Iterable["Footprint"]) -> "Footprint":
        """The footprint of steps that happen as one."""
        everything = (self, *others)
        return Footprint(
            tuple(touch for footprint in everything for touch in footprint.touches),
            all(footprint.is_known for footprint in everything),
        )

    def released(self) -> "Footprint":
        """What the end of a transaction touches that has touched this: all of it again."""
        return Footprint(
            tuple(
                (resource, Mode.RELEASE if mode in _UNSEEN else mode)
                for resource, mode in self.touches
            ),
            self.is_known,
        )

    def _shared(self, other: "Footprint") -> Iterable[tuple[Mode, Mode]]:
        for resource, mode in self.touches:
            for another, its_mode in other.touches:
                if resource.overlaps(another):
                    yield mode, its_mode


NOTHING = Footprint()
UNKNOWN = Footprint(is_known=False)


def reads(*names: str) -> Footprint:
    """A footprint that reads these resources."""
    return touching(Mode.READ, *names)


def writes(*names: str) -> Footprint:
    """A footprint that writes these resources."""
    return touching(Mode.WRITE, *names)


def touching(mode: Mode, *names: str) -> Footprint:
    """A footprint that touches these resources in one mode."""
    return Footprint(tuple((Resource(name), mode) for name in names))
