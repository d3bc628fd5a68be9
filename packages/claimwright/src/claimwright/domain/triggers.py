"""Readings to risk events: the evaluation of one local day under one product's terms."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from claimwright.domain.calendar import Segment, local_day_segments
from claimwright.domain.index import IndexKind, IndexPoint, Reading
from claimwright.domain.terms import ProductTerms


@dataclass(frozen=True, slots=True)
class Trigger:
    """The index crossed a tier's threshold: a risk event that nobody has stored yet.

    Attributes:
        triggered_at: UTC instant of the reading that decided.
        index: the index at that reading, in the terms' unit.
        reading_ids: the readings the index was made of, in order of time.
    """

    tier_level: str
    triggered_at: datetime
    index: Decimal
    reading_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DayEvaluation:
    """What the readings known now say of one local day.

    Attributes:
        points: the running index at each plausible reading of the day.
        triggers: the crossings, in order of time, of strictly rising tiers.
        implausible: readings that were not believed, with the reason.
        missing_slots: starts of the cadence's slots that have no plausible reading; the day
            is complete when there are none.
        settles_at_close: the day has to be complete before it can trigger.
    """

    day: date
    points: tuple[IndexPoint, ...]
    triggers: tuple[Trigger, ...]
    implausible: tuple[tuple[Reading, str], ...]
    missing_slots: tuple[datetime, ...]
    settles_at_close: bool

    @property
    def highest_tier(self) -> str | None:
        """The highest tier the day reached; `None` for none."""
        return self.triggers[-1].tier_level if self.triggers else None


class DayEvaluator:
    """Evaluates local days of one zone from the readings of one region and variable.

    Args:
        terms: the product's terms.
        zone: the IANA zone in which the days are local.
        readings: in any order; those outside the evaluated days and their windows are ignored.
    """

    def __init__(self, terms: ProductTerms, zone: str, readings: Iterable[Reading]) -> None:
        self._terms = terms
        self._zone = zone
        self._readings = sorted(readings, key=lambda reading: (reading.observed_at, reading.id))
        self._instants = [reading.observed_at for reading in self._readings]

    def evaluate(self, day: date, settled_by: Iterable[Sequence[int]] = ()) -> DayEvaluation:
        """The day's index, its triggers and what stands in their way.

        Args:
            day: a local date of the zone.
            settled_by: for terms that settle at the close, the readings of each event that the
                day has already made. A day that has settled stays settled: readings that
                arrive later are not applied, as restatements are not.
        """
        if not self._terms.is_monotone:
            for reading_ids in settled_by:
                settled = self._evaluated(day, frozenset(reading_ids))
                if settled.triggers:
                    return settled
        return self._evaluated(day)

    def _evaluated(self, day: date, only: frozenset[int] | None = None) -> DayEvaluation:
        segments = local_day_segments(day, self._zone, self._terms.day_boundary)
        known = [reading for reading in self._known(segments) if only is None or reading.id in only]
        reasons = {
            reading.id: reason
            for reading in known
            if (reason := self._terms.index.implausible(reading.value))
        }
        believed = [reading for reading in known if reading.id not in reasons]
        in_day = [reading for reading in believed if _lies_in(segments, reading.observed_at)]
        points = self._terms.index.path(in_day, believed)
        missing = self._missing_slots(segments, believed)
        return DayEvaluation(
            day=day,
            points=tuple(points),
            triggers=self._triggers(points, believed, complete=not missing),
            implausible=tuple((r, reasons[r.id]) for r in known if r.id in reasons),
            missing_slots=missing,
            settles_at_close=not self._terms.is_monotone,
        )

    def _known(self, segments: Sequence[Segment]) -> list[Reading]:
        """The readings that the day's index may look at, in order of time."""
        window = self._terms.index.window
        if not (segments and window):
            return [reading for segment in segments for reading in self._within(segment)]
        return self._within(Segment(segments[0].starts_at - window, segments[-1].ends_at))

    def _within(self, segment: Segment) -> list[Reading]:
        low = bisect_left(self._instants, segment.starts_at)
        return self._readings[low : bisect_left(self._instants, segment.ends_at)]

    def _missing_slots(
        self, segments: Sequence[Segment], believed: Sequence[Reading]
    ) -> tuple[datetime, ...]:
        instants = [reading.observed_at for reading in believed]
        cadence, window = self._terms.index.cadence, self._terms.index.window
        missing = _missing_slots(segments, instants, cadence)
        if segments and window:
            before = Segment(segments[0].starts_at - window, segments[0].starts_at)
            missing = _missing_slots((before,), instants, cadence) + missing
        return missing

    def _triggers(
        self, points: Sequence[IndexPoint], believed: Sequence[Reading], *, complete: bool
    ) -> tuple[Trigger, ...]:
        if self._terms.is_monotone:
            return tuple(self._crossings(points, believed))
        if not points or not complete:
            return ()
        index = self._terms.index.settled(points, self._terms.comparison)
        rank = self._terms.highest_tier_met(index)
        evidence = tuple(reading.id for reading in believed)
        return (self._trigger(rank, points[-1], index, evidence),) if rank else ()

    def _crossings(
        self, points: Sequence[IndexPoint], believed: Sequence[Reading]
    ) -> Iterator[Trigger]:
        """One trigger at each reading that takes the index over a tier not crossed before."""
        reached = 0
        for position, point in enumerate(points, start=1):
            rank = self._terms.highest_tier_met(point.index)
            if rank > reached:
                reached = rank
                evidence = self._evidence(points[:position], believed)
                yield self._trigger(rank, point, point.index, evidence)

    def _evidence(
        self, points: Sequence[IndexPoint], believed: Sequence[Reading]
    ) -> tuple[int, ...]:
        """The readings behind the last of these points."""
        if self._terms.index.kind is not IndexKind.ROLLING_SUM:
            return tuple(point.reading.id for point in points)
        last = points[-1].reading.observed_at
        first = last - self._terms.index.window
        return tuple(reading.id for reading in believed if first < reading.observed_at <= last)

    def _trigger(
        self, rank: int, point: IndexPoint, index: Decimal, evidence: tuple[int, ...]
    ) -> Trigger:
        return Trigger(
            tier_level=self._terms.schedule.tiers[rank - 1].level,
            triggered_at=point.reading.observed_at,
            index=index,
            reading_ids=evidence,
        )


def _lies_in(segments: Sequence[Segment], instant: datetime) -> bool:
    return any(segment.starts_at <= instant < segment.ends_at for segment in segments)


def _missing_slots(
    segments: Sequence[Segment], instants: Sequence[datetime], cadence: timedelta
) -> tuple[datetime, ...]:
    """Slots of one cadence, counted along the segments, in which no reading lies.

    The last slot takes what is left over, so that a day of 25 hours needs one daily reading.
    """
    length = sum((segment.ends_at - segment.starts_at for segment in segments), timedelta())
    if not length:
        return ()
    count = max(1, length // cadence)
    filled: set[int] = set()
    starts: dict[int, datetime] = {}
    passed = timedelta()
    for starts_at, ends_at in segments:
        for number in range(count):
            if passed <= number * cadence < passed + (ends_at - starts_at):
                starts[number] = starts_at + (number * cadence - passed)
        filled |= {
            min(count - 1, (passed + (instant - starts_at)) // cadence)
            for instant in instants
            if starts_at <= instant < ends_at
        }
        passed += ends_at - starts_at
    return tuple(starts[number] for number in range(count) if number not in filled)
