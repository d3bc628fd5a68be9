"""Drain what is asked for: readings to events, events to claims, policies to their whole terms.

Work is done request by request: one that concerns a day in scope is done whole. Its generation was
read before its data, so that what is asked for meanwhile stays pending. What fails, or cannot be
used, fails alone, and stays pending too.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Final, NamedTuple
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.domain.calendar import days_between
from claimwright.operations.at_once import at_once
from claimwright.operations.calculate_chunk import ChunkParts, ChunkReport, calculate_chunk
from claimwright.operations.calculate_policies import PolicyParts, calculate_policies
from claimwright.operations.evaluate import stretches
from claimwright.operations.evaluate_request import evaluate_group, evaluate_requests
from claimwright.operations.plan_work import plan
from claimwright.operations.run_reports import Failure, RunReport, Scope
from claimwright.operations.scopes import RequestsInScope, groups_in_scope, requests_in_scope
from claimwright.operations.transactions import retried, retried_by_driver, transaction
from claimwright.runtime import Runtime
from claimwright.storage.chunks import ChunkKey
from claimwright.storage.database import Driver
from claimwright.storage.groups import Group, HeldGroup, held_groups, known_instants, require_known
from claimwright.storage.requests import (
    PendingRequest,
    RequestKind,
    pending_page,
    request_days_again,
    still_pending,
)
from claimwright.storage.transients import (
    DATABASE_ERRORS,
    is_transient,
    said_by_database,
    sqlstate_of,
)
from claimwright.storage.unusable import ROW_FAULTS, UnusableRecord, fault_of, find_unusable

#: Measured: while one chunk waits for PostgreSQL another one is computed; more than this many in a
#: process only wait for each other.
WORKERS: Final = 3
_ONE_DAY: Final = timedelta(days=1)
_LONGEST_WINDOW: Final = timedelta(days=32)
_PAGE: Final = {
    RequestKind.EVALUATE: 5_000,
    RequestKind.CALCULATE: 500,
    RequestKind.POLICY: 20_000,
}
_MOST_ROUNDS: Final = 100
#: SQLSTATEs without a server: nothing else in the run would fare better.
_NO_SERVER: Final = ("08", "57P")


Notify = Callable[[str, int, int], None]
"""Told of progress: the stage's name, how much is done, and how much there is."""


class RunParts(NamedTuple):
    """The parts of a run's transactions, so that a proof can take one away."""

    chunk: ChunkParts = ChunkParts()
    policies: PolicyParts = PolicyParts()


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
    everything: bool = False,
    workers: int = WORKERS,
    notify: Notify = lambda _stage, _done, _total: None,
    parts: RunParts | None = None,
) -> RunReport:
    """Do what is pending in scope until nothing is, or only what failed.

    - Readings are evaluated for every group that they concern, whatever the product in scope.
    - Events are calculated where one of their local dates lies in scope.
    - A policy that was stored or changed is calculated for the days in scope; its request is
      finished where they are all of its term on which there can be an event.

    Any number of runs may overlap, in one process or many, and share the work: each chunk is done
    by one of them. A chunk that another worker is at is put off to the end, and then waited for.
    A run that was stopped is gone on with: the chunks that it finished stay finished.

    Args:
        runtime: the servers.
        scope: which days, product and region.
        everything: first evaluate all days in scope and ask again for all their events.
        workers: how many chunks are under way at once.
        notify: told of progress; of calculations in policies.
        parts: of the transactions; by default all of them.

    Raises:
        NotFoundError: the product or the region in scope does not exist.
    """
    run = _Run(runtime, scope, workers, notify, parts or RunParts())
    return await run.complete(everything=everything)


