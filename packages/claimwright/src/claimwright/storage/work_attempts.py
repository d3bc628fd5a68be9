"""How often asked work was begun, why it failed, and when it was given up.

A count is committed before its work begins. It belongs to one generation of a request, or to one
chunk of it; a new generation has all its attempts before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.storage.chunks import ChunkKey
from claimwright.storage.handing_on import ask_for_policy, lock_requests
from claimwright.storage.requests import PendingRequest, RequestKind

LONGEST_FAILURE: Final = 2_000
_ATTEMPTED: Final = text(
    """
    SELECT id, CASE WHEN attempted_generation = generation THEN attempts ELSE 0 END AS attempts
    FROM work_requests
    WHERE id = ANY(:ids) AND kind = :kind
      AND finished_generation < generation AND dead_generation < generation
    """
)
_GIVE_UP: Final = text(
    """
    UPDATE work_requests SET dead_generation = generation,
        failure = CASE WHEN failure = '' THEN :reason ELSE failure END
    WHERE id = ANY(:ids) AND kind = :kind
      AND finished_generation < generation AND dead_generation < generation
      AND attempted_generation = generation AND attempts >= :most
    RETURNING id, failure
    """
)
_BEGIN: Final = text(
    """
    UPDATE work_requests SET
        attempts = CASE WHEN attempted_generation = generation THEN attempts + 1 ELSE 1 END,
        failure = CASE WHEN attempted_generation = generation THEN failure ELSE '' END,
        attempted_generation = generation, attempted_at = now()
    WHERE id = ANY(:ids) AND kind = :kind
      AND finished_generation < generation AND dead_generation < generation
    RETURNING id, policy_id, product_version_id, region, subject, day, generation, attempts
    """
)
_BEGIN_AFRESH: Final = text(
    "UPDATE work_requests SET attempts = 0 WHERE id = :id AND attempted_generation = :generation"
)
_FAIL: Final = text(
    """
    UPDATE work_requests r SET failure = f.reason,
        dead_generation = CASE WHEN attempts >= :most THEN r.generation ELSE dead_generation END
    FROM unnest(CAST(:ids AS bigint[]), CAST(:generations AS bigint[]), CAST(:reasons AS text[]))
         AS f (id, generation, reason)
    WHERE r.id = f.id AND r.generation = f.generation AND finished_generation < r.generation
    RETURNING r.id, dead_generation = r.generation AS dead
    """
)
_GIVE_UP_POLICY: Final = text(
    """
    UPDATE work_requests SET dead_generation = generation, failure = :reason
    WHERE kind = 'policy' AND policy_id = :policy_id AND finished_generation < generation
    """
)
_BEGIN_CHUNK: Final = text(
    """
    UPDATE work_chunks SET attempts = attempts + 1, attempted_at = now()
    WHERE request_id = :request_id AND number = :number AND generation = :generation
      AND finished_at IS NULL
    RETURNING attempts
    """
)
_GIVE_UP_FOR_CHUNK: Final = text(
    """
    UPDATE work_requests SET dead_generation = generation, failure = :reason
    WHERE id = :request_id AND generation = :generation AND finished_generation < generation
      AND dead_generation < generation
    RETURNING id
    """
)
_STANDING: Final = text(
    """
    SELECT r.id, r.finished_generation >= g.generation AS finished,
           r.generation > g.generation AS asked_again,
           extract(epoch FROM r.finished_at - r.requested_at) AS lag_seconds
    FROM work_requests r
    JOIN unnest(CAST(:ids AS bigint[]), CAST(:generations AS bigint[])) AS g (id, generation)
        ON g.id = r.id
    """
)


@dataclass(frozen=True, slots=True)
class Begun:
    """A request whose attempt was counted; read before its data."""

    request: PendingRequest
    attempts: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A request that was given up at this moment."""

    id: int
    kind: RequestKind
    failure: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What has become of a generation of a request.

    Attributes:
        finished: whether it is done, by whomever.
        asked_again: whether a newer generation was asked for.
        lag_seconds: from the asking to the end.
    """

    finished: bool
    asked_again: bool
    lag_seconds: float | None


async def attempts_of(
    connection: AsyncConnection, kind: RequestKind, ids: Sequence[int]
) -> dict[int, int]:
    """How often each of these was begun, of those that are still to do."""
    rows = await connection.execute(_ATTEMPTED, {"ids": list(ids), "kind": kind})
    return {row.id: row.attempts for row in rows}


async def begin(
    connection: AsyncConnection, kind: RequestKind, ids: Sequence[int], *, most: int, reason: str
) -> tuple[list[Begun], list[DeadLetter]]:
    """Count one attempt of each request that is still to do; those with none left are given up.

    The caller commits before it does the work, so that work that kills its worker is counted.

    Args:
        connection: the caller's transaction.
        kind: what they have to be; others are left alone.
        ids: the requests; unknown ones are left out.
        most: how many attempts there are.
        reason: why one is given up of which nobody could say why it failed.
    """
    await lock_requests(connection, list(ids))
    given_up = await connection.execute(
        _GIVE_UP, {"ids": list(ids), "kind": kind, "most": most, "reason": reason}
    )
    dead = [DeadLetter(row.id, kind, row.failure) for row in given_up]
    rows = await connection.execute(_BEGIN, {"ids": list(ids), "kind": kind})
    begun = [
        Begun(
            PendingRequest(
                row.id, kind, row.policy_id, row.product_version_id, row.region, row.subject,
                row.day, row.generation,
            ),
            row.attempts,
        )
        for row in rows
    ]  # fmt: skip
    return sorted(begun, key=lambda one: one.request.id), dead


async def fail(
    connection: AsyncConnection,
    requests: Sequence[PendingRequest],
    reasons: Mapping[int, str],
    *,
    most: int,
) -> list[int]:
    """Keep why attempts failed, by request; returns those whose last one it was: they are dead."""
    ids = [request.id for request in requests]
    await lock_requests(connection, ids)
    rows = await connection.execute(
        _FAIL,
        {
            "ids": ids,
            "generations": [request.generation for request in requests],
            "reasons": [reasons[number][:LONGEST_FAILURE] for number in ids],
            "most": most,
        },
    )
    return [row.id for row in rows if row.dead]


async def begin_afresh(connection: AsyncConnection, request: PendingRequest) -> None:
    """Forget the attempts of a request that went a step forward, as by being cut into chunks."""
    await connection.execute(_BEGIN_AFRESH, {"id": request.id, "generation": request.generation})


async def give_up_policy(connection: AsyncConnection, policy_id: int, reason: str) -> bool:
    """Leave a dead letter for a policy; where its term is asked for already, that stands instead.

    Returns:
        Whether there is a new dead letter.
    """
    if not await ask_for_policy(connection, policy_id):
        return False
    await connection.execute(
        _GIVE_UP_POLICY, {"policy_id": policy_id, "reason": reason[:LONGEST_FAILURE]}
    )
    return True


async def begin_chunk(connection: AsyncConnection, key: ChunkKey) -> int | None:
    """Count an attempt of a chunk; which one it is, or `None` when there is nothing to do."""
    attempts: int | None = await connection.scalar(_BEGIN_CHUNK, key._asdict())
    return attempts


async def give_up_for_chunk(connection: AsyncConnection, key: ChunkKey, reason: str) -> bool:
    """Give up a request because of one of its chunks; whether it was not given up before."""
    values = {**key._asdict(), "reason": reason[:LONGEST_FAILURE]}
    return (await connection.execute(_GIVE_UP_FOR_CHUNK, values)).one_or_none() is not None


async def standing_of(
    connection: AsyncConnection, generations: Mapping[int, int]
) -> dict[int, Standing]:
    """What has become of these generations of requests, by request; unknown ones are left out."""
    rows = await connection.execute(
        _STANDING, {"ids": list(generations), "generations": list(generations.values())}
    )
    return {
        row.id: Standing(
            row.finished,
            row.asked_again,
            None if row.lag_seconds is None else float(row.lag_seconds),
        )
        for row in rows
    }
