"""Which days of a chart get a label, so that labels overlap neither each other nor a mark."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from claimwright.demo.facts import DayFacts
from claimwright.demo.portfolio import FIRST_DAY, LAST_DAY

# How much of the axis a label takes up, its distance from the mark included.
_LABEL_SHARE: Final = Decimal("0.2")
_MOST_LABELS: Final = 6


def index_of(day: DayFacts) -> Decimal:
    """A day's index; 0 without a reading."""
    return day.index or Decimal(0)


def place_labels(days: Sequence[DayFacts], width_days: int, axis_top: Decimal) -> list["LabelBox"]:
    """The labels that have room, of the days that paid most first.

    Args:
        days: a year of days.
        width_days: how many days of the axis a label is wide.
        axis_top: the top of the vertical axis, in the index's unit.
    """
    paid = sorted((day for day in days if day.claims), key=lambda day: -day.paid_minor)
    chosen: list[LabelBox] = []
    for day in paid:
        box = LabelBox.above(day, width_days, axis_top)
        has_room = not any(box.touches(other) for other in chosen)
        if has_room and not any(box.hides(other) for other in paid):
            chosen.append(box)
    return chosen[:_MOST_LABELS]


@dataclass(frozen=True, slots=True)
class LabelBox:
    """Where the label of a day lies: from one date to another, from one index to another."""

    day: DayFacts
    anchor: str
    starts_on: date
    ends_on: date
    bottom: Decimal
    top: Decimal

    @classmethod
    def above(cls, day: DayFacts, days: int, axis_top: Decimal) -> "LabelBox":
        """Return the box of a label so many days wide, a little above the day's mark."""
        width = timedelta(days=days)
        anchor, starts_on = "center", day.day - width / 2
        if (day.day - FIRST_DAY) < width / 2:
            anchor, starts_on = "left", day.day
        elif (LAST_DAY - day.day) < width / 2:
            anchor, starts_on = "right", day.day - width
        index = index_of(day)
        return cls(
            day, anchor, starts_on, starts_on + width, index, index + axis_top * _LABEL_SHARE
        )

    def touches(self, other: "LabelBox") -> bool:
        """Whether two labels would overlap, or nearly so."""
        return self.starts_on <= other.ends_on and other.starts_on <= self.ends_on

    def hides(self, other: DayFacts) -> bool:
        """Whether the label would lie on another day's mark."""
        return (
            other.day != self.day.day
            and self.starts_on <= other.day <= self.ends_on
            and self.bottom < index_of(other) < self.top
        )
