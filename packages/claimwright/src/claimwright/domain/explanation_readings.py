"""Readings as lines: local time, UTC, value, the running index, and the thresholds it crosses."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

from claimwright.domain.calendar import local_date, zone_named
from claimwright.domain.explanation_facts import PolicyFile, ReadingLine
from claimwright.domain.index import Comparison, IndexKind, IndexPoint, Reading
from claimwright.domain.money import plain
from claimwright.domain.terms import ProductTerms
from claimwright.domain.triggers import DayEvaluation


def local_time(instant: datetime, zone: str) -> datetime:
    """The instant in the zone, as a plain value: with its offset, without the zone's rules."""
    local = instant.astimezone(zone_named(zone))
    return local.replace(tzinfo=timezone(local.utcoffset() or timedelta()))


def time_text(instant: datetime, zone: str) -> str:
    """An instant for people: local with its offset, then UTC."""
    local = local_time(instant, zone).isoformat(" ", timespec="minutes")
    return f"{local} ({instant.astimezone(UTC):%H:%M} UTC)"


def evidence_lines(
    file: PolicyFile, readings: Sequence[Reading], day: date
) -> tuple[ReadingLine, ...]:
    """The readings an event was made from, with the index they give, as known then."""
    ordered = sorted(readings, key=lambda reading: (reading.observed_at, reading.id))
    notes = {id_: f"restated since as {_values(values)}" for id_, values in file.restated.items()}
    return tuple(_lines(file, ordered, evidence_points(file, ordered, day), notes))


def evidence_points(
    file: PolicyFile, readings: Sequence[Reading], day: date
) -> Sequence[IndexPoint]:
    """The running index of an event's readings, in order of time.

    A rolling sum that triggered at once has the readings of one window as its evidence: summed
    up from the first of them, they end at the index that decided.
    """
    index, boundary = file.terms.index, file.terms.day_boundary
    if index.kind is IndexKind.ROLLING_SUM and file.terms.is_monotone:
        return index.path(readings, readings)
    in_day = [
        reading
        for reading in readings
        if local_date(reading.observed_at, file.policy.zone, boundary) == day
    ]
    return index.path(in_day, readings)


def day_lines(file: PolicyFile, evaluation: DayEvaluation) -> tuple[ReadingLine, ...]:
    """The readings of a day as they are known now, those that are not believed among them."""
    readings = [point.reading for point in evaluation.points]
    readings += [reading for reading, _ in evaluation.implausible]
    notes = {reading.id: f"not believed: {why}" for reading, why in evaluation.implausible}
    ordered = sorted(readings, key=lambda reading: (reading.observed_at, reading.id))
    return tuple(_lines(file, ordered, evaluation.points, notes))


def best_index(terms: ProductTerms, evaluation: DayEvaluation) -> Decimal | None:
    """The index of a day that comes nearest to paying; `None` where it has none."""
    if not evaluation.points:
        return None
    if terms.is_monotone:
        rank = max if terms.comparison is Comparison.AT_LEAST else min
        return rank(point.index for point in evaluation.points)
    return terms.index.settled(evaluation.points, terms.comparison)


def _lines(
    file: PolicyFile,
    readings: Iterable[Reading],
    points: Sequence[IndexPoint],
    notes: Mapping[int, str],
) -> Iterator[ReadingLine]:
    terms = file.terms
    index_at = {point.reading.id: point.index for point in points}
    deciding = index_at
    if points and not terms.is_monotone:
        settled = terms.index.settled(points, terms.comparison)
        deciding = {points[-1].reading.id: settled}
    reached = 0
    for reading in readings:
        decides = deciding.get(reading.id)
        met = terms.highest_tier_met(decides) if decides is not None else 0
        crossed = terms.schedule.tiers[reached:met]
        reached = max(reached, met)
        yield ReadingLine(
            local_time(reading.observed_at, file.policy.zone),
            reading.observed_at.astimezone(UTC),
            reading.value,
            index_at.get(reading.id),
            tuple(tier.level for tier in crossed),
            notes.get(reading.id, ""),
        )


def _values(values: Iterable[Decimal]) -> str:
    return ", ".join(map(plain, values))
