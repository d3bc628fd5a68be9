"""What the readings and the stored events say of one group: what a verification compares with."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.domain.oracle import Evidence
from claimwright.domain.triggers import DayEvaluation
from claimwright.domain.verification import EventDifference, event_differences, reached_without
from claimwright.operations.evaluate import days_touched, read_evaluations
from claimwright.storage.groups import Group
from claimwright.storage.readings import reading_dates
from claimwright.storage.requests import group_is_pending
from claimwright.storage.risk_events import EventRow, events_of_group

_DAYS_AT_ONCE: Final = 92


@dataclass(frozen=True, slots=True)
class Weather:
    """What is known of one group: the days' tiers, and the events that are stored.

    Attributes:
        pending: whether readings or events that concern it are still to do.
        reached: the highest tier by local date, from the readings.
        events: the stored events that can concern its policies, by id.
        made: those made from readings, by local date.
        direct: those that were stored as such.
        differences: how the stored events differ from what the readings say.
    """

    group: Group
    pending: bool
    reached: Mapping[date, str]
    events: Mapping[int, EventRow]
    made: Mapping[date, Sequence[EventRow]]
    direct: Sequence[EventRow]
    differences: Sequence[EventDifference]

    def evidence(self, withdrawn: frozenset[int]) -> Evidence:
        """What the readings and direct events say to a policy with these withdrawals."""
        if not withdrawn:
            return Evidence(self.reached, self.direct)
        calculator = self.group.terms.calculator
        reached = reached_without(self.reached, calculator, self.made, withdrawn)
        return Evidence(reached, [event for event in self.direct if event.id not in withdrawn])


async def read_weather(
    connection: AsyncConnection, group: Group, term: tuple[date, date]
) -> Weather:
    """Evaluate every day of a group once, and hold its stored events against that.

    Raises:
        ClaimwrightError, ArithmeticError or ValueError: a row that no guard let in.
    """
    events = await events_of_group(connection, group.key)
    made: dict[date, list[EventRow]] = defaultdict(list)
    for event in events:
        if event.local_date is not None:
            made[event.local_date].append(event)
    pending = await group_is_pending(connection, group.key, group.terms.index.variable)
    days = await _days_with_readings(connection, group, term)
    reached: dict[date, str] = {}
    different: list[EventDifference] = []
    async for found in _evaluations(connection, group, sorted(days | made.keys())):
        if found.highest_tier is not None:
            reached[found.day] = found.highest_tier
        covered = term[0] <= found.day <= term[1]
        of_day = made.get(found.day, [])
        zone = group.key.zone
        different += event_differences(group.terms, zone, found, of_day, covered=covered)
    direct = [event for event in events if event.local_date is None]
    by_id = {event.id: event for event in events}
    return Weather(group, pending, reached, by_id, made, direct, different)


async def _days_with_readings(
    connection: AsyncConnection, group: Group, term: tuple[date, date]
) -> set[date]:
    """Local dates within the term that readings can touch, rolling windows included."""
    dates = await reading_dates(connection, group.key.region, group.terms.index.variable)
    days: set[date] = set()
    for utc_day in dates:
        first, last = days_touched(group, utc_day)
        ordinals = range(max(first, term[0]).toordinal(), min(last, term[1]).toordinal() + 1)
        days.update(map(date.fromordinal, ordinals))
    return days


async def _evaluations(
    connection: AsyncConnection, group: Group, days: Sequence[date]
) -> AsyncIterator[DayEvaluation]:
    """What the readings say of these dates; days without a reading between them are skipped."""
    stretch: list[date] = []
    for day in days:
        if stretch and ((day - stretch[-1]).days > 1 or len(stretch) == _DAYS_AT_ONCE):
            for found in await read_evaluations(connection, group, stretch):
                yield found
            stretch = []
        stretch.append(day)
    if stretch:
        for found in await read_evaluations(connection, group, stretch):
            yield found
