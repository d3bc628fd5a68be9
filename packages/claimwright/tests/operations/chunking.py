"""Chunks on a small world, and transactions that are held between two of their parts."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypeVar

from claimwright.operations.calculate_chunk import ChunkParts, ChunkReport, calculate_chunk
from claimwright.operations.plan_work import plan
from claimwright.operations.transactions import transaction
from claimwright.runtime import Runtime
from claimwright.storage.chunks import ChunkKey
from claimwright.storage.database import Driver
from claimwright.storage.requests import PendingRequest, RequestKind, pending_page
from support.databases import Connection

Outcome = TypeVar("Outcome")
ALL_DAYS = (date(1801, 1, 1), date(2199, 12, 31))


async def asked_for(
    runtime: Runtime, kind: RequestKind = RequestKind.CALCULATE
) -> list[PendingRequest]:
    """What is pending of a kind."""
    async with transaction(runtime) as connection:
        return await pending_page(connection, kind, days=ALL_DAYS, after=None, limit=1_000)


async def only_request(
    runtime: Runtime, kind: RequestKind = RequestKind.CALCULATE
) -> PendingRequest:
    (request,) = await asked_for(runtime, kind)
    return request


async def chunks_of(runtime: Runtime, *, policies: int = 1_000) -> list[ChunkKey]:
    """The chunks of the only calculation that is asked for, of so many policies each."""
    planned = await plan(runtime, await only_request(runtime), policies_per_chunk=policies)
    return [chunk.key for chunk in planned.chunks if chunk.is_open]


async def calculate_all(runtime: Runtime, parts: ChunkParts | None = None) -> list[ChunkReport]:
    """Every chunk of every calculation that is asked for, one after the other."""
    return [
        await calculate_chunk(runtime, chunk.key, parts=parts)
        for request in await asked_for(runtime)
        for chunk in (await plan(runtime, request)).chunks
    ]


async def store_event(
    connection: Connection, number: str, tier: str, at: str, *, zone: bool = False
) -> None:
    """Store an event for a policy's terms and region, of no zone unless told otherwise."""
    await connection.execute(
        "INSERT INTO risk_events (product_version_id, region, triggered_at, tier_level, zone,"
        " local_date) SELECT product_version_id, coverage_region, $2::text::timestamptz, $3,"
        " CASE WHEN $4 THEN zone END, CASE WHEN $4 THEN left($2, 10)::date END"
        " FROM policies WHERE policy_number = $1",
        number,
        at,
        tier,
        zone,
    )


@dataclass(slots=True)
class Held:
    """A transaction that stops after one of its parts, the first time it comes by."""

    pid: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    def after(self, part: Callable[..., Awaitable[Outcome]]) -> Callable[..., Awaitable[Outcome]]:
        async def held(connection: Driver, *arguments: Any, **named: Any) -> Outcome:  # noqa: ANN401 - passed on
            outcome = await part(connection, *arguments, **named)
            if not self.reached.is_set():
                self.pid = connection.get_server_pid()
                self.reached.set()
                await self.let_go.wait()
            return outcome

        return held
