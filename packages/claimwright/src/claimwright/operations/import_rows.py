"""What imports share: good rows in batches, refused rows in the quarantine file."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from claimwright.domain.errors import InvalidInputError
from claimwright.files.quarantine import QuarantineFile
from claimwright.files.rows import RefusedRow, Row, RowSource

Item = TypeVar("Item")
ROWS_AT_ONCE: Final = 5_000
#: How many refusals a report names; the quarantine file has them all.
REFUSALS_NAMED: Final = 20

Notify = Callable[[int, int, int], None]
"""Told of progress after each batch: bytes or rows done, how much there is, and rows read."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that was refused: its number in the file, and why."""

    row: int
    reason: str


@dataclass(slots=True)
class Refusals:
    """The refused rows of one import.

    Attributes:
        first: the first of them, at most `REFUSALS_NAMED`.
        count: how many there are.
        stopped_before: the first row that is not looked at, because the quarantine file was full.
    """

    quarantine: QuarantineFile
    first: list[Refusal] = field(default_factory=list)
    count: int = 0
    stopped_before: int | None = None

    def add(self, refused: RefusedRow) -> None:
        """Count a row and write it to the quarantine file."""
        self.quarantine.add(refused)
        self.count += 1
        if len(self.first) < REFUSALS_NAMED:
            self.first.append(Refusal(refused.number, refused.reason))


@dataclass(frozen=True, slots=True)
class Accepted(Generic[Item]):
    """What a good row became, with the row, so that it can still be refused."""

    row: Row
    items: list[Item]


def batches(
    rows: RowSource,
    read: Callable[[Row], list[Item]],
    refusals: Refusals,
    *,
    items_at_once: int,
    rows_at_once: int = ROWS_AT_ONCE,
) -> Iterator[list[Accepted[Item]]]:
    """Good rows in batches; rows that cannot be read, or that ``read`` refuses, are put aside.

    Once the quarantine file is full no further row is looked at.

    Args:
        rows: the file.
        read: what a row becomes; an `InvalidInputError` refuses it with that reason.
        refusals: where refused rows go.
        items_at_once: a batch ends with the row that reaches so many items.
        rows_at_once: or with so many rows, refused ones included.
    """
    batch: list[Accepted[Item]] = []
    seen = items = 0
    for row in rows:
        if refusals.quarantine.is_full:
            refusals.stopped_before = row.number
            break
        seen += 1
        if isinstance(row, RefusedRow):
            refusals.add(row)
        else:
            try:
                batch.append(Accepted(row, read(row)))
                items += len(batch[-1].items)
            except InvalidInputError as error:
                refusals.add(RefusedRow(row.number, str(error), row.cells))
        if seen >= rows_at_once or items >= items_at_once:
            yield batch
            batch, seen, items = [], 0, 0
    if seen:
        yield batch
