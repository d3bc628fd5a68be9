"""Calculate policies that were stored or changed: the whole term of each, many at once."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Final, NamedTuple, Protocol
from uuid import UUID, uuid4

from claimwright import tracing
from claimwright.operations.at_once import at_once
from claimwright.operations.calculate_chunk import Settle, group_fault
from claimwright.operations.evaluate_request import evaluate_terms
from claimwright.operations.settle_policies import (
    Members,
    Settled,
    instants_around,
    settle_policies,
)
from claimwright.operations.transactions import retried_by_driver
from claimwright.runtime import Runtime
from claimwright.storage.database import Driver
from claimwright.storage.groups import Group
from claimwright.storage.products import read_terms
from claimwright.storage.requests import PendingRequest, finish_requests, still_pending
from claimwright.storage.risk_events import IndexGroup
from claimwright.storage.standings import (
    GroupMembers,
    event_dates,
    lock_many,
    members_of_groups,
)
from claimwright.storage.transients import DATABASE_ERRORS

#: Of one transaction: policies, and policies times the dates on which events can concern them.
MOST_POLICIES: Final = 2_000
FEWEST_POLICIES: Final = 10
_SHARES: Final = 16
MOST_POLICY_DATES: Final = 20_000


@dataclass(slots=True)
class PoliciesReport:
    """What calculating policies came to.

    Attributes:
        policies: how many were locked and looked at.
        calculations: policies and dates of theirs on which events lie.
        claims: how many were stored.
        batches: transactions in which that was done.
        contended: of these, those that gave way in part, or wholly, to somebody else.
        requests_finished: how many were not asked for again meanwhile.
        days_evaluated: local days of groups that were new to their readings.
        days_incomplete: of these, days that settle at their close and still miss readings.
        faults: by policy, why its request stays pending.
        calculation_ids: by policy, what its new claims carry, where its transaction stored any.
    """

    policies: int = 0
    calculations: int = 0
    claims: int = 0
    batches: int = 0
    contended: int = 0
    requests_finished: int = 0
    days_evaluated: int = 0
    days_incomplete: int = 0
    faults: dict[int, str] = field(default_factory=dict)
    calculation_ids: dict[int, UUID] = field(default_factory=dict)


class Lock(Protocol):
    """`lock_many`, or what stands in for it."""

    def __call__(  # noqa: D102 - the class says it
        self, connection: Driver, ids: Iterable[int], *, give_way: bool = False
    ) -> Awaitable[list[int]]: ...


@dataclass(frozen=True, slots=True)
class PolicyParts:
    """The parts of a batch's transaction, so that a proof can take one away."""

    lock: Lock = lock_many
    settle: Settle = settle_policies
    finish: Callable[[Driver, Iterable[PendingRequest]], Awaitable[int]] = finish_requests


async def calculate_policies(
    runtime: Runtime,
    requests: Sequence[PendingRequest],
    *,
    days: tuple[date, date] | None = None,
    give_way: bool = False,
    workers: int = 1,
    notify: Callable[[int], None] = lambda _policies: None,
    fault_of: Callable[[Exception], str] | None = None,
    parts: PolicyParts | None = None,
) -> PoliciesReport:
    """Pay what the events of policies' terms still add to them, and finish their requests.

    First the index of each group is evaluated for terms that it never was before; then the policies
    are taken in transactions of a bounded size, of any groups, each as a chunk is.

    Args:
        runtime: the servers.
        requests: of policies; read before.
        days: pay for these local dates alone, from the first to the last, and finish nothing.
        give_way: leave alone, and pending, the policies that somebody else has locked.
        workers: how many transactions are under way at once.
        notify: told how many policies are done.
        fault_of: says why a transaction failed, or raises the error again. Then the policies that
            nobody else has locked are taken alone, and the others are among the faults. Without
            it the first error is raised.
        parts: of a transaction; by default all of them.
    """
    report = PoliciesReport()
    by_policy = {request.policy_id: request for request in requests if request.policy_id}

    async def held(connection: Driver) -> list[GroupMembers]:
        return await members_of_groups(connection, list(by_policy))

    groups = _usable(await retried_by_driver(runtime, held), report)
    terms = [(one.group, hull) for one, hull in groups]
    evaluated, faults = await evaluate_terms(runtime, terms)
    report.days_evaluated, report.days_incomplete = evaluated.days, evaluated.incomplete
    for one, _ in groups:
        if fault := faults.get(one.group.key):
            report.faults |= dict.fromkeys(one.ids, fault)
    sound = [(one, hull) for one, hull in groups if one.group.key not in faults]
    if not sound:
        return report
    first, last = min(hull[0] for _, hull in sound), max(hull[1] for _, hull in sound)
    span = (first, last) if days is None else days
    keys = [one.group.key for one, _ in sound]

    async def dates(connection: Driver) -> dict[IndexGroup, int]:
        return await event_dates(connection, keys, *instants_around(span))

    sizes = await retried_by_driver(runtime, dates)
    work = _Batches(
        runtime, by_policy, span, days is None, give_way, fault_of, parts or PolicyParts(), report
    )
    members = [one for one, _ in sound]
    waiting = batches(members, lambda one: sizes.get(one.group.key, 0), _policies_each(members))

    async def pay(members: list[Members]) -> None:
        await work.run(members)
        notify(report.policies)

    await at_once(workers, waiting, pay)
    return report


