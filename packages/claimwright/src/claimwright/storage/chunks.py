"""Chunks: a calculation's policies, in stretches of rising id, each of them one transaction.

A generation of a request is cut once; its chunks stay on record with what became of them, so that
whoever comes later goes on where others were stopped. The lock order is that of everybody: policies
by id, then the request, then its chunks.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple

from claimwright.storage.database import Driver
from claimwright.storage.requests import PendingRequest
from claimwright.storage.risk_events import IndexGroup

_BEFORE_ALL: Final = -(2**63)
_COVERS: Final = """
    first_day <= $5 AND last_day >= $4 AND (cancelled_on IS NULL OR cancelled_on > $4)
"""
_OF_GROUP: Final = "product_version_id = $1 AND coverage_region = $2 AND zone = $3"
_STEP: Final = f"""
    SELECT min(id) AS first_id, max(id) AS last_id, count(*) AS policies FROM (
        SELECT id FROM policies WHERE {_OF_GROUP} AND {_COVERS} AND id > $6
        ORDER BY product_version_id, coverage_region, zone, id LIMIT $7) stretch
    """
_ZONES: Final = """
    WITH RECURSIVE held AS (
        SELECT (SELECT zone FROM policies WHERE product_version_id = $1 AND coverage_region = $2
                ORDER BY product_version_id, coverage_region, zone LIMIT 1) AS zone
        UNION ALL
        SELECT (SELECT zone FROM policies WHERE product_version_id = $1 AND coverage_region = $2
                  AND zone > held.zone
                ORDER BY product_version_id, coverage_region, zone LIMIT 1)
        FROM held WHERE held.zone IS NOT NULL)
    SELECT zone FROM held WHERE zone IS NOT NULL
    """
_READ: Final = """
    SELECT r.product_version_id, r.region, c.zone, r.subject, r.day, c.after_id, c.up_to_id,
           c.finished_at IS NOT NULL AS is_finished,
           r.finished_generation >= c.generation AS request_is_finished, v.terms
    FROM work_chunks c
    JOIN work_requests r ON r.id = c.request_id
    JOIN product_versions v ON v.id = r.product_version_id
    WHERE c.request_id = $1 AND c.generation = $2 AND c.number = $3
    """
_TAKE: Final = """
    SELECT pg_try_advisory_xact_lock(
        hashtextextended('claimwright:chunk:' || $1::bigint || ':' || $2::bigint || ':'
                         || $3::bigint, 0))
    """
_LOCK_POLICIES: Final = f"""
    SELECT id FROM policies WHERE {_OF_GROUP} AND {_COVERS} AND id > $6 AND id <= $7
    ORDER BY id FOR NO KEY UPDATE
    """
_STILL_ASKED: Final = """
    SELECT finished_generation < generation AND generation = $2 AS asked
    FROM work_requests WHERE id = $1 FOR NO KEY UPDATE
    """
_UNFINISHED: Final = """
    SELECT number, policies, finished_at IS NULL AS is_open
    FROM work_chunks WHERE request_id = $1 AND generation = $2 ORDER BY number
    """
_STORE: Final = """
    INSERT INTO work_chunks AS c
        (request_id, number, generation, count, zone, after_id, up_to_id, policies)
    SELECT $1, n.number, $2, cardinality($3::text[]), n.zone, n.after_id, n.up_to_id, n.policies
    FROM unnest($3::text[], $4::bigint[], $5::bigint[], $6::integer[])
         WITH ORDINALITY AS n (zone, after_id, up_to_id, policies, number)
    ON CONFLICT (request_id, number) DO UPDATE SET
        generation = EXCLUDED.generation, count = EXCLUDED.count, zone = EXCLUDED.zone,
        after_id = EXCLUDED.after_id, up_to_id = EXCLUDED.up_to_id, policies = EXCLUDED.policies,
        attempts = 0, attempted_at = NULL, finished_at = NULL
    WHERE c.generation < EXCLUDED.generation
    """
_LOCK_REQUEST: Final = "SELECT FROM work_requests WHERE id = $1 FOR NO KEY UPDATE"
_FINISH: Final = """
    UPDATE work_chunks SET finished_at = now()
    WHERE request_id = $1 AND generation = $2 AND number = $3 AND finished_at IS NULL
    """
_FINISH_REQUEST: Final = """
    UPDATE work_requests r SET finished_generation = r.generation, finished_at = now()
    WHERE r.id = $1 AND r.generation = $2 AND r.finished_generation < r.generation
      AND NOT EXISTS (SELECT FROM work_chunks c WHERE c.request_id = r.id
                      AND c.generation = r.generation AND c.finished_at IS NULL)
    RETURNING r.id
    """


class ChunkKey(NamedTuple):
    """Which chunk: of a request's generation, counted from 1."""

    request_id: int
    generation: int
    number: int


