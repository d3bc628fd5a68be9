"""Evaluate and calculate a stretch of local days: readings to events, events to claims.

Requests that the run covers are finished with the generation that was read before their data;
what is asked for meanwhile stays pending. What fails, or cannot be used, fails its own group alone:
everything else is done, and what that group was asked for stays pending too.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.domain.calendar import days_between, local_date
from claimwright.domain.errors import LockNotAcquiredError
from claimwright.domain.facts import covers
from claimwright.locks import LeaseOptions, no_lease
from claimwright.operations.calculate import PolicyCalculation
from claimwright.operations.evaluate import Evaluated, days_touched, evaluate_days, stretches
from claimwright.operations.run_reports import Failure, PolicyDay, RunReport, Scope
from claimwright.operations.transactions import retried, transaction
from claimwright.runtime import Runtime
from claimwright.storage.groups import (
    Coverage,
    Group,
    coverages_of_group,
    direct_event_instants,
    groups_holding,
    groups_of_policies,
    known_instants,
    made_event_dates,
    require_known,
)
from claimwright.storage.requests import (
    PendingRequest,
    RequestKind,
    finish_requests,
    pending_requests,
)
from claimwright.storage.risk_events import IndexGroup
from claimwright.storage.unusable import (
    ROW_FAULTS,
    UnusableGroup,
    UnusableRecord,
    fault_of,
    find_unusable,
)

WORKERS: Final = 16
_ONE_DAY: Final = timedelta(days=1)
_LONGEST_WINDOW: Final = timedelta(days=32)


Notify = Callable[[str, int, int], None]
"""Told of progress: the stage's name, how much is done, and how much there is."""


async def whole_scope(
    runtime: Runtime, *, product_code: str | None = None, region: str | None = None
) -> Scope | None:
    """The scope of everything that is known; `None` when there is nothing yet.

    Raises:
        NotFoundError: the product or the region does not exist.
    """
    async with transaction(runtime) as connection:
        await require_known(connection, product_code=product_code, region=region)
        known = await known_instants(connection)
    if known is None:
        return None
    # In some zone the first instant still lies on the day before, the last already on the next.
    first, last = known[0].date() - _ONE_DAY, known[1].date() + _ONE_DAY
    return Scope(first, last, product_code, region)


async def calculate_days(
    runtime: Runtime,
    scope: Scope,
    *,
    workers: int = WORKERS,
    notify: Notify = lambda _stage, _done, _total: None,
    calculation: PolicyCalculation | None = None,
) -> RunReport:
    """Bring every policy in scope up to date for the days in scope.

    Any number of runs may overlap, in one process or many: each pays what is due once. A
    calculation whose lease another worker holds is put off to the end, and then done under the row
    lock alone, unless leases are required.

    Args:
        runtime: the servers.
        scope: which days, product and region.
        workers: how many calculations are under way at once.
        notify: told of progress.
        calculation: the parts of a calculation; by default all of them.

    Raises:
        NotFoundError: the product or the region in scope does not exist.
    """
    run = _Run(runtime, scope, workers, notify, calculation or PolicyCalculation())
    return await run.complete()


class _Plan(NamedTuple):
    """What there is to calculate, date by date, and whose whole term that covers."""

    work: list[PolicyDay]
    whole_terms: set[int]


