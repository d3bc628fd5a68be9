"""Evaluate local days: readings to risk events, decided in a transaction after the storing one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby

from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.domain.calendar import local_date, local_day_span
from claimwright.domain.triggers import DayEvaluation, DayEvaluator
from claimwright.storage.groups import Group
from claimwright.storage.readings import quarantine, readings_between
from claimwright.storage.risk_events import insert_made_events, readings_of_settled_days

_ONE_DAY = timedelta(days=1)
_DAYS_AT_ONCE = 92


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What evaluating days of one group found.

    Attributes:
        days: how many were evaluated.
        incomplete: days that settle at their close and still miss readings.
    """

    days: int
    incomplete: int


async def evaluate_days(
    connection: AsyncConnection, group: Group, days: Sequence[date]
) -> Evaluated:
    """Evaluate a stretch of local days of a group from the readings known now; store their events.

    The caller's transaction is READ COMMITTED and commits. Evaluating a day again adds only
    events of tiers it has none of.

    Args:
        connection: the caller's transaction.
        group: whose index it is.
        days: consecutive dates in rising order, as `stretches` gives them.
    """
    evaluations = await read_evaluations(connection, group, days)
    triggers = [(found.day, trigger) for found in evaluations for trigger in found.triggers]
    await insert_made_events(connection, group.key, triggers)
    implausible = {reading.id for found in evaluations for reading, _ in found.implausible}
    if implausible:
        await quarantine(
            connection,
            product_version_id=group.key.product_version_id,
            reading_ids=sorted(implausible),
        )
    incomplete = sum(bool(e.settles_at_close and e.missing_slots) for e in evaluations)
    return Evaluated(len(evaluations), incomplete)


async def read_evaluations(
    connection: AsyncConnection, group: Group, days: Sequence[date]
) -> list[DayEvaluation]:
    """What the readings known now say of these dates, in rising order; nothing is stored."""
    zone, terms = group.key.zone, group.terms
    spans = [local_day_span(day, zone, terms.day_boundary) for day in (days[0], days[-1])]
    around = [
        (datetime.combine(day, time(), UTC) - 2 * _ONE_DAY) if span is None else span.starts_at
        for day, span in zip((days[0], days[-1]), spans, strict=True)
    ]
    ends_at = spans[1].ends_at if spans[1] else around[1] + 4 * _ONE_DAY
    readings = await readings_between(
        connection,
        group.key.region,
        terms.index.variable,
        around[0] - terms.index.window,
        ends_at,
    )
    evaluator = DayEvaluator(terms, zone, readings)
    if terms.is_monotone:
        return [evaluator.evaluate(day) for day in days]
    settled = await readings_of_settled_days(connection, group.key, (days[0], days[-1]))
    return [evaluator.evaluate(day, settled.get(day, ())) for day in days]


def days_touched(group: Group, utc_day: date) -> tuple[date, date]:
    """First and last local date whose index a reading of a UTC date can be part of."""
    midnight = datetime.combine(utc_day, time(), UTC)
    zone, boundary = group.key.zone, group.terms.day_boundary
    first = local_date(midnight, zone, boundary)
    return first, local_date(midnight + _ONE_DAY + group.terms.index.window, zone, boundary)


def stretches(days: Iterable[date]) -> Iterable[list[date]]:
    """Consecutive dates together, at most so many at once: what one transaction evaluates.

    Whoever evaluates the same days at the same time waits for the first of its events until that
    transaction ends, so that it has to be short.
    """
    ordered = sorted(set(days))
    for _, run in groupby(enumerate(ordered), key=lambda item: item[1].toordinal() - item[0]):
        stretch = [day for _, day in run]
        for start in range(0, len(stretch), _DAYS_AT_ONCE):
            yield stretch[start : start + _DAYS_AT_ONCE]