class Stretch(NamedTuple):
    """Policies of one zone whose ids lie in (after_id, up_to_id], and how many there are."""

    zone: str
    after_id: int
    up_to_id: int
    policies: int


class PlannedChunk(NamedTuple):
    """A chunk of a plan and its policies."""

    key: ChunkKey
    policies: int
    is_open: bool


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a chunk is about, as read before its work.

    Attributes:
        subject: the request's: the zone of its events, `None` for those of any zone.
        day: the request's: the events' local date, or their UTC date where they are of any zone.
        is_finished: whether somebody has done it.
        request_is_finished: whether its generation of the request is.
        canonical_terms: of the group, as they are stored.
    """

    group: IndexGroup
    subject: str | None
    day: date
    after_id: int
    up_to_id: int
    is_finished: bool
    request_is_finished: bool
    canonical_terms: str


async def zones_of(connection: Driver, product_version_id: int, region: str) -> list[str]:
    """The zones in which policies of these terms are held in a region, by the index on groups."""
    return [row[0] for row in await connection.fetch(_ZONES, product_version_id, region)]


async def cut(
    connection: Driver, group: IndexGroup, days: tuple[date, date], policies: int
) -> AsyncIterator[Stretch]:
    """The group's policies that cover one of the dates, so many at a time, by the index on groups.

    A policy that is stored meanwhile may be in no stretch: it asks for itself.
    """
    after_id = _BEFORE_ALL
    while True:
        step = await connection.fetchrow(
            _STEP, group.product_version_id, group.region, group.zone, *days, after_id, policies
        )
        if step is None or step["last_id"] is None:
            return
        yield Stretch(group.zone, step["first_id"] - 1, step["last_id"], step["policies"])
        after_id = step["last_id"]


async def plan_of(connection: Driver, request: PendingRequest) -> list[PlannedChunk]:
    """The chunks of a request's generation, finished ones too; empty where it is not yet cut."""
    rows = await connection.fetch(_UNFINISHED, request.id, request.generation)
    return [
        PlannedChunk(ChunkKey(request.id, request.generation, row["number"]), *list(row)[1:])
        for row in rows
    ]


async def lock_asked(connection: Driver, request: PendingRequest) -> bool:
    """Lock a request; whether it is still pending, of the generation that was read."""
    return bool(await connection.fetchval(_STILL_ASKED, request.id, request.generation))


async def store_plan(
    connection: Driver, request: PendingRequest, stretches: Sequence[Stretch]
) -> None:
    """Write a plan over the plans of earlier generations; the caller has locked the request."""
    columns = list(zip(*stretches, strict=True))
    await connection.execute(_STORE, request.id, request.generation, *map(list, columns))


async def read_chunk(connection: Driver, key: ChunkKey) -> Chunk | None:
    """What a chunk is about; `None` where a newer plan was written over it."""
    row = await connection.fetchrow(_READ, *key)
    if row is None:
        return None
    group = IndexGroup(row["product_version_id"], row["region"], row["zone"])
    return Chunk(group, *list(row)[3:])


async def take_chunk(connection: Driver, key: ChunkKey) -> bool:
    """Claim a chunk for this transaction, without waiting; whether nobody else is at it.

    It only saves duplicate work. Nobody ever waits for it, so that it is in no circle of waits,
    and it goes with its holder.
    """
    return bool(await connection.fetchval(_TAKE, *key))


async def lock_policies_of_chunk(
    connection: Driver, chunk: Chunk, days: tuple[date, date]
) -> list[int]:
    """Lock the chunk's policies that cover one of the dates, in rising order of id; their ids.

    A statement alone that reads nothing else: what it could see was fixed before it waited.
    """
    group = chunk.group
    rows = await connection.fetch(
        _LOCK_POLICIES,
        group.product_version_id,
        group.region,
        group.zone,
        *days,
        chunk.after_id,
        chunk.up_to_id,
    )
    return [row[0] for row in rows]


async def finish_chunk(connection: Driver, key: ChunkKey) -> bool:
    """Mark a chunk finished, and its request where it was the last; whether it was.

    Two chunks that end at once are in order by the request's lock, and the second one's last
    statement, begun after the wait, sees what the first has marked.
    """
    await connection.execute(_LOCK_REQUEST, key.request_id)
    await connection.execute(_FINISH, *key)
    return await finish_if_done(connection, key.request_id, key.generation)


async def finish_if_done(connection: Driver, request_id: int, generation: int) -> bool:
    """Finish a request of that generation that has no open chunk; the caller has locked it."""
    return await connection.fetchval(_FINISH_REQUEST, request_id, generation) is not None
