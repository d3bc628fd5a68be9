"""Requests: work that stored rows ask for, each with a generation.

The database writes them, in the transaction of whatever asks (see the migration's triggers). Work
reads a request's generation in a statement before its data, and finishes it with
``WHERE generation = :read``: what was asked for meanwhile stays pending.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import DateTime, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Mapped, mapped_column

from claimwright.storage.base import Base
from claimwright.storage.database import Driver
from claimwright.storage.risk_events import IndexGroup


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

    @property
    def of_what(self) -> str:
        """What it asks for, in words."""
        if self.kind is RequestKind.POLICY:
            return f"policy {self.policy_id}, its whole term"
        if self.kind is RequestKind.EVALUATE:
            return f"readings of {self.region}, {self.subject}, {self.day} UTC"
        where = f"{self.subject}, {self.day}" if self.subject else f"any zone, {self.day} UTC"
        return f"events of product version {self.product_version_id}, {self.region}, {where}"

    def may_pay(self, group: IndexGroup) -> bool:
        """Whether its events can pay policies of a group; those without a zone, of any zone."""
        ours = (group.product_version_id, group.region)
        return (self.product_version_id, self.region) == ours and self.subject in (None, group.zone)


@dataclass(frozen=True, slots=True)
class PendingWork:
    """How many requests are pending, and since when the oldest of them is.

    Attributes:
        dead: how many of them were given up, so that nobody does them unless asked again.
    """

    requests: int
    oldest: datetime | None
    dead: int = 0


_PENDING = text(
    """
    SELECT count(*) AS requests, min(r.requested_at) AS oldest,
           count(*) FILTER (WHERE r.dead_generation = r.generation) AS dead
    FROM work_requests r
    LEFT JOIN policies p ON p.id = r.policy_id
    LEFT JOIN product_versions v
        ON v.id = coalesce(r.product_version_id, p.product_version_id)
    WHERE r.finished_generation < r.generation
      AND (CAST(:region AS text) IS NULL OR coalesce(r.region, p.coverage_region) = :region)
      AND (CAST(:product_code AS text) IS NULL OR v.code IS NULL OR v.code = :product_code)
    """
)
_GROUP_IS_PENDING = text(
    """
    SELECT EXISTS (
        SELECT FROM work_requests
        WHERE finished_generation < generation AND region = :region
          AND (kind = 'evaluate' AND subject = :variable
               OR kind = 'calculate' AND product_version_id = :product_version_id
                  AND (subject IS NULL OR subject = :zone)))
    """
)
_COLUMNS = ", ".join(PendingRequest.__dataclass_fields__)
_DAY_PAGE = text(
    f"""
    SELECT {_COLUMNS} FROM work_requests
    WHERE kind = :kind AND finished_generation < generation AND day BETWEEN :first AND :last
      AND (day, id) > (CAST(:after_day AS date), CAST(:after_id AS bigint))
    ORDER BY day, id LIMIT :limit
    """
)
# By the order of the index on what is pending.
_POLICY_PAGE = text(
    f"""
    SELECT {_COLUMNS} FROM work_requests
    WHERE kind = :kind AND finished_generation < generation AND day IS NULL AND id > :after_id
    ORDER BY day, id LIMIT :limit
    """
)
_DAYS_AGAIN = text(
    "SELECT request_days_again(:first, :last, CAST(:product_code AS text), CAST(:region AS text))"
)
_STILL_PENDING: Final = """
    SELECT id FROM work_requests
    WHERE id = ANY($1::bigint[]) AND finished_generation < generation
    """
#: In order of the key, as the database's triggers ask: whoever locks several, locks them so.
LOCK_IN_ORDER: Final = (
    "SELECT FROM work_requests WHERE id = ANY({ids}) "
    "ORDER BY kind, policy_id, product_version_id, region, subject, day FOR NO KEY UPDATE"
)
_LOCK: Final = LOCK_IN_ORDER.format(ids="$1::bigint[]")
_FINISH: Final = """
    UPDATE work_requests r SET finished_generation = r.generation, finished_at = now()
    FROM unnest($1::bigint[], $2::bigint[]) AS f (id, generation)
    WHERE r.id = f.id AND r.generation = f.generation AND r.finished_generation < r.generation
    RETURNING r.id
    """


async def pending_page(
    connection: AsyncConnection,
    kind: RequestKind,
    *,
    days: tuple[date, date],
    after: PendingRequest | None,
    limit: int,
) -> list[PendingRequest]:
    """The next pending requests of a kind, in order of (day, id): so many at most.

    Args:
        connection: the caller's transaction.
        kind: those of policies have no day, so that ``days`` leaves none of them out.
        days: the first and last that count.
        after: the last one of the page before.
        limit: of the page.
    """
    values: dict[str, object] = {"kind": kind, "limit": limit, "after_id": 0}
    if kind is RequestKind.POLICY:
        statement = _POLICY_PAGE
        if after is not None:
            values["after_id"] = after.id
    else:
        statement = _DAY_PAGE
        values |= {"first": days[0], "last": days[1], "after_day": days[0]}
        if after is not None:
            values |= {"after_day": after.day, "after_id": after.id}
    rows = await connection.execute(statement, values)
    return [PendingRequest(row.id, RequestKind(row.kind), *row[2:]) for row in rows]


async def finish_requests(connection: Driver, requests: Iterable[PendingRequest]) -> int:
    """Finish requests that nobody has asked for again since they were read; returns how many.

    They are locked first, in order of their key, as those who ask lock them.
    """
    known = {request.id: request.generation for request in requests}
    await connection.execute(_LOCK, list(known))
    return len(await connection.fetch(_FINISH, list(known), list(known.values())))


async def request_days_again(
    connection: AsyncConnection,
    days: tuple[date, date],
    product_code: str | None,
    region: str | None,
) -> int:
    """Ask again for the events of these dates, of one product or region where named; how many."""
    asked = await connection.scalar(
        _DAYS_AGAIN,
        {"first": days[0], "last": days[1], "product_code": product_code, "region": region},
    )
    return int(asked or 0)


async def still_pending(connection: Driver, requests: Iterable[PendingRequest]) -> set[int]:
    """The ids of those that nobody has finished since they were read."""
    rows = await connection.fetch(_STILL_PENDING, [request.id for request in requests])
    return {row[0] for row in rows}


async def count_pending(connection: AsyncConnection) -> int:
    """How many requests are pending."""
    count = await connection.scalar(
        select(func.count()).where(WorkRequest.finished_generation < WorkRequest.generation)
    )
    return int(count or 0)


async def pending_work(
    connection: AsyncConnection, *, product_code: str | None = None, region: str | None = None
) -> PendingWork:
    """What is pending, of one product or region where named.

    Readings belong to no product, so that their requests count for each.
    """
    row = (
        await connection.execute(_PENDING, {"product_code": product_code, "region": region})
    ).one()
    return PendingWork(row.requests, row.oldest, row.dead)


async def group_is_pending(connection: AsyncConnection, group: IndexGroup, variable: str) -> bool:
    """Whether readings of the variable, or events, that concern a group are still to do."""
    found = await connection.scalar(
        _GROUP_IS_PENDING,
        {
            "product_version_id": group.product_version_id,
            "region": group.region,
            "zone": group.zone,
            "variable": variable,
        },
    )
    return bool(found)


async def pending_policies(connection: AsyncConnection, policy_ids: Sequence[int]) -> set[int]:
    """Which of these policies are asked for and still to do."""
    rows = await connection.scalars(
        select(WorkRequest.policy_id).where(
            WorkRequest.kind == RequestKind.POLICY,
            WorkRequest.policy_id.in_(policy_ids),
            WorkRequest.finished_generation < WorkRequest.generation,
        )
    )
    return {policy_id for policy_id in rows if policy_id is not None}
