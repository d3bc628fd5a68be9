"""Calculate one chunk: a stretch of a group's policies, for the dates of one request, at once."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final, Protocol
from uuid import UUID, uuid4

from claimwright.domain.calendar import zone_names
from claimwright.operations.settle_policies import Members, Settled, settle_policies
from claimwright.operations.transactions import retried_by_driver
from claimwright.runtime import Runtime
from claimwright.storage.chunks import (
    Chunk,
    ChunkKey,
    finish_chunk,
    lock_policies_of_chunk,
    read_chunk,
    take_chunk,
)
from claimwright.storage.database import Driver
from claimwright.storage.groups import Group
from claimwright.storage.products import read_terms, terms_fault
from claimwright.storage.standings import holds_claims_of
from claimwright.tracing import span

_ONE_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ChunkReport:
    """What became of a chunk.

    Attributes:
        policies: how many were locked and looked at.
        claims: how many were stored.
        calculation_id: what they carry; `None` where nothing was to do.
        request_finished: whether it was the last chunk, and its request is finished by it.
        calculations: policies and dates of theirs on which events lie.
        fault: why it is not finished although everything else was paid; empty where it is.
            Doing it again helps once the row that cannot be taken was mended.
        gave_way: whether another worker was at it.
    """

    policies: int = 0
    claims: int = 0
    calculation_id: UUID | None = None
    request_finished: bool = False
    calculations: int = 0
    fault: str = ""
    gave_way: bool = False


class Settle(Protocol):
    """`settle_policies`, or what stands in for it."""

    def __call__(  # noqa: D102 - the class says it
        self,
        connection: Driver,
        members: Sequence[Members],
        span: tuple[date, date],
        calculation_id: UUID,
        *,
        utc_day: date | None = None,
    ) -> Awaitable[Settled]: ...


@dataclass(frozen=True, slots=True)
class ChunkParts:
    """The parts of a chunk's transaction, so that a proof can take one away."""

    lock: Callable[[Driver, Chunk, tuple[date, date]], Awaitable[list[int]]] = (
        lock_policies_of_chunk
    )
    settle: Settle = settle_policies
    finish: Callable[[Driver, ChunkKey], Awaitable[bool]] = finish_chunk


async def calculate_chunk(
    runtime: Runtime,
    key: ChunkKey,
    *,
    give_way: bool = False,
    parts: ChunkParts | None = None,
) -> ChunkReport:
    """Pay what the events of a request's dates add to the policies of one of its chunks.

    One transaction, done again after an error that passes. Two chunks of one request, the last
    ones::

        worker A                          worker B
        lock policies 1 … 9               lock policies 10 … 19
        read, compute, COPY               read, compute, COPY
        lock the request                  lock the request … waits
        chunk 1 finished; chunk 2 open      |
        COMMIT -------------------------->  has it: chunk 2 finished
                                          none is open: the request is finished
                                          COMMIT

    - The locks are a statement alone that returns ids only; what decides is read after them.
    - The request is finished ``WHERE generation = :read``, in the transaction of its last claims:
      what was asked for meanwhile stays pending.
    - Nothing happens to a chunk that is finished, or whose plan was written over by a newer one.
      So a second delivery, at once or later, and a retry after a lost reply add nothing.
    - A row that the rules cannot take fails alone: others are paid, and the chunk stays open.

    Args:
        runtime: the servers.
        key: which chunk.
        give_way: return at once where another worker is at the chunk, instead of waiting.
        parts: of the transaction; by default all of them.
    """
    attempt = _Attempt(key, give_way, parts or ChunkParts())
    request_id, generation, number = key
    with span("calculate chunk", request=request_id, generation=generation, chunk=number) as tell:
        report = await retried_by_driver(runtime, attempt.run)
        tell(calculation_id=report.calculation_id, policies=report.policies, claims=report.claims)
    if attempt.settled is not None:
        attempt.settled.count()
    return report


def dates_of(subject: str | None, day: date) -> tuple[date, date]:
    """The first and last local date that the events of a calculation request can lie on."""
    return (day, day) if subject is not None else (day - _ONE_DAY, day + _ONE_DAY)


def group_fault(zone: str, canonical_terms: str) -> str | None:
    """Why the rules cannot take a group; `None` where they can."""
    if zone not in zone_names():
        return f"{zone!r} is not an IANA time zone"
    return terms_fault(canonical_terms)


class _Attempt:
    """One chunk, tried as often as it takes; remembers what it may have stored."""

    def __init__(self, key: ChunkKey, give_way: bool, parts: ChunkParts) -> None:  # noqa: FBT001
        self._key = key
        self._give_way = give_way
        self._parts = parts
        self._tried: tuple[ChunkReport, Settled] | None = None
        self.settled: Settled | None = None

    async def run(self, connection: Driver) -> ChunkReport:
        chunk = await read_chunk(connection, self._key)
        if chunk is None or chunk.is_finished:
            return await self._what_was_stored(connection, chunk)
        taken = await take_chunk(connection, self._key)
        if self._give_way and not taken:
            return ChunkReport(gave_way=True)
        fault = group_fault(chunk.group.zone, chunk.canonical_terms)
        if fault is not None:
            return ChunkReport(fault=fault)
        return await self._pay(connection, chunk)

    async def _pay(self, connection: Driver, chunk: Chunk) -> ChunkReport:
        span = dates_of(chunk.subject, chunk.day)
        ids = await self._parts.lock(connection, chunk, span)
        again = await read_chunk(connection, self._key)
        if again is None or again.is_finished:
            return await self._what_was_stored(connection, again)
        group = Group(chunk.group, read_terms(chunk.canonical_terms))
        calculation_id = uuid4()
        self.settled = settled = await self._parts.settle(
            connection,
            [Members(group, ids)],
            span,
            calculation_id,
            utc_day=chunk.day if chunk.subject is None else None,
        )
        report = ChunkReport(
            policies=len(ids),
            claims=settled.claims.total(),
            calculation_id=calculation_id,
            calculations=settled.calculations,
            fault=settled.fault,
        )
        if not report.fault:
            last = await self._parts.finish(connection, self._key)
            report = replace(report, request_finished=last)
        self._tried = (report, settled)
        return report

    async def _what_was_stored(self, connection: Driver, chunk: Chunk | None) -> ChunkReport:
        """Of a chunk that is done: what we did, where the reply to our COMMIT was lost."""
        if self._tried is not None:
            report, settled = self._tried
            stored = (settled.first_policy_id, report.calculation_id)
            if None not in stored and await holds_claims_of(connection, *stored):
                return report
        self.settled = None
        return ChunkReport(request_finished=chunk is not None and chunk.request_is_finished)