class _Run:
    """One run: rounds over what is pending, until a round finds nothing that was not tried."""

    def __init__(
        self,
        runtime: Runtime,
        scope: Scope,
        workers: int,
        notify: Notify,
        parts: RunParts,
    ) -> None:
        self._runtime = runtime
        self._scope = scope
        self._workers = workers
        self._notify = notify
        self._parts = parts
        self._report = RunReport(scope)
        self._left: dict[int, int] = {}
        """The generation of each request that this run does not try once more."""

    async def complete(self, *, everything: bool) -> RunReport:
        scope = self._scope
        product_code, region = scope.product_code, scope.region
        async with transaction(self._runtime) as connection:
            await require_known(connection, product_code=product_code, region=region)
            unusable = await find_unusable(connection, product_code=product_code, region=region)
        self._report.unusable += unusable.records
        if everything:
            await self._ask_for_everything()
        for number in range(_MOST_ROUNDS):
            if not await self._round(is_first=number == 0):
                break
        return self._report

    async def _round(self, *, is_first: bool) -> int:
        """Do what is pending now; returns how many requests there were."""
        async with transaction(self._runtime) as connection:
            in_scope = await requests_in_scope(connection, self._scope)
        found = 0
        async for page in self._pages(RequestKind.EVALUATE):
            found += await self._evaluate(in_scope.evaluations(page))
        # Policies before events: who is new gets a limit used up by the earliest of them.
        async for page in self._pages(RequestKind.POLICY):
            found += await self._policies(in_scope, page, is_first=is_first)
        async for page in self._pages(RequestKind.CALCULATE):
            async with transaction(self._runtime) as connection:
                calculations = await in_scope.calculations(connection, page)
            found += await self._calculate(calculations)
        return found

    async def _pages(self, kind: RequestKind) -> AsyncIterator[list[PendingRequest]]:
        """What is pending of a kind and was not tried, page by page."""
        scope = self._scope
        days = (scope.first - _ONE_DAY - _LONGEST_WINDOW, scope.last + _ONE_DAY)
        last: PendingRequest | None = None
        while True:
            async with transaction(self._runtime) as connection:
                page = await pending_page(
                    connection, kind, days=days, after=last, limit=_PAGE[kind]
                )
            untried = [one for one in page if self._left.get(one.id) != one.generation]
            if untried:
                yield untried
            if len(page) < _PAGE[kind]:
                return
            last = page[-1]

    async def _evaluate(self, requests: Sequence[PendingRequest]) -> int:
        """Evaluate what the readings of each region and variable touch, all of it together."""
        together: dict[tuple[str | None, str | None], list[PendingRequest]] = {}
        for request in requests:
            together.setdefault((request.region, request.subject), []).append(request)
        done = 0

        async def evaluate(of_one: list[PendingRequest]) -> None:
            nonlocal done
            if not (asked := await self._still_asked(of_one)):
                return
            evaluated = await evaluate_requests(self._runtime, asked)
            self._report.days_evaluated += evaluated.days
            self._report.days_incomplete += evaluated.incomplete
            self._report.requests_finished += evaluated.requests_finished
            for group, fault in evaluated.faults.items():
                self._leave_out(group, fault)
            if evaluated.faults:
                self._left |= {request.id: request.generation for request in of_one}
            done += len(of_one)
            self._notify("Evaluating readings", done, len(requests))

        # Each run in an order of its own and one at a time, so that two of them seldom do the
        # same; nearly all of it is computed here, so that several at once would gain nothing.
        shuffled = sorted(together.values(), key=lambda _: uuid4())
        await at_once(1, shuffled, evaluate)
        return len(requests)

    async def _still_asked(self, requests: Sequence[PendingRequest]) -> list[PendingRequest]:
        async def read(connection: Driver) -> set[int]:
            return await still_pending(connection, requests)

        asked = await retried_by_driver(self._runtime, read)
        return [request for request in requests if request.id in asked]

    def _leave_out(self, group: HeldGroup, fault: str) -> None:
        """Name a group with a row, stored past the guards, that its evaluation stumbled over."""
        in_scope = self._scope.product_code in (None, group.product)
        if group.fault is None and in_scope:
            place = (group.product, group.key.region, group.key.zone)
            record = UnusableRecord(
                "group", group.key.product_version_id, ", ".join(place), fault, *place
            )
            if record not in self._report.unusable:
                self._report.unusable.append(record)

    async def _calculate(self, requests: Sequence[PendingRequest]) -> int:
        """Two rounds over the chunks: first whatever is free, then what others were at."""
        by_id = {request.id: request for request in requests}
        chunks: list[tuple[ChunkKey, int]] = []
        done = total = 0

        async def plan_one(request: PendingRequest) -> None:
            nonlocal done, total
            planned = await plan(self._runtime, request)
            self._report.requests_finished += planned.is_finished
            for chunk in planned.chunks:
                total += chunk.policies
                if chunk.is_open:
                    chunks.append((chunk.key, chunk.policies))
                else:
                    done += chunk.policies

        async def calculate(chunk: tuple[ChunkKey, int], *, give_way: bool) -> None:
            nonlocal done
            key, policies = chunk
            report = await self._chunk(by_id[key.request_id], key, give_way=give_way)
            if report is not None and report.gave_way:
                contended.append(chunk)
            else:
                done += policies
            self._notify("Calculating claims", done, total)

        async def first(chunk: tuple[ChunkKey, int]) -> None:
            await calculate(chunk, give_way=True)

        async def second(chunk: tuple[ChunkKey, int]) -> None:
            await calculate(chunk, give_way=False)

        contended: list[tuple[ChunkKey, int]] = []
        await at_once(self._workers, requests, plan_one)
        order = {request.id: place for place, request in enumerate(requests)}
        chunks.sort(key=lambda chunk: (order[chunk[0].request_id], chunk[0].number))
        await at_once(self._workers, chunks, first)
        self._report.contended += len(contended)
        await at_once(self._workers, list(contended), second)
        return len(requests)

    async def _chunk(
        self, request: PendingRequest, key: ChunkKey, *, give_way: bool
    ) -> ChunkReport | None:
        try:
            done = await calculate_chunk(
                self._runtime, key, give_way=give_way, parts=self._parts.chunk
            )
        except (*DATABASE_ERRORS, *ROW_FAULTS) as error:
            self._fail(request, _reason(error))
            return None
        self._report.chunks += not done.gave_way
        self._report.calculations += done.calculations
        self._report.claims += done.claims
        self._report.requests_finished += done.request_finished and done.calculation_id is not None
        if done.fault:
            self._fail(request, done.fault)
        return done

    async def _policies(
        self, in_scope: RequestsInScope, page: Sequence[PendingRequest], *, is_first: bool
    ) -> int:
        """Whole terms where the scope covers them; else, once a run, the days in scope."""
        async with transaction(self._runtime) as connection:
            whole, partly = await in_scope.policies(connection, page)
        days = (self._scope.first, self._scope.last)
        if whole:
            await self._calculate_policies(whole, None, give_way=is_first)
        if partly and is_first:
            await self._calculate_policies(partly, days, give_way=False)
        return len(whole)

    async def _calculate_policies(
        self,
        requests: Sequence[PendingRequest],
        days: tuple[date, date] | None,
        *,
        give_way: bool,
    ) -> None:
        self._notify("Calculating policies", 0, len(requests))
        done = await calculate_policies(
            self._runtime,
            requests,
            days=days,
            give_way=give_way,
            workers=self._workers,
            notify=lambda policies: self._notify("Calculating policies", policies, len(requests)),
            fault_of=_reason,
            parts=self._parts.policies,
        )
        report = self._report
        report.days_evaluated += done.days_evaluated
        report.days_incomplete += done.days_incomplete
        report.terms += done.policies
        report.chunks += done.batches
        report.contended += done.contended
        report.claims += done.claims
        report.requests_finished += done.requests_finished
        by_policy = {request.policy_id: request for request in requests}
        for policy_id, fault in done.faults.items():
            self._fail(by_policy[policy_id], fault)

    def _fail(self, request: PendingRequest, reason: str) -> None:
        """Leave a request for another run; say so, unless what is wrong with it was named."""
        self._left[request.id] = request.generation
        if not any(reason.endswith(record.fault) for record in self._report.unusable):
            self._report.failures.append(Failure(request.id, request.of_what, reason))

    async def _ask_for_everything(self) -> None:
        """Evaluate every day in scope once more, and ask again for all its events."""
        scope = self._scope

        async def in_scope(connection: AsyncConnection) -> list[Group]:
            return groups_in_scope(await held_groups(connection), scope)

        async def ask(connection: AsyncConnection, stretch: Sequence[date]) -> int:
            days = (stretch[0], stretch[-1])
            return await request_days_again(connection, days, scope.product_code, scope.region)

        async def evaluate(group: Group) -> None:
            try:
                evaluated = await evaluate_group(self._runtime, group, days)
            except ROW_FAULTS:
                return  # named where its readings are evaluated because they ask for it
            self._report.days_evaluated += evaluated.days
            self._report.days_incomplete += evaluated.incomplete

        days = days_between(scope.first, scope.last)
        await at_once(self._workers, await retried(self._runtime, in_scope), evaluate)
        for stretch in stretches(days):
            await retried(self._runtime, partial(ask, stretch=stretch))


def _reason(error: Exception) -> str:
    """Why a transaction failed for good.

    Raises:
        Exception: the error itself, where there is no server, or it is a defect.
    """
    if isinstance(error, ROW_FAULTS):
        return fault_of(error)
    state = sqlstate_of(error) or ""
    if not is_transient(error) or state.startswith(_NO_SERVER):
        raise error
    return said_by_database(state)
