"""What is asked for and still to do, listed and counted, and revived."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.storage.handing_on import lock_requests, notify

_STATE: Final = """
    CASE WHEN r.dead_generation = r.generation THEN 'dead'
         WHEN r.handed_on_generation = r.generation THEN 'handed on'
         ELSE 'waiting' END
"""
_LISTED: Final = text(
    f"""
    SELECT r.id, r.kind, {_STATE} AS state, p.policy_number, v.code AS product, r.region,
           r.subject, r.day, r.generation, r.requested_at, r.handed_on_at, r.attempted_at,
           CASE WHEN r.attempted_generation = r.generation THEN r.attempts ELSE 0 END AS attempts,
           CASE WHEN r.attempted_generation = r.generation OR r.dead_generation = r.generation
                THEN r.failure ELSE '' END AS failure,
           (SELECT count(*) FROM work_chunks c
            WHERE c.request_id = r.id AND c.generation = r.generation) AS chunks,
           (SELECT count(*) FROM work_chunks c
            WHERE c.request_id = r.id AND c.generation = r.generation
              AND c.finished_at IS NOT NULL) AS chunks_finished
    FROM work_requests r
    LEFT JOIN policies p ON p.id = r.policy_id
    LEFT JOIN product_versions v ON v.id = coalesce(r.product_version_id, p.product_version_id)
    WHERE r.finished_generation < r.generation AND r.id > :after
      AND (NOT :dead_only OR r.dead_generation = r.generation)
    ORDER BY r.id LIMIT :limit
    """
)
_REVIVE: Final = """
    UPDATE work_requests SET dead_generation = 0, failure = '', attempts = 0,
        attempted_at = NULL, handed_on_generation = 0, handed_on_at = NULL
    WHERE id = ANY(:ids) AND finished_generation < generation {which}
    RETURNING id
"""
_REVIVE_CHUNKS: Final = text("UPDATE work_chunks SET attempts = 0 WHERE request_id = ANY(:ids)")
_DEAD_IDS: Final = text(
    f"""
    SELECT id FROM work_requests WHERE dead_generation = generation
      AND finished_generation < generation AND id > :after ORDER BY id LIMIT :limit
    """  # noqa: F541 - formatted like its neighbours
)
_COUNTS: Final = text(
    f"""
    SELECT kind, {_STATE} AS state, count(*) AS requests,
           extract(epoch FROM now() - min(requested_at)) AS oldest_seconds
    FROM work_requests r WHERE finished_generation < generation GROUP BY 1, 2
    """
)


@dataclass(frozen=True, slots=True)
class ListedWork:
    """A pending request, for people.

    Attributes:
        state: ``waiting``, ``handed on`` or ``dead``.
        subject: a variable of readings, or a zone of events.
        failure: why the last attempt failed.
    """

    id: int
    kind: str
    state: str
    policy_number: str | None
    product: str | None
    region: str | None
    subject: str | None
    day: date | None
    generation: int
    requested_at: datetime
    handed_on_at: datetime | None
    attempted_at: datetime | None
    attempts: int
    failure: str
    chunks: int
    chunks_finished: int


@dataclass(frozen=True, slots=True)
class WorkCount:
    """How many requests of a kind are in a state, and how long the oldest has been asked for."""

    kind: str
    state: str
    requests: int
    oldest_seconds: float


async def list_work(
    connection: AsyncConnection, *, dead_only: bool, after: int, limit: int
) -> list[ListedWork]:
    """Pending requests in order of their id, from the one after ``after`` on."""
    rows = await connection.execute(
        _LISTED, {"dead_only": dead_only, "after": after, "limit": limit}
    )
    return [ListedWork(**row._mapping) for row in rows]  # noqa: SLF001 - that is its public name


async def revive(connection: AsyncConnection, ids: Sequence[int], *, dead_only: bool) -> list[int]:
    """Let requests wait again as if they had never been begun; returns which."""
    await lock_requests(connection, list(ids))
    which = "AND dead_generation = generation" if dead_only else ""
    revived = list(await connection.scalars(text(_REVIVE.format(which=which)), {"ids": list(ids)}))
    await connection.execute(_REVIVE_CHUNKS, {"ids": revived})
    await notify(connection)
    return sorted(revived)


async def dead_ids(connection: AsyncConnection, *, after: int, limit: int) -> list[int]:
    """Requests that were given up, in order of their id."""
    return list(await connection.scalars(_DEAD_IDS, {"after": after, "limit": limit}))


async def work_counts(connection: AsyncConnection) -> list[WorkCount]:
    """How many requests are pending, by kind and state."""
    return [
        WorkCount(row.kind, row.state, row.requests, float(row.oldest_seconds))
        for row in await connection.execute(_COUNTS)
    ]