def batches(
    members: Iterable[Members], dates_of: Callable[[Members], int], policies_each: int
) -> Iterator[list[Members]]:
    """The policies again, in lists that are small enough for one transaction."""
    batch: list[Members] = []
    policies = policy_dates = 0
    for one in members:
        dates, place = max(1, dates_of(one)), 0
        while place < len(one.ids):
            room = min(policies_each - policies, (MOST_POLICY_DATES - policy_dates) // dates)
            if room <= 0 and batch:
                yield batch
                batch, policies, policy_dates = [], 0, 0
                continue
            part = one.ids[place : place + max(1, room)]
            batch.append(Members(one.group, part))
            place += len(part)
            policies += len(part)
            policy_dates += len(part) * dates
    if batch:
        yield batch


def _policies_each(members: Iterable[Members]) -> int:
    """Few enough in a transaction that several workers have something to do."""
    policies = sum(len(one.ids) for one in members)
    return min(MOST_POLICIES, max(FEWEST_POLICIES, policies // _SHARES))


def _usable(
    found: Iterable[GroupMembers], report: PoliciesReport
) -> list[tuple[Members, tuple[date, date]]]:
    """The groups that the rules can take, with the hull of their policies' terms."""
    usable = []
    for one in found:
        if fault := group_fault(one.group.zone, one.canonical_terms):
            report.faults |= dict.fromkeys(one.ids, fault)
        else:
            group = Group(one.group, read_terms(one.canonical_terms))
            usable.append((Members(group, one.ids), (one.first_day, one.last_day)))
    return usable


@dataclass(frozen=True, slots=True)
class _Batches:
    """What the transactions of one call have in common."""

    runtime: Runtime
    by_policy: dict[int, PendingRequest]
    span: tuple[date, date]
    finishes: bool
    give_way: bool
    fault_of: Callable[[Exception], str] | None
    parts: PolicyParts
    report: PoliciesReport

    async def run(self, members: Sequence[Members]) -> None:
        try:
            await self._run(members, give_way=self.give_way)
        except DATABASE_ERRORS as error:
            if self.fault_of is None:
                raise
            fault = self.fault_of(error)
        else:
            return
        left = {policy_id for one in members for policy_id in one.ids}
        try:
            left = await self._run(members, give_way=True)
        except DATABASE_ERRORS as error:
            fault = self.fault_of(error)
        self.report.faults |= dict.fromkeys(left, fault)

    async def _run(self, members: Sequence[Members], *, give_way: bool) -> set[int]:
        """Pay what can be paid in one transaction; those who were left to somebody else."""
        with tracing.span("calculate policies") as tell:
            paid = await retried_by_driver(
                self.runtime, partial(self._pay, members, give_way=give_way)
            )
            claims = paid.settled.claims.total()
            tell(calculation_id=paid.calculation_id, policies=len(paid.policy_ids), claims=claims)
        paid.settled.count()
        report, settled = self.report, paid.settled
        report.policies += len(paid.policy_ids)
        report.batches += 1
        report.contended += bool(paid.left)
        report.calculations += settled.calculations
        report.claims += claims
        report.requests_finished += paid.requests_finished
        if paid.calculation_id is not None and claims:
            report.calculation_ids |= dict.fromkeys(paid.policy_ids, paid.calculation_id)
        report.faults |= {
            policy_id: settled.policy_faults.get(policy_id) or settled.fault
            for policy_id in settled.unpaid
        }
        return paid.left

    async def _pay(
        self, members: Sequence[Members], connection: Driver, *, give_way: bool
    ) -> "_Paid":
        ids = [policy_id for one in members for policy_id in one.ids]
        locked = await self.parts.lock(connection, ids, give_way=give_way)
        left = set(ids) - set(locked)
        asked = await still_pending(connection, [self.by_policy[number] for number in locked])
        ours = {number for number in locked if self.by_policy[number].id in asked}
        if not ours:
            return _Paid(ours, Settled(), 0, left)
        rest = [
            Members(one.group, [number for number in one.ids if number in ours]) for one in members
        ]
        calculation_id = uuid4()
        settled = await self.parts.settle(connection, rest, self.span, calculation_id)
        done = [self.by_policy[number] for number in sorted(ours - settled.unpaid)]
        finished = await self.parts.finish(connection, done) if self.finishes and done else 0
        return _Paid(ours, settled, finished, left, calculation_id)


class _Paid(NamedTuple):
    """What one transaction came to."""

    policy_ids: AbstractSet[int]
    settled: Settled
    requests_finished: int
    left: set[int]
    calculation_id: UUID | None = None
