"""Settle many policies of a group at once: what calculating by chunk and by policy have in common.

What a policy gets depends on its cover, what its limit leaves, the days it covers and what it has
been paid in the periods concerned, and on nothing else of its own. So the rules are asked once for
each such case, and what they say is stored for every policy in it.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from claimwright.domain.calculator import Turn
from claimwright.domain.calendar import local_date
from claimwright.domain.layers import Standing
from claimwright.domain.usability import policy_fault
from claimwright.metrics import CLAIMS_CREATED
from claimwright.operations.calculate import ENGINE_VERSION
from claimwright.storage.claims import DRAFT_COLUMNS
from claimwright.storage.database import Driver
from claimwright.storage.groups import Group
from claimwright.storage.risk_events import EventRow
from claimwright.storage.standings import (
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
_DRAFT_FIELDS: Final = DRAFT_COLUMNS[1:]
_TIER: Final = _DRAFT_FIELDS.index("tier_level")
_NOTHING: Final = frozenset[int]()


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


class _Case(NamedTuple):
    """All that decides what policies of one group get.

    Attributes:
        first: of the group's days with events, the place of the first that is covered.
        beyond: and the place after the last.
    """

    coverage_minor: int
    left_minor: int
    first: int
    beyond: int
    standing: tuple[PeriodStanding, ...]
    withdrawn: frozenset[int]


class _Sample(NamedTuple):
    """A policy in a case, as the rules want to see it."""

    id: int
    product_version_id: int
    coverage_region: str
    coverage_minor: int
    limit_minor: int
    zone: str
    first_day: date
    last_day: date
    cancelled_on: date | None


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
) -> Settled:
    """Store what events still add to policies that the caller has locked.

    Everything is read by statements after the lock's.

    Args:
        connection: the caller's transaction, which is READ COMMITTED and commits.
        members: the policies, by group; all of them locked.
        span: the first and last local date whose events count.
        calculation_id: what the claims carry.
        utc_day: counts only dates with an event of no zone that lies on this date of UTC.
    """
    settled = Settled()
    groups = [one.group.key for one in members]
    ids = sorted(policy_id for one in members for policy_id in one.ids)
    events = await events_between(connection, groups, *instants_around(span))
    figures = {policy.id: policy for policy in await figures_of(connection, ids)}
    withdrawn = await withdrawn_from(connection, ids) if any(events.values()) else {}
    rows: list[tuple[object, ...]] = []
    for one in members:
        found = _on_dates(one.group, events[one.group.key], span, utc_day)
        days, faults = _by_day(one.group, found)
        settled.day_faults |= faults
        policies = [figures[policy_id] for policy_id in one.ids if policy_id in figures]
        policies = _usable(policies, one.group.key.zone, settled)
        _leave_out_covered(policies, faults, settled)
        if not days:
            continue
        paid = [policy.id for policy in policies if policy.paid_minor]
        periods = sorted({turn.period for day in days for turn in day.turns})
        standings = await standings_of(connection, paid, periods)
        tail = (one.group.terms.sha256, calculation_id, ENGINE_VERSION)
        rows += _rows(
            _asker(one.group, days, tail), policies, days, _Taken(standings, withdrawn), settled
        )
    if rows:
        settled.first_policy_id = int(str(rows[0][0]))
        await copy_claims(connection, rows)
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
    ask: Callable[[_Case], list[tuple[object, ...]]],
    figures: Iterable[Figures],
    by_day: Sequence[DayTurns],
    taken: _Taken,
    settled: Settled,
) -> list[tuple[object, ...]]:
    """The claims to store, as `CLAIM_COLUMNS`, by rising policy and in the order they follow."""
    answers: dict[_Case, list[tuple[object, ...]]] = {}
    days = [day.day for day in by_day]
    rows: list[tuple[object, ...]] = []
    for policy in figures:
        first, beyond = _covered(policy, days)
        if first >= beyond:
            continue
        settled.calculations += beyond - first
        case = _Case(
            policy.coverage_minor,
            policy.limit_minor - policy.paid_minor,
            first,
            beyond,
            tuple(taken.standings.get(policy.id, ())),
            taken.withdrawn.get(policy.id, _NOTHING),
        )
        if case not in answers:
            try:
                answers[case] = ask(case)
            except ROW_FAULTS as error:
                settled.policy_faults[policy.id] = fault_of(error)
                settled.unpaid.add(policy.id)
                continue
        for draft in answers[case]:
            rows.append((policy.id, *draft))
            settled.claims[str(draft[_TIER])] += 1
    return rows


def _asker(
    group: Group, by_day: Sequence[DayTurns], tail: tuple[object, ...]
) -> Callable[[_Case], list[tuple[object, ...]]]:
    """What asks the rules about a case; it gives `CLAIM_COLUMNS` without the policy."""
    key, calculator = group.key, group.terms.calculator

    def ask(case: _Case) -> list[tuple[object, ...]]:
        covered = by_day[case.first : case.beyond]
        turns = [turn for day in covered for turn in day.turns]
        if case.withdrawn:
            events = (e for day in covered for e in day.events if e.id not in case.withdrawn)
            turns = calculator.turns(events, key.zone)
        standing = Standing(
            {period: minor for period, minor, _ in case.standing},
            {period: percentage for period, _, percentage in case.standing},
        )
        sample = _Sample(
            id=0,
            product_version_id=key.product_version_id,
            coverage_region=key.region,
            coverage_minor=case.coverage_minor,
            limit_minor=case.left_minor,
            zone=key.zone,
            first_day=covered[0].day,
            last_day=covered[-1].day,
            cancelled_on=None,
        )
        return [
            (*(getattr(draft, name) for name in _DRAFT_FIELDS), *tail)
            for draft in calculator.settle(turns, sample, standing)
        ]

    return ask
