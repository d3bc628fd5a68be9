"""Evaluate what readings asked for: the local days that they touch, of every group they concern."""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Final
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.domain.calendar import days_between, local_date
from claimwright.operations.evaluate import Evaluated, days_touched, evaluate_days, stretches
from claimwright.operations.transactions import retried, retried_by_driver
from claimwright.runtime import Runtime
from claimwright.storage.database import Driver
from claimwright.storage.groups import (
    Group,
    HeldGroup,
    evaluated_days,
    held_groups,
    instants_read,
    note_evaluated,
)
from claimwright.storage.requests import PendingRequest, finish_requests
from claimwright.storage.risk_events import IndexGroup
from claimwright.storage.unusable import ROW_FAULTS, fault_of
from claimwright.tracing import span


@dataclass(frozen=True, slots=True)
class EvaluatedRequests(Evaluated):
    """What evaluating requests came to.

    Attributes:
        requests_finished: how many were not asked for again meanwhile.
        faults: by group, why the rules cannot take it; with any, no request is finished.
    """

    requests_finished: int
    faults: dict[HeldGroup, str]

    @property
    def fault(self) -> str:
        """Why it is not finished; empty where it is, or was asked for again."""
        return next((f"{group.key}: {fault}" for group, fault in self.faults.items()), "")


async def evaluate_request(runtime: Runtime, request: PendingRequest) -> EvaluatedRequests:
    """As `evaluate_requests`, of one."""
    return await evaluate_requests(runtime, [request])


async def evaluate_requests(
    runtime: Runtime, requests: Sequence[PendingRequest]
) -> EvaluatedRequests:
    """Evaluate every local day that readings touch, store the events, and finish the requests.

    The groups are looked up here, in transactions after those that stored the readings: one that
    is stored later asks for itself. A group that the rules cannot take fails alone; the requests
    then stay pending.

    Args:
        runtime: the servers.
        requests: of one region and variable, read before.
    """
    region, variable = requests[0].region, requests[0].subject
    assert region is not None  # noqa: S101 - an evaluation's key

    async def held(connection: AsyncConnection) -> list[HeldGroup]:
        return [
            group
            for group in await held_groups(connection, region=region)
            if group.variable == variable
        ]

    async def finish(connection: Driver) -> int:
        return await finish_requests(connection, requests)

    days = incomplete = 0
    faults: dict[HeldGroup, str] = {}
    with span("evaluate readings", region=region, requests=len(requests)) as tell:
        for group in await retried(runtime, held):
            evaluated = await _evaluate(runtime, group, _touched(group, requests), faults)
            days += evaluated.days
            incomplete += evaluated.incomplete
        finished = 0 if faults else await retried_by_driver(runtime, finish)
        tell(days=days, finished=finished)
    return EvaluatedRequests(days, incomplete, finished, faults)


async def evaluate_group(runtime: Runtime, group: Group, days: Iterable[date]) -> Evaluated:
    """Evaluate dates of one group, in transactions of a bounded stretch each.

    Raises:
        ROW_FAULTS: a row that no guard let in.
    """
    done = incomplete = 0
    for stretch in stretches(days):
        evaluated = await retried(runtime, partial(_evaluate_stretch, group, stretch))
        done += evaluated.days
        incomplete += evaluated.incomplete
    return Evaluated(done, incomplete)


async def evaluate_terms(
    runtime: Runtime, terms: Sequence[tuple[Group, tuple[date, date]]]
) -> tuple[Evaluated, dict[IndexGroup, str]]:
    """See that groups are evaluated for the terms of policies that were stored before this call.

    Readings ask for the groups that are held when their request is done, so that those which were
    there before the first policy of a group, or before one with a longer term, ask for nothing.
    What was evaluated is on record, and done once.

    Args:
        runtime: the servers.
        terms: of each group, the first and last day of the policies.

    Returns:
        What was evaluated, and why some of the groups cannot be.
    """

    async def known(connection: AsyncConnection) -> dict[IndexGroup, tuple[date, date]]:
        return await evaluated_days(connection, [group.key for group, _ in terms])

    def is_done(key: IndexGroup, first: date, last: date) -> bool:
        before = evaluated.get(key)
        return before is not None and before[0] <= first and last <= before[1]

    evaluated = await retried(runtime, known)
    done, faults = Evaluated(0, 0), dict[IndexGroup, str]()
    missing = [one for one in terms if not is_done(one[0].key, *one[1])]
    # In an order of its own, and asked once more before each: others may be at the same.
    for group, (first, last) in sorted(missing, key=lambda _: uuid4()):
        evaluated = await retried(runtime, known)
        before = evaluated.get(group.key)
        if is_done(group.key, first, last):
            continue
        hull = (first, last) if before is None else (min(first, before[0]), max(last, before[1]))
        try:
            one = await _evaluate_hull(runtime, group, hull, before)
        except ROW_FAULTS as error:
            faults[group.key] = fault_of(error)
        else:
            done = Evaluated(done.days + one.days, done.incomplete + one.incomplete)
    return done, faults


async def _evaluate_hull(
    runtime: Runtime, group: Group, hull: tuple[date, date], before: tuple[date, date] | None
) -> Evaluated:
    """Evaluate the dates of a hull that were not before, as far as there are readings."""

    async def bounds(connection: AsyncConnection) -> list[date]:
        read = await instants_read(connection, group.key.region, group.variable)
        if read is None:
            return []
        zone, boundary = group.key.zone, group.terms.day_boundary
        first = max(hull[0], local_date(read[0], zone, boundary))
        last = min(hull[1], local_date(read[1] + group.terms.index.window, zone, boundary))
        return days_between(first, last)

    async def note(connection: AsyncConnection) -> None:
        await note_evaluated(connection, group.key, hull)

    days = [
        day
        for day in await retried(runtime, bounds)
        if before is None or not before[0] <= day <= before[1]
    ]
    evaluated = await evaluate_group(runtime, group, days)
    await retried(runtime, note)
    return evaluated


def _touched(group: HeldGroup, requests: Iterable[PendingRequest]) -> set[date]:
    if group.fault is not None:
        return set()
    usable = group.usable()
    return {
        day
        for request in requests
        if request.day is not None
        for day in days_between(*days_touched(usable, request.day))
    }


async def _evaluate(
    runtime: Runtime, group: HeldGroup, days: AbstractSet[date], faults: dict[HeldGroup, str]
) -> Evaluated:
    if group.fault is not None:
        faults[group] = group.fault
        return _NOTHING
    try:
        return await evaluate_group(runtime, group.usable(), days)
    except ROW_FAULTS as error:
        faults[group] = fault_of(error)
        return _NOTHING


async def _evaluate_stretch(
    group: Group, stretch: Sequence[date], connection: AsyncConnection
) -> Evaluated:
    """In a transaction of its own, again where somebody else's events were in the way."""
    return await evaluate_days(connection, group, stretch)


_NOTHING: Final = Evaluated(0, 0)
