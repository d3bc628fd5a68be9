"""What the open transaction of a connection has touched, and what its end touches."""

from dataclasses import dataclass, field
from typing import Final

from contention.model.footprints import NOTHING, Footprint, Mode, Resource, touching

COMMITS: Final = "commits"
"""What a snapshot that lasts a whole transaction looks at, and a COMMIT adds to."""
SERIALIZABLE: Final = touching(Mode.WRITE, "serializable transactions")
"""One transaction's step may decide which other is refused, whatever the two touch."""
_TABLE: Final = "table "


@dataclass(slots=True)
class Transaction:
    """An open transaction.

    Attributes:
        touched: by its statements so far.
        held: rows and locks that it has for itself.
        has_looked: whether its snapshot, if it has one for its whole life, is taken.
    """

    touched: Footprint = NOTHING
    held: set[Resource] = field(default_factory=set)
    has_looked: bool = False

    def add(self, footprint: Footprint) -> None:
        """Take in what a statement has touched."""
        self.touched = self.touched.joined([footprint])

    def has_staged(self, table: str) -> bool:
        """Whether it has changed or locked rows of a table that are not known by name."""
        whole = Resource(table)
        return any(one == whole and mode is not Mode.READ for one, mode in self.touched.touches)

    def end(self, *, is_commit: bool) -> Footprint:
        """What its end touches: it lets go, and a COMMIT shows what was staged.

        What it has only read is no concern of its end, but for those who want a table alone.
        """
        kept = tuple(
            (resource, mode)
            for resource, mode in self.touched.touches
            if mode is not Mode.READ or not resource.name.startswith(_TABLE)
        )
        released = Footprint(kept, self.touched.is_known).released()
        has_changed = any(mode is not Mode.READ for _, mode in kept)
        if is_commit and (has_changed or not released.is_known):
            return released.joined([touching(Mode.RELEASE, COMMITS)])
        return released

    def take_back_part(self) -> Footprint:
        """What a return to a savepoint touches: some of the locks are gone, nobody says which."""
        self.held.clear()
        self.touched = loosened(self.touched)
        return self.touched


def loosened(footprint: Footprint) -> Footprint:
    """The same without any claim as to who has what for itself."""
    owning = {Mode.ACQUIRE, Mode.ASK, Mode.HELD, Mode.RELEASE}
    return Footprint(
        tuple(
            (resource, Mode.WRITE if mode in owning else mode)
            for resource, mode in footprint.touches
        ),
        footprint.is_known,
    )
