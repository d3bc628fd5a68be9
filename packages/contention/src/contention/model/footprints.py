"""What a step touches, and whether two steps can be exchanged without anybody noticing.

A footprint is never guessed low. Where it is not known it conflicts with everything.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """How a resource is touched. Two reads can be exchanged, everything else cannot."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Footprint:
    """The resources a step touches.

    Attributes:
        touches: mode by resource, as in ``{"redis key stock": Mode.WRITE}``; a resource that is
            both read and written is written.
        is_known: whether ``touches`` is all there is; an unknown footprint conflicts with
            every other that touches anything.
    """

    touches: tuple[tuple[str, Mode], ...] = ()
    is_known: bool = True

    def __post_init__(self) -> None:
        modes: dict[str, Mode] = {}
        for resource, mode in self.touches:
            if modes.get(resource) is not Mode.WRITE:
                modes[resource] = mode
        object.__setattr__(self, "touches", tuple(sorted(modes.items())))

    @property
    def is_empty(self) -> bool:
        """Whether the step is known to touch nothing that others can see."""
        return self.is_known and not self.touches

    def conflicts_with(self, other: "Footprint") -> bool:
        """Whether exchanging the two steps could change what anybody sees."""
        if self.is_empty or other.is_empty:
            return False
        if not (self.is_known and other.is_known):
            return True
        modes = dict(other.touches)
        return any(
            resource in modes and Mode.WRITE in (mode, modes[resource])
            for resource, mode in self.touches
        )

    def joined(self, others: Iterable["Footprint"]) -> "Footprint":
        """The footprint of steps that happen as one."""
        everything = (self, *others)
        return Footprint(
            tuple(touch for footprint in everything for touch in footprint.touches),
            all(footprint.is_known for footprint in everything),
        )


NOTHING = Footprint()
UNKNOWN = Footprint(is_known=False)


def reads(*resources: str) -> Footprint:
    """A footprint that reads these resources."""
    return Footprint(tuple((resource, Mode.READ) for resource in resources))


def writes(*resources: str) -> Footprint:
    """A footprint that writes these resources."""
    return Footprint(tuple((resource, Mode.WRITE) for resource in resources))
