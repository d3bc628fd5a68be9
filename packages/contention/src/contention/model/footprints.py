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
    """How a resource is touched.

    `ACQUIRE` is what makes searches short, and it is a promise of whoever tells footprints: of a
    request that takes one lock,

    1. it waits for whoever holds the lock, in the order of asking, and without a limit of time
       (neither NOWAIT nor SKIP LOCKED nor a lock time-out);
    2. until it has the lock it looks at nothing that others change, and afterwards it uses the
       newest version: a snapshot taken before the wait decides nothing (no sub-select, no join,
       no REPEATABLE READ);
    3. it touches nothing but what is locked.

    Then to ask before the holder's end, wait, and be let on by it leaves the same state behind as
    to ask right after that end: the two are one class of schedules. What is left to try is who
    asks first of those who want the lock. Two more promises belong to it: a request that waits is
    told with everything that it has touched or waits for, and a step in which the server ended a
    transaction of its own accord, as a deadlock's, is told as unknown, since it depends on who
    waits for whom. A request that promises less is a `STAGE`, with a `READ` of what it looks at.

    `ASK` promises the same but for the limit of time. While it waits, that the limit fires is
    another choice: to ask before the holder's end and to ask after it are two classes. The step in
    which the limit fires is told as another `ASK`, and what its transaction lets go as a `WRITE`:
    nobody has to wait for one who waited itself.
    """

    READ = "read"
    """What others have made visible is looked at, without waiting for anybody."""
    WRITE = "write"
    """It is changed, and everybody sees it at once; or nothing more exact is known."""
    STAGE = "stage"
    """A transaction changes or locks it; others may have to wait, and see it at the release."""
    ACQUIRE = "acquire"
    """It is locked for the transaction alone, as promised above."""
    ASK = "ask"
    """As `ACQUIRE`, but the wait may end by a limit of time."""
    HELD = "held"
    """What the transaction has acquired is used or changed again, by a request that looks at
    nothing else."""
    RELEASE = "release"
    """The transaction ends: others may have it, and see what was staged."""


class _Order(StrEnum):
    """What is known of two touches of one resource, the earlier and the later."""

    FREE = "free"
    """They can be exchanged, and nobody notices."""
    KEPT = "kept"
    """The later depends on the earlier; the other order is another pair's race."""
    RACING = "racing"
    """Either may come first, and it may matter."""


_UNSEEN: Final = frozenset({Mode.ACQUIRE, Mode.ASK, Mode.HELD, Mode.STAGE})
"""What a reader, who sees only what is committed, does not notice."""


def _order(earlier: Mode, later: Mode, *, is_same: bool) -> _Order:
    """How two touches of overlapping resources are ordered.

    Args:
        earlier: the mode of the touch that came first.
        later: the mode of the other.
        is_same: whether the resources are not only overlapping but one and the same. A row named
            by its id and a row named by its name may be two rows, whose locks keep no order.
    """
    pair = {earlier, later}
    if Mode.READ in pair and pair <= _UNSEEN | {Mode.READ}:
        return _Order.FREE
    if pair == {Mode.RELEASE}:
        # Each publishes rows of its own.
        return _Order.FREE
    if is_same and pair in ({Mode.ACQUIRE, Mode.HELD}, {Mode.ASK, Mode.HELD}):
        # Side by side the one who asks is waiting; otherwise a release lies between.
        return _Order.FREE
    if is_same and pair == {Mode.ACQUIRE, Mode.RELEASE}:
        # Who asks before the release waits for it: as if it had asked afterwards.
        return _Order.FREE if earlier is Mode.ACQUIRE else _Order.KEPT
    return _Order.RACING


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
        if len(self.touches) < 2:  # noqa: PLR2004 - in order already
            return
        touches = set(self.touches)
        written = {(resource, Mode.READ) for resource, mode in touches if mode is Mode.WRITE}
        object.__setattr__(self, "touches", tuple(sorted(touches - written)))

    @property
    def is_empty(self) -> bool:
        """Whether the step is known to touch nothing that others can see."""
        return self.is_known and not self.touches

    def conflicts_with(self, other: "Footprint") -> bool:
        """Whether exchanging the two steps could change what anybody sees, or cannot be done."""
        return self.precedes(other) or other.precedes(self)

    def precedes(self, later: "Footprint") -> bool:
        """Whether a later step depends on this one's having come first.

        Nothing depends on a request's having waited: of a lock's request and the later release
        that lets it on, neither precedes the other.
        """
        return any(order is not _Order.FREE for order in self._orders(later))

    def races_with(self, later: "Footprint") -> bool:
        """Whether a later step could have come first as well, and that could matter.

        A lock's holder and whoever wants the lock do not race once the lock has been taken: the
        server keeps their order. The race is between the two who acquire it.
        """
        return any(order is _Order.RACING for order in self._orders(later))

    def joined(self, others: Iterable["Footprint"]) -> "Footprint":
        """The footprint of steps that happen as one."""
        more = [other for other in others if not other.is_empty]
        if not more:
            return self
        everything = (self, *more)
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

    def in_time(self) -> "Footprint":
        """The same of who waits no longer than a limit."""
        if all(mode is not Mode.ACQUIRE for _, mode in self.touches):
            return self
        return Footprint(
            tuple(
                (resource, Mode.ASK if mode is Mode.ACQUIRE else mode)
                for resource, mode in self.touches
            ),
            self.is_known,
        )

    def _orders(self, later: "Footprint") -> Iterable[_Order]:
        if self.is_empty or later.is_empty:
            return
        if not (self.is_known and later.is_known):
            yield _Order.RACING
        for resource, mode in self.touches:
            for another, its_mode in later.touches:
                if resource.overlaps(another):
                    yield _order(mode, its_mode, is_same=resource == another)


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
