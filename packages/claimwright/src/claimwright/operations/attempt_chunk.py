"""One attempt of a chunk, which has a count of its own; its request dies with it."""

from functools import partial

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
from claimwright.operations.calculate_chunk import ChunkReport, calculate_chunk
from claimwright.operations.transactions import retried
from claimwright.runtime import Runtime
from claimwright.storage.chunks import ChunkKey
from claimwright.storage.requests import RequestKind
from claimwright.storage.work_attempts import begin_chunk, give_up_for_chunk

_KIND = RequestKind.CALCULATE


async def attempt_chunk(runtime: Runtime, key: ChunkKey) -> Attempt:
    """Calculate one chunk, unless it is done or was tried too often."""
    most = runtime.settings.work_attempts
    number = await retried(runtime, partial(begin_chunk, key=key))
    if number is None:
        known = await standings(runtime, {key.request_id: key.generation})
        result = Result.NOTHING if known else Result.UNKNOWN
        return Attempt(_KIND, key.request_id, result, key.generation, chunk=key.number)
    if number > most:
        return await _failed(runtime, key, number, worker_ended(most), None)
    try:
        report = await in_time(runtime, calculate_chunk(runtime, key))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is kept and bounded
        return await _failed(runtime, key, number, reason_of(error), error)
    if report.fault:
        return await _failed(runtime, key, number, report.fault, None)
    return Attempt(
        _KIND,
        key.request_id,
        await _result(runtime, key, report),
        key.generation,
        number,
        key.number,
        report.calculation_id,
        report.claims,
    )


async def _result(runtime: Runtime, key: ChunkKey, report: ChunkReport) -> Result:
    standing = (await standings(runtime, {key.request_id: key.generation}))[key.request_id]
    if standing.asked_again and not standing.finished:
        await wake_relays(runtime)
    if not report.request_finished:
        return Result.ADVANCED
    if standing.lag_seconds is not None:
        WORK_LAG_SECONDS.labels(_KIND).observe(standing.lag_seconds)
    return Result.FINISHED


async def _failed(
    runtime: Runtime, key: ChunkKey, number: int, reason: str, error: Exception | None
) -> Attempt:
    """What a failed attempt is: the last one ends its request."""
    is_last = number >= runtime.settings.work_attempts
    if is_last:
        told = f"chunk {key.number}: {reason}"
        if await retried(runtime, partial(give_up_for_chunk, key=key, reason=told)):
            WORK_DEAD.labels(_KIND).inc()
    else:
        WORK_RETRIED.labels(_KIND).inc()
    return Attempt(
        _KIND,
        key.request_id,
        Result.DEAD if is_last else Result.FAILED,
        key.generation,
        number,
        key.number,
        reason=reason,
        error=unexpected(error),
    )
