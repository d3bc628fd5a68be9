"""One attempt of whole requests: count it, do it, and keep what became of it."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.metrics import WORK_DEAD, WORK_LAG_SECONDS, WORK_RETRIED
from claimwright.operations.attempts import (
    Attempt,
    Result,
    in_time,
    reason_of,
    standings,
    unexpected,
    wake_relays,
    worker_ended,
)
from claimwright.operations.calculate_policies import calculate_policies
from claimwright.operations.evaluate_request import evaluate_requests
from claimwright.operations.plan_work import plan_chunks
from claimwright.operations.transactions import retried
from claimwright.runtime import Runtime
from claimwright.storage.chunks import ChunkKey
from claimwright.storage.requests import PendingRequest, RequestKind
from claimwright.storage.work_attempts import (
    Begun,
    DeadLetter,
    Standing,
    attempts_of,
    begin,
    begin_afresh,
    fail,
)

Reasons = Mapping[int, str]
"""Why requests are still to do, by their id, where the work knows."""
Work = Callable[[Sequence[PendingRequest]], Awaitable[Reasons]]
_LEFT: Final = "it was done as far as possible and is still to do: `claimwright verify` says why"


async def attempt_evaluations(runtime: Runtime, request_ids: Sequence[int]) -> list[Attempt]:
    """Evaluate the readings of requests; see `_batches`."""

    async def work(requests: Sequence[PendingRequest]) -> Reasons:
        reasons: dict[int, str] = {}
        for _, group in groupby(sorted(requests, key=_readings_of), key=_readings_of):
            alike = list(group)
            evaluated = await evaluate_requests(runtime, alike)
            reasons |= dict.fromkeys((one.id for one in alike), evaluated.fault)
        return reasons

    return await _attempt_all(runtime, RequestKind.EVALUATE, request_ids, work)


async def attempt_policies(runtime: Runtime, request_ids: Sequence[int]) -> list[Attempt]:
    """Calculate the whole term of policies; see `_batches`."""
    calculations = dict[int, UUID | None]()

    async def work(requests: Sequence[PendingRequest]) -> Reasons:
        report = await calculate_policies(runtime, requests)
        known = report.calculation_ids
        calculations.update((one.id, known.get(one.policy_id or 0)) for one in requests)
        return {one.id: report.faults.get(one.policy_id or 0, "") for one in requests}

    attempts = await _attempt_all(runtime, RequestKind.POLICY, request_ids, work)
    return [replace(one, calculation_id=calculations.get(one.request_id)) for one in attempts]


async def attempt_plan(runtime: Runtime, request_id: int) -> tuple[Attempt, list[ChunkKey]]:
    """Cut a calculation into chunks; those that are to be done now."""
    chunks: list[ChunkKey] = []

    async def work(requests: Sequence[PendingRequest]) -> Reasons:
        (request,) = requests
        chunks.extend(await plan_chunks(runtime, request))
        if chunks:
            await retried(runtime, lambda connection: begin_afresh(connection, request))
        return {}

    kind = RequestKind.CALCULATE
    (attempt,) = await _attempt_all(runtime, kind, [request_id], work, planned=chunks)
    return attempt, chunks


async def _attempt_all(
    runtime: Runtime,
    kind: RequestKind,
    request_ids: Sequence[int],
    work: Work,
    *,
    planned: Sequence[ChunkKey] = (),
) -> list[Attempt]:
    """Attempt one batch after the other, each counted by itself, and say so of every request.

    Args:
        runtime: the servers.
        kind: what the requests have to be.
        request_ids: the requests.
        work: what is to be done.
        planned: is filled by the work with what is to be done elsewhere.
    """
    made: dict[int, Attempt] = {}
    seen = await retried(runtime, lambda connection: attempts_of(connection, kind, request_ids))
    for batch in _batches(seen):
        made |= await _attempt(runtime, kind, batch, work, planned)
    untouched = [key for key in request_ids if key not in made]
    known = await standings(runtime, dict.fromkeys(untouched, 0)) if untouched else {}
    for key in untouched:
        made[key] = Attempt(kind, key, Result.NOTHING if key in known else Result.UNKNOWN)
    return list(made.values())


def _batches(attempts: Mapping[int, int]) -> Iterator[list[int]]:
    """Requests that were never begun, together; then each of the others, the least begun first.

    Whichever of them ends the worker would take the others with it every time; alone, and last, it
    takes itself.
    """
    if together := [key for key, number in attempts.items() if not number]:
        yield together
    for key in sorted(attempts, key=lambda key: (attempts[key], key)):
        if attempts[key]:
            yield [key]


async def _attempt(
    runtime: Runtime,
    kind: RequestKind,
    request_ids: Sequence[int],
    work: Work,
    planned: Sequence[ChunkKey],
) -> dict[int, Attempt]:
    most = runtime.settings.work_attempts

    async def count(connection: AsyncConnection) -> tuple[list[Begun], list[DeadLetter]]:
        return await begin(connection, kind, request_ids, most=most, reason=worker_ended(most))

    begun, dead = await retried(runtime, count)
    made = {
        one.id: Attempt(one.kind, one.id, Result.DEAD, number=most, reason=one.failure)
        for one in dead
    }
    WORK_DEAD.labels(kind).inc(len(dead))
    if not begun:
        return made
    requests = [one.request for one in begun]
    error: Exception | None = None
    try:
        reasons = await in_time(runtime, work(requests))
    except Exception as raised:  # noqa: BLE001 - whatever it is, it is kept and bounded
        error, reasons = raised, dict.fromkeys((one.id for one in requests), reason_of(raised))
    is_planned = bool(planned) and error is None
    found = await standings(runtime, {one.id: one.generation for one in requests})
    results = {key: _result(standing, is_planned=is_planned) for key, standing in found.items()}
    failed = {
        one.id: reasons.get(one.id) or _LEFT for one in requests if results[one.id] is Result.FAILED
    }
    for key in await _keep(runtime, [one for one in requests if one.id in failed], failed):
        results[key] = Result.DEAD
    await _tell(runtime, kind, results, found)
    return made | {
        one.request.id: Attempt(
            kind,
            one.request.id,
            results[one.request.id],
            one.request.generation,
            one.attempts,
            reason=failed.get(one.request.id, ""),
            error=unexpected(error) if one.request.id in failed else None,
        )
        for one in begun
    }


def _result(standing: Standing, *, is_planned: bool) -> Result:
    if standing.finished:
        return Result.FINISHED
    if standing.asked_again:
        return Result.ASKED_AGAIN
    return Result.PLANNED if is_planned else Result.FAILED


async def _keep(
    runtime: Runtime, failed: Sequence[PendingRequest], reasons: Reasons
) -> Sequence[int]:
    """Keep why requests failed, and return those whose last attempt it was."""
    if not failed:
        return []
    most = runtime.settings.work_attempts

    async def keep(connection: AsyncConnection) -> list[int]:
        return await fail(connection, failed, reasons, most=most)

    return await retried(runtime, keep)


async def _tell(
    runtime: Runtime,
    kind: RequestKind,
    results: Mapping[int, Result],
    found: Mapping[int, Standing],
) -> None:
    """Count what happened, and have the relay take what was asked for again."""
    for key, result in results.items():
        lag_seconds = found[key].lag_seconds
        if result is Result.FINISHED and lag_seconds is not None:
            WORK_LAG_SECONDS.labels(kind).observe(lag_seconds)
        if result is Result.DEAD:
            WORK_DEAD.labels(kind).inc()
        if result is Result.FAILED:
            WORK_RETRIED.labels(kind).inc()
    if Result.ASKED_AGAIN in results.values():
        await wake_relays(runtime)


def _readings_of(request: PendingRequest) -> tuple[str, str]:
    return request.region or "", request.subject or ""
