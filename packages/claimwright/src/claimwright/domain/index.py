"""The index: what a contract settles on, a reading aggregated over a window of a local day.

A *monotone* pair of index and comparison can only come nearer to its thresholds as more readings
of the day become known (a sum of non-negative readings or a maximum with ``>=``, a minimum with
``<=``): it triggers at the reading that first takes the index over a threshold. Every other pair
settles when the day is closed and complete.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Context, Decimal, Inexact
from enum import StrEnum

from claimwright.domain.errors import InvalidTermsError
from claimwright.domain.names import terms_name
from claimwright.domain.numbers import terms_number

# Sums are exact or an error: 60 digits hold any sum of the readings that are stored.
_EXACT = Context(prec=60, traps=[Inexact])
_LONGEST_WINDOW_HOURS = 24 * 31
_MINUTES_OF_DAY = 24 * 60


class IndexKind(StrEnum):
    """How readings become the index of a local day."""

    DAILY_SUM = "daily_sum"
    """Accumulation since the day's first instant."""
    ROLLING_SUM = "rolling_sum"
    """Accumulation over the ``window_hours`` up to each reading, earlier days included."""
    DAILY_MAX = "daily_max"
    DAILY_MIN = "daily_min"


class Comparison(StrEnum):
    """When a threshold counts as crossed."""

    AT_LEAST = ">="
    AT_MOST = "<="

    def holds(self, index: Decimal, threshold: Decimal) -> bool:
        """Whether the index crosses the threshold."""
        return index >= threshold if self is Comparison.AT_LEAST else index <= threshold


@dataclass(frozen=True, slots=True)
class Reading:
    """One measured value, at an instant in UTC, in the unit of its variable."""

    id: int
    observed_at: datetime
    value: Decimal


@dataclass(frozen=True, slots=True)
class IndexPoint:
    """The index as it stands with one more reading of the day."""

    reading: Reading
    index: Decimal


@dataclass(frozen=True, slots=True)
class IndexDefinition:
    """What is measured, how it is aggregated, and which readings are believed.

    Attributes:
        variable: the readings' name, as in ``precipitation``.
        unit: the readings' unit, as in ``in``.
        window_hours: for rolling sums, 1 to 744 and at least the cadence; otherwise `None`.
        cadence_minutes: how often a reading is due; decides when a day is complete.
        plausible_minimum: a reading below it never triggers and is quarantined; so is one
            above ``plausible_maximum``.
    """

    variable: str
    unit: str
    kind: IndexKind
    plausible_minimum: Decimal
    plausible_maximum: Decimal
    window_hours: int | None = None
    cadence_minutes: int = 60

    def __post_init__(self) -> None:
        for key in ("variable", "unit"):
            terms_name(f"index.{key}", getattr(self, key))
        if not 1 <= self.cadence_minutes <= _MINUTES_OF_DAY:
            raise InvalidTermsError("index.cadence_minutes", "is 1 to 1440 minutes")
        self._check_window()
        terms_number("index.plausible.minimum", self.plausible_minimum)
        terms_number("index.plausible.maximum", self.plausible_maximum)
        if not self.plausible_minimum < self.plausible_maximum:
            raise InvalidTermsError("index.plausible", "its minimum lies below its maximum")

    def _check_window(self) -> None:
        rolling = self.kind is IndexKind.ROLLING_SUM
        if rolling != (self.window_hours is not None):
            word = "needs" if rolling else "has no"
            raise InvalidTermsError("index.window_hours", f"a {self.kind} {word} window in hours")
        if self.window_hours is not None and not 1 <= self.window_hours <= _LONGEST_WINDOW_HOURS:
            raise InvalidTermsError("index.window_hours", f"is 1 to {_LONGEST_WINDOW_HOURS} hours")
        if rolling and self.window < self.cadence:
            raise InvalidTermsError("index.window_hours", "is at least the cadence of the readings")

    @property
    def window(self) -> timedelta:
        """How far before a day its index looks: 0 but for rolling sums."""
        return timedelta(hours=self.window_hours or 0)

    @property
    def cadence(self) -> timedelta:
        """How often a reading is due."""
        return timedelta(minutes=self.cadence_minutes)

    def implausible(self, value: Decimal) -> str | None:
        """Why a reading is not believed, as a sentence; `None` for one that is."""
        if not value.is_finite():
            return f"{value} is not a finite number"
        if value < self.plausible_minimum:
            return f"{value} {self.unit} is below the plausible minimum {self.plausible_minimum}"
        if value > self.plausible_maximum:
            return f"{value} {self.unit} is above the plausible maximum {self.plausible_maximum}"
        return None

    def is_monotone(self, comparison: Comparison) -> bool:
        """Whether more readings can only bring the index nearer to its thresholds."""
        if self.kind is IndexKind.DAILY_MAX:
            return comparison is Comparison.AT_LEAST
        if self.kind is IndexKind.DAILY_MIN:
            return comparison is Comparison.AT_MOST
        return comparison is Comparison.AT_LEAST and self.plausible_minimum >= 0

    def path(self, day: Sequence[Reading], span: Sequence[Reading]) -> list[IndexPoint]:
        """The running index at each reading of the day, in order of time.

        Args:
            day: plausible readings of the day, in order of time.
            span: plausible readings from the first window's start to the day's end, those of
                the day included; only rolling sums look at it.
        """
        if self.kind is IndexKind.ROLLING_SUM:
            ids_of_day = {reading.id for reading in day}
            points = self._rolling_points(span)
            return [point for point in points if point.reading.id in ids_of_day]
        return list(self._running_points(day))

    def settled(self, points: Sequence[IndexPoint], comparison: Comparison) -> Decimal:
        """The index of a closed day: the last running value, or a rolling sum's extreme."""
        if self.kind is not IndexKind.ROLLING_SUM:
            return points[-1].index
        values = [point.index for point in points]
        return max(values) if comparison is Comparison.AT_LEAST else min(values)

    def _running_points(self, day: Sequence[Reading]) -> Iterator[IndexPoint]:
        index: Decimal | None = None
        for reading in day:
            index = reading.value if index is None else self._combine(index, reading.value)
            yield IndexPoint(reading, index)

    def _combine(self, index: Decimal, value: Decimal) -> Decimal:
        if self.kind is IndexKind.DAILY_MAX:
            return max(index, value)
        if self.kind is IndexKind.DAILY_MIN:
            return min(index, value)
        return _EXACT.add(index, value)

    def _rolling_points(self, readings: Sequence[Reading]) -> Iterator[IndexPoint]:
        """At each reading, the sum over (its instant - window, its instant]."""
        oldest, total = 0, Decimal(0)
        for reading in readings:
            total = _EXACT.add(total, reading.value)
            while readings[oldest].observed_at <= reading.observed_at - self.window:
                total = _EXACT.subtract(total, readings[oldest].value)
                oldest += 1
            yield IndexPoint(reading, total)
