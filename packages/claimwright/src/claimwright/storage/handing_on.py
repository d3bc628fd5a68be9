"""Handing requests on to the queue.

A request *waits* until it is handed on, is *handed on* until it is finished, and is *dead* when its
generation was given up. A new generation waits again, whatever became of the one before.

Nothing here waits for a lock that the work itself holds while another row of the same statement is
held: taking skips what is locked, and everything else locks in order of the key.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.storage.requests import LOCK_IN_ORDER, RequestKind

CHANNEL: Final = "claimwright_work"
"""What the database notifies when requests were written."""
#: What is looked after and will be done in its newest generation, so that handing it on once more
#: would only make work twice: a message that nobody has begun, whoever has begun the newest
#: generation, and a day with chunks to do. Not for ever: a message may be lost, a worker die.
_UNDER_WAY: Final = """
    dead_generation < handed_on_generation AND finished_generation < handed_on_generation
    AND (attempted_generation < handed_on_generation AND handed_on_at > {since}
         OR attempted_generation = generation AND attempted_at > {since}
         OR handed_on_at > {since} AND EXISTS (
                SELECT FROM work_chunks c
                WHERE c.request_id = work_requests.id AND c.finished_at IS NULL
                  AND c.generation >= work_requests.handed_on_generation))
""".format(since="now() - make_interval(secs => :stuck_after_seconds)")
_TAKE: Final = """
    WITH taken AS MATERIALIZED (
        SELECT id FROM work_requests WHERE {which}
        ORDER BY {order}, id LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED)
    UPDATE work_requests r SET handed_on_generation = r.generation, handed_on_at = now()
    FROM taken WHERE r.id = taken.id
    RETURNING r.id, r.kind, r.region, r.generation,
              CASE WHEN r.attempted_generation = r.generation THEN r.attempts ELSE 0 END AS attempts
"""
_WAITING: Final = text(
    _TAKE.format(
        which=f"""handed_on_generation < generation AND finished_generation < generation
            AND dead_generation < generation AND NOT coalesce({_UNDER_WAY}, false)""",
        order="requested_at",
    )
)
_STUCK: Final = text(
    _TAKE.format(
        which="""handed_on_generation = generation AND finished_generation < generation
            AND dead_generation < generation
            AND handed_on_at < now() - make_interval(secs => :stuck_after_seconds)
            AND (attempted_at IS NULL
                 OR attempted_at < now() - make_interval(secs => :stuck_after_seconds))
            AND NOT EXISTS (
                SELECT FROM work_chunks c
                WHERE c.request_id = work_requests.id AND c.generation = work_requests.generation
                  AND greatest(c.attempted_at, c.finished_at)
                      >= now() - make_interval(secs => :stuck_after_seconds))""",
        order="handed_on_at",
    )
)
_OF_DAY: Final = text(
    _TAKE.format(
        which="""kind = 'calculate' AND day = :day AND handed_on_generation < generation
            AND finished_generation < generation AND dead_generation < generation""",
        order="requested_at",
    )
)
_LOCK: Final = text(LOCK_IN_ORDER.format(ids=":ids"))
_GIVE_BACK: Final = text(
    """
    UPDATE work_requests r SET handed_on_generation = 0, handed_on_at = NULL
    FROM unnest(CAST(:ids AS bigint[]), CAST(:generations AS bigint[])) AS g (id, generation)
    WHERE r.id = g.id AND r.handed_on_generation = g.generation
      AND r.finished_generation < r.generation
    """
)
_ASK_FOR_DAY: Final = text("SELECT request_days_again(:day, :day, NULL, NULL)")
_ASK_AGAIN: Final = text(
    """
    SELECT request_again(ARRAY[CAST(:policy_id AS bigint)])
    WHERE EXISTS (SELECT FROM policies WHERE id = :policy_id)
      AND NOT EXISTS (
        SELECT FROM work_requests WHERE kind = 'policy' AND policy_id = :policy_id
          AND finished_generation < generation)
    """
)


@dataclass(frozen=True, slots=True)
class HandedOn:
    """A request that was marked as handed on, and has to be sent.

    Attributes:
        attempts: how often this generation of it was begun before.
    """

    id: int
    kind: RequestKind
    region: str | None
    generation: int
    attempts: int


async def take_waiting(
    connection: AsyncConnection, *, stuck_after_seconds: float, limit: int
) -> list[HandedOn]:
    """Mark requests as handed on that are not; the longest asked for first."""
    return await _take(
        connection, _WAITING, {"stuck_after_seconds": stuck_after_seconds, "limit": limit}
    )


async def take_stuck(
    connection: AsyncConnection, *, stuck_after_seconds: float, limit: int
) -> list[HandedOn]:
    """Mark requests as handed on once more that nobody has touched for so long."""
    return await _take(
        connection, _STUCK, {"stuck_after_seconds": stuck_after_seconds, "limit": limit}
    )


async def take_day(connection: AsyncConnection, day: date, *, limit: int) -> list[HandedOn]:
    """Mark the waiting calculations of a local date as handed on."""
    return await _take(connection, _OF_DAY, {"day": day, "limit": limit})


async def give_back(connection: AsyncConnection, requests: Iterable[HandedOn]) -> None:
    """Let requests wait again that could not be sent."""
    generations = {request.id: request.generation for request in requests}
    await lock_requests(connection, list(generations))
    await connection.execute(
        _GIVE_BACK, {"ids": list(generations), "generations": list(generations.values())}
    )


async def ask_for_day(connection: AsyncConnection, day: date) -> int:
    """Ask for the calculations of a local date again; how many there are."""
    asked = await connection.scalar(_ASK_FOR_DAY, {"day": day})
    return int(asked or 0)


async def ask_for_policy(connection: AsyncConnection, policy_id: int) -> bool:
    """Ask for a policy's whole term, unless it is asked for or there is none; whether it did."""
    asked = await connection.execute(_ASK_AGAIN, {"policy_id": policy_id})
    return asked.first() is not None


async def lock_requests(connection: AsyncConnection, ids: Iterable[int]) -> None:
    """Lock requests in order of their key, as everybody does who locks several."""
    await connection.execute(_LOCK, {"ids": list(ids)})


async def notify(connection: AsyncConnection) -> None:
    """Wake the relays once this transaction has committed."""
    await connection.execute(text(f"NOTIFY {CHANNEL}"))


async def _take(
    connection: AsyncConnection, statement: TextClause, values: dict[str, object]
) -> list[HandedOn]:
    rows = await connection.execute(statement, values)
    taken = [
        HandedOn(row.id, RequestKind(row.kind), row.region, row.generation, row.attempts)
        for row in rows
    ]
    return sorted(taken, key=lambda one: one.id)