class _Run:
    """One run: requests are read first, then data, and what was covered is finished last."""

    def __init__(
        self,
        runtime: Runtime,
        scope: Scope,
        workers: int,
        notify: Notify,
        calculation: PolicyCalculation,
    ) -> None:
        self._runtime = runtime
        self._scope = scope
        self._workers = workers
        self._notify = notify
        self._calculation = calculation
        self._report = RunReport(scope)
        self._idle = set[IndexGroup]()
        """Groups of which something is left to do: no request for their events is finished."""
        self._left_out = set[IndexGroup]()
        """Those that could not be evaluated: no request for their policies is finished either."""

    async def complete(self) -> RunReport:
        scope = self._scope
        async with transaction(self._runtime) as connection:
            # Days of UTC whose readings can touch the local days in scope, rolling windows too.
            utc_days = (scope.first - _ONE_DAY - _LONGEST_WINDOW, scope.last + _ONE_DAY)
            evaluations = await pending_requests(connection, RequestKind.EVALUATE, days=utc_days)
            terms = await pending_requests(connection, RequestKind.POLICY)
            await require_known(connection, product_code=scope.product_code, region=scope.region)
            everywhere = await groups_of_policies(connection)
            groups = await groups_of_policies(
                connection, product_code=scope.product_code, region=scope.region
            )
            unusable = await find_unusable(connection)
            in_scope = await find_unusable(
                connection, product_code=scope.product_code, region=scope.region
            )
        self._report.unusable += in_scope.records
        self._idle |= {group.key for group in unusable.groups}
        finished = await self._evaluate(groups, [*everywhere, *unusable.whole_groups], evaluations)
        async with transaction(self._runtime) as connection:
            calculations = await pending_requests(
                connection, RequestKind.CALCULATE, days=(scope.first, scope.last)
            )
            plan = await self._plan(connection, groups, unusable.policy_ids)
        await self._calculate(plan.work)
        failed = {failure.policy_id for failure in self._report.failures}
        async with transaction(self._runtime) as connection:
            self._idle |= set(await groups_holding(connection, sorted(failed)))
        finished += [request for request in calculations if self._is_done(request, groups)]
        whole_terms = plan.whole_terms - failed
        finished += [request for request in terms if request.policy_id in whole_terms]

        async def finish(connection: AsyncConnection) -> int:
            return await finish_requests(connection, finished)

        self._report.requests_finished = await retried(self._runtime, finish)
        return self._report

    async def _evaluate(
        self,
        groups: Sequence[Group],
        everywhere: Sequence[Group | UnusableGroup],
        requests: Sequence[PendingRequest],
    ) -> list[PendingRequest]:
        """Evaluate each group's days; returns the requests that nobody else has to look at.

        A request whose readings concern no policy is one of them: who stores such a policy later
        asks for its whole term.
        """
        asked = set(days_between(self._scope.first, self._scope.last))
        open_requests: set[int] = set()
        for done, group in enumerate(groups):
            self._notify("Evaluating readings", done, len(groups))
            days = set(asked)
            for request in _of_readings(group, requests):
                touched = set(days_between(*days_touched(group, request.day or self._scope.first)))
                if touched & asked:
                    days |= touched
                else:
                    open_requests.add(request.id)
            try:
                await self._evaluate_group(group, days)
            except ROW_FAULTS as error:
                self._leave_out(group, error)
                open_requests |= {request.id for request in _of_readings(group, requests)}
        self._notify("Evaluating readings", len(groups), len(groups))
        in_scope = {group.key for group in groups}
        for other in everywhere:
            if other.key not in in_scope:
                open_requests |= {request.id for request in _of_readings(other, requests)}
        return [
            request
            for request in requests
            if request.id not in open_requests and self._scope.region in (None, request.region)
        ]

    async def _evaluate_group(self, group: Group, days: Iterable[date]) -> None:
        for stretch in stretches(days):
            evaluated = await self._evaluate_stretch(group, stretch)
            self._report.days_evaluated += evaluated.days
            self._report.days_incomplete += evaluated.incomplete

    def _leave_out(self, group: Group, error: Exception) -> None:
        """A row of the group's, stored past the guards, that its evaluation stumbled over."""
        self._idle.add(group.key)
        self._left_out.add(group.key)
        place = (group.terms.code, group.key.region, group.key.zone)
        record = UnusableRecord(
            "group", group.key.product_version_id, ", ".join(place), fault_of(error), *place
        )
        self._report.unusable.append(record)

    async def _evaluate_stretch(self, group: Group, stretch: Sequence[date]) -> Evaluated:
        """In a transaction of its own, again where another run's events were in the way."""

        async def work(connection: AsyncConnection) -> Evaluated:
            return await evaluate_days(connection, group, stretch)

        return await retried(self._runtime, work)

    async def _plan(
        self, connection: AsyncConnection, groups: Sequence[Group], unusable: AbstractSet[int]
    ) -> _Plan:
        days = (self._scope.first, self._scope.last)
        made = await made_event_dates(connection, days)
        direct = await direct_event_instants(connection, days)
        known = await known_instants(connection)
        plan = _Plan([], set())
        for group in groups:
            dates = set(made.get(group.key, ()))
            for instant in direct.get((group.key.product_version_id, group.key.region), ()):
                day = _date_of(instant, group)
                if day in self._scope or instant.date() in self._scope:
                    dates.add(day)
            known_dates = [_date_of(instant, group) for instant in known or ()]
            async for coverage in coverages_of_group(connection, group.key):
                if coverage.policy_id in unusable:
                    continue
                plan.work.extend(
                    PolicyDay(coverage.policy_id, day) for day in dates if covers(coverage, day)
                )
                if group.key not in self._left_out and self._covers_all_of(coverage, known_dates):
                    plan.whole_terms.add(coverage.policy_id)
        plan.work.sort(key=lambda item: (item.day, item.policy_id))
        return plan

    async def _calculate(self, work: Sequence[PolicyDay]) -> None:
        """Two rounds: first whatever is free, then what other workers held, without a lease.

        ::

            run A   lease ── lock policy ── read ── insert ── COMMIT ── release
            run B   held: put off … all the rest … lock policy ─────── has it: reads what A paid

        The lease has told B to do something else first, which is all that it is for. What is left
        has to be done, and the row lock is the better queue: PostgreSQL hands it over at once, a
        lease is polled for, and one that a dead worker left would hold B up for its time-out.
        What B decides from is read under the row lock as ever. Where leases are required, it
        waits for them.
        """
        calculation, options = self._calculation, self._runtime.lease_options
        contended = await self._round(
            work, calculation, replace(options, blocking_timeout_seconds=0)
        )
        self._report.contended = len(contended)
        if not options.required:
            calculation = replace(calculation, take_lease=no_lease)
        still_held = await self._round(contended, calculation, options)
        self._report.failures += [
            Failure(*item, "another worker holds its lease") for item in still_held
        ]

    async def _round(
        self, work: Sequence[PolicyDay], calculation: PolicyCalculation, options: LeaseOptions
    ) -> list[PolicyDay]:
        """Calculate with so many workers at once; returns what was contended."""
        queue, contended = deque(work), list[PolicyDay]()

        async def worker() -> None:
            while queue:
                item = queue.popleft()
                try:
                    await self._calculate_one(item, calculation, options)
                except LockNotAcquiredError:
                    contended.append(item)
                except ROW_FAULTS as error:
                    self._report.failures.append(Failure(*item, fault_of(error)))
                self._notify("Calculating claims", len(work) - len(queue), len(work))

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._workers, len(work))):
                group.create_task(worker())
        return contended

    async def _calculate_one(
        self, item: PolicyDay, calculation: PolicyCalculation, options: LeaseOptions
    ) -> None:
        async with self._runtime.sessions() as session:
            claims = await calculation.run(session, self._runtime.redis, *item, options)
        self._report.calculations += 1
        self._report.claims += len(claims)

    def _is_done(self, request: PendingRequest, groups: Iterable[Group]) -> bool:
        """Whether every policy that the request's events can concern was in scope, and is done."""
        if self._scope.region not in (None, request.region):
            return False
        if any(request.may_pay(group) for group in self._idle):
            return False
        versions = {group.key.product_version_id for group in groups}
        return self._scope.product_code is None or request.product_version_id in versions

    def _covers_all_of(self, coverage: Coverage, known_dates: Sequence[date]) -> bool:
        """Whether every day of the policy's term that can have an event lies in scope."""
        if not known_dates:
            return True
        first = max(coverage.first_day, known_dates[0])
        last = min(coverage.last_day, known_dates[-1])
        return first > last or (first in self._scope and last in self._scope)


def _date_of(instant: datetime, group: Group) -> date:
    return local_date(instant, group.key.zone, group.terms.day_boundary)


def _of_readings(
    group: Group | UnusableGroup, requests: Iterable[PendingRequest]
) -> list[PendingRequest]:
    """The requests whose readings the group's index is made of."""
    readings = (group.key.region, group.variable)
    return [request for request in requests if (request.region, request.subject) == readings]
