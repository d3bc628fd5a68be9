"""Settle many policies of a group at once: what calculating by chunk and by policy have in common.

What a policy gets depends on its cover, what its limit leaves, the days it covers and what it has
been paid in the periods concerned, and on nothing else of its own. So the rules are asked once for
each such case, and what they say is stored for every policy in it.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any, Final, NamedTuple
from uuid import UUID

from claimwright.domain.calculator import Turn
from claimwright.domain.calendar import local_date
from claimwright.domain.layers import Standing
from claimwright.domain.usability import policy_fault
from claimwright.metrics import CLAIMS_CREATED
from claimwright.operations.calculate import ENGINE_VERSION
from claimwright.storage.database import Driver
from claimwright.storage.groups import Group
from claimwright.storage.risk_events import EventRow
from claimwright.storage.standings import (
    CLAIM_COLUMNS,
    Figures,
    PeriodStanding,
    copy_claims,
    events_between,
    figures_of,
    standings_of,
    withdrawn_from,
)
from claimwright.storage.unusable import ROW_FAULTS, fault_of

_ONE_DAY: Final = timedelta(days=1)
_TIER: Final = CLAIM_COLUMNS.index("tier_level") - 1
_NOTHING: Final = frozenset[int]()
# Where there are more cases than this, they seldom come again.
_MOST_ANSWERS_KEPT: Final = 1_000


@dataclass(slots=True)
class Settled:
    """What settling some policies came to.

    Attributes:
        calculations: policies and dates of theirs on which events lie.
        claims: how many were stored, by tier.
        first_policy_id: one that got a claim, by which the calculation is found again.
        day_faults: why the events of a date cannot be taken.
        policy_faults: why a policy cannot be taken.
        unpaid: policies that cover a date whose events cannot be taken, or cannot be taken.
    """

    calculations: int = 0
    claims: Counter[str] = field(default_factory=Counter)
    first_policy_id: int | None = None
    day_faults: dict[date, str] = field(default_factory=dict)
    policy_faults: dict[int, str] = field(default_factory=dict)
    unpaid: set[int] = field(default_factory=set)

    @property
    def fault(self) -> str:
        """Why somebody stays unpaid, in words; empty where nobody does."""
        if not self.unpaid:
            return ""
        named = [f"{day}: {fault}" for day, fault in self.day_faults.items()]
        named += [f"policy {number}: {fault}" for number, fault in self.policy_faults.items()]
        return named[0]

    def count(self) -> None:
        """Tell the metrics, once it is committed."""
        for tier, claims in self.claims.items():
            CLAIMS_CREATED.labels(tier).inc(claims)


class DayTurns(NamedTuple):
    """The events of one local date, and their turns."""

    day: date
    events: list[EventRow]
    turns: list[Turn]


class Members(NamedTuple):
    """Policies of one group, by rising id."""

    group: Group
    ids: Sequence[int]


async def settle_policies(
    connection: Driver,
    members: Sequence[Members],
    span: tuple[date, date],
    calculation_id: UUID,
    *,
    utc_day: date | None = None,
    figures_of: Callable[[Driver, Sequence[int]], Awaitable[list[Figures]]] = figures_of,
) -> Settled:
    """Store what events still add to policies that the caller has locked.

    Everything is read by statements after the lock's.

    Args:
        connection: the caller's transaction, which is READ COMMITTED and commits.
        members: the policies, by group; all of them locked.
        span: the first and last local date whose events count.
        calculation_id: what the claims carry.
        utc_day: counts only dates with an event of no zone that lies on this date of UTC.
        figures_of: reads the policies; a proof can let it be older than the locks.
    """
    settled = Settled()
    groups = [one.group.key for one in members]
    ids = sorted(policy_id for one in members for policy_id in one.ids)
    events = await events_between(connection, groups, *instants_around(span))
    figures = {policy.id: policy for policy in await figures_of(connection, ids)}
    withdrawn = await withdrawn_from(connection, ids) if any(events.values()) else {}
    rows: list[Iterator[tuple[object, ...]]] = []
    for one in members:
        found = _on_dates(one.group, events[one.group.key], span, utc_day)
        days, faults = _by_day(one.group, found)
        settled.day_faults |= faults
        policies = [figures[policy_id] for policy_id in one.ids if policy_id in figures]
        policies = _usable(policies, one.group.key.zone, settled)
        _leave_out_covered(policies, faults, settled)
        if days:
            paid = [policy.id for policy in policies if policy.paid_minor]
            periods = sorted({turn.period for day in days for turn in day.turns})
            taken = _Taken(await standings_of(connection, paid, periods), withdrawn)
            tail = (one.group.terms.sha256, calculation_id, ENGINE_VERSION)
            rows.append(_rows(_Asker(one.group, days, tail), policies, taken, settled))
    settled.first_policy_id = await copy_claims(connection, chain.from_iterable(rows))
    return settled


def instants_around(span: tuple[date, date]) -> tuple[datetime, datetime]:
    """Between which instants the local dates of a span lie, in whatever zone."""
    first, last = (datetime.combine(day, time(), UTC) for day in span)
    return first - 2 * _ONE_DAY, last + 4 * _ONE_DAY


def _on_dates(
    group: Group, events: Iterable[EventRow], span: tuple[date, date], utc_day: date | None
) -> dict[date, list[EventRow]]:
    """The events of each local date that counts, by rising date."""
    found: dict[date, list[EventRow]] = {}
    for event in events:
        day = local_date(event.triggered_at, group.key.zone, group.terms.day_boundary)
        if span[0] <= day <= span[1]:
            found.setdefault(day, []).append(event)
    return {
        day: found[day]
        for day in sorted(found)
        if utc_day is None or any(_lies_on(event, utc_day) for event in found[day])
    }


def _lies_on(event: EventRow, utc_day: date) -> bool:
    return event.zone is None and event.triggered_at.astimezone(UTC).date() == utc_day


def _by_day(
    group: Group, events: Mapping[date, list[EventRow]]
) -> tuple[list[DayTurns], dict[date, str]]:
    """The turns of each local date, and of which dates the events cannot be taken, and why."""
    by_day, faults = [], {}
    for day, found in events.items():
        try:
            turns = group.terms.calculator.turns(found, group.key.zone)
        except ROW_FAULTS as error:
            faults[day] = fault_of(error)
        else:
            by_day.append(DayTurns(day, found, turns))
    return by_day, faults


def _usable(figures: list[Figures], zone: str, settled: Settled) -> list[Figures]:
    """Without those whom the rules cannot take, by the currency that they are in."""
    faults = {
        currency: fault
        for currency in {policy.currency for policy in figures}
        if (fault := policy_fault(zone, currency))
    }
    if not faults:
        return figures
    for policy in figures:
        if policy.currency in faults:
            settled.policy_faults[policy.id] = faults[policy.currency]
            settled.unpaid.add(policy.id)
    return [policy for policy in figures if policy.currency not in faults]


def _leave_out_covered(
    figures: Iterable[Figures], faults: Mapping[date, str], settled: Settled
) -> None:
    """Note who covers a date whose events cannot be taken; they are paid for all others."""
    days = sorted(faults)
    for policy in figures if days else ():
        first, beyond = _covered(policy, days)
        if first < beyond:
            settled.unpaid.add(policy.id)


def _covered(policy: Figures, days: Sequence[date]) -> tuple[int, int]:
    """Of rising dates, the place of the first one that the policy covers, and beyond the last."""
    beyond = bisect_right(days, policy.last_day)
    if policy.cancelled_on is not None:
        beyond = min(beyond, bisect_left(days, policy.cancelled_on))
    return bisect_left(days, policy.first_day), beyond


class _Taken(NamedTuple):
    """What policies have been paid in the periods concerned, and what no longer pays them."""

    standings: Mapping[int, Sequence[PeriodStanding]]
    withdrawn: Mapping[int, frozenset[int]]


def _rows(
    ask: "_Asker", figures: Iterable[Figures], taken: _Taken, settled: Settled
) -> Iterator[tuple[object, ...]]:
    """The claims to store, as `CLAIM_COLUMNS`, by rising policy and in the order they follow.

    One by one, while PostgreSQL takes in those before.
    """
    days = [day.day for day in ask.by_day]
    for policy in figures:
        first, beyond = _covered(policy, days)
        if first >= beyond:
            continue
        settled.calculations += beyond - first
        try:
            drafts = ask(
                (first, beyond),
                policy.coverage_minor,
                policy.limit_minor - policy.paid_minor,
                taken.standings.get(policy.id, ()),
                taken.withdrawn.get(policy.id, _NOTHING),
            )
        except ROW_FAULTS as error:
            settled.policy_faults[policy.id] = fault_of(error)
            settled.unpaid.add(policy.id)
            continue
        for draft in drafts:
            settled.claims[draft[_TIER]] += 1
            yield (policy.id, *draft)


class _Asker:
    """Asks the rules once for each cover, limit, stretch of days and standing of one group."""

    def __init__(self, group: Group, by_day: Sequence[DayTurns], tail: tuple[object, ...]) -> None:
        self.by_day = by_day
        self._zone = group.key.zone
        self._calculator = group.terms.calculator
        self._tail = tail
        self._answers: dict[object, list[tuple[Any, ...]]] = {}
        self._turns: dict[object, list[Turn]] = {}

    def __call__(
        self,
        places: tuple[int, int],
        coverage_minor: int,
        left_minor: int,
        standing: Sequence[PeriodStanding],
        withdrawn: frozenset[int],
    ) -> list[tuple[Any, ...]]:
        """`CLAIM_COLUMNS` without the policy."""
        case = (places, coverage_minor, left_minor, tuple(standing), withdrawn)
        answer = self._answers.get(case)
        if answer is None:
            before = Standing({}, {})
            for period, minor, percentage in standing:
                before.exhaustion_minor[period] = minor
                before.percentage[period] = percentage
            turns = self._turns_on(places, withdrawn)
            steps = self._calculator.steps(turns, coverage_minor, left_minor, before)
            answer = [self._columns(*step) for step in steps]
            if len(self._answers) < _MOST_ANSWERS_KEPT:
                self._answers[case] = answer
        return answer

    def _columns(
        self, turn: Turn, attachment_minor: int, exhaustion_minor: int, percentage: Decimal
    ) -> tuple[object, ...]:
        return (
            turn.event.id,
            turn.day,
            turn.period,
            turn.tier.level,
            attachment_minor,
            exhaustion_minor,
            percentage,
            *self._tail,
        )

    def _turns_on(self, places: tuple[int, int], withdrawn: frozenset[int]) -> list[Turn]:
        """The turns of some days, without events that are withdrawn."""
        key = (places, withdrawn)
        if key not in self._turns:
            covered = self.by_day[places[0] : places[1]]
            self._turns[key] = (
                self._calculator.turns(
                    [e for day in covered for e in day.events if e.id not in withdrawn], self._zone
                )
                if withdrawn
                else [turn for day in covered for turn in day.turns]
            )
        return self._turns[key]
