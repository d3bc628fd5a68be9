"""Requests: work that stored rows ask for, each with a generation.

The database writes them, in the transaction of whatever asks (see the migration's triggers). Work
reads a request's generation in a statement before its data, and finishes it with
``WHERE generation = :read``: what was asked for meanwhile stays pending.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import DateTime, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Mapped, mapped_column

from claimwright.storage.base import Base


class RequestKind(StrEnum):
    """What is asked for."""

    EVALUATE = "evaluate"
    """Readings of (region, variable, UTC date) came: evaluate the local days they touch."""
    CALCULATE = "calculate"
    """Events of (terms, region, zone, local date) came: calculate who they concern."""
    POLICY = "policy"
    """A policy was stored or changed: calculate its whole term."""


class WorkRequest(Base):
    """One request; pending while its finished generation lies behind."""

    __tablename__ = "work_requests"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    policy_id: Mapped[int | None]
    product_version_id: Mapped[int | None]
    region: Mapped[str | None]
    subject: Mapped[str | None]
    day: Mapped[date | None]
    generation: Mapped[int]
    finished_generation: Mapped[int]
    requested_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now()
    )
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """A pending request as it was read, before its data."""

    id: int
    kind: RequestKind
    policy_id: int | None
    product_version_id: int | None
    region: str | None
    subject: str | None
    day: date | None
    generation: int


_LOCK = text(
    """
    SELECT FROM work_requests WHERE id = ANY(:ids)
    ORDER BY kind, policy_id, product_version_id, region, subject, day FOR NO KEY UPDATE
    """
)
_FINISH = text(
    """
    UPDATE work_requests r SET finished_generation = r.generation, finished_at = now()
    FROM unnest(CAST(:ids AS bigint[]), CAST(:generations AS bigint[])) AS f (id, generation)
    WHERE r.id = f.id AND r.generation = f.generation
    """
)


async def pending_requests(
    connection: AsyncConnection,
    kind: RequestKind,
    *,
    days: tuple[date, date] | None = None,
    policy_ids: Sequence[int] | None = None,
) -> list[PendingRequest]:
    """Pending requests of a kind, of days from the first to the last, in order of their key."""
    query = select(
        *(getattr(WorkRequest, name) for name in PendingRequest.__dataclass_fields__)
    ).where(WorkRequest.kind == kind, WorkRequest.finished_generation < WorkRequest.generation)
    if days is not None:
        query = query.where(WorkRequest.day.between(*days))
    if policy_ids is not None:
        query = query.where(WorkRequest.policy_id.in_(policy_ids))
    rows = await connection.execute(query.order_by(WorkRequest.day, WorkRequest.id))
    return [PendingRequest(row.id, RequestKind(row.kind), *row[2:]) for row in rows]


async def finish_requests(connection: AsyncConnection, requests: Iterable[PendingRequest]) -> int:
    """Finish requests that nobody has asked for again since they were read; returns how many.

    They are locked first, in order of their key, as those who ask lock them.
    """
    known = {request.id: request.generation for request in requests}
    await connection.execute(_LOCK, {"ids": list(known)})
    done = await connection.execute(
        _FINISH, {"ids": list(known), "generations": list(known.values())}
    )
    return done.rowcount


async def count_pending(connection: AsyncConnection) -> int:
    """How many requests are pending."""
    count = await connection.scalar(
        select(func.count()).where(WorkRequest.finished_generation < WorkRequest.generation)
    )
    return int(count or 0)
