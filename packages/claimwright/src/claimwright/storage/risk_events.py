"""Risk events: the fact that a trigger happened. Append-only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import ARRAY, BigInteger, DateTime, bindparam, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Mapped, mapped_column

from claimwright.domain.triggers import Trigger
from claimwright.storage.base import Base
from claimwright.storage.policies import PolicyRow


class RiskEvent(Base):
    """A risk event: terms, region, UTC instant, tier, and the index that reached it.

    ``zone`` and ``local_date`` are set where it was made from readings: whose local day its
    index is of. ``reading_ids`` are the readings the index was made of.
    """

    __tablename__ = "risk_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    product_version_id: Mapped[int]
    region: Mapped[str]
    triggered_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    tier_level: Mapped[str]
    value: Mapped[Decimal | None]
    zone: Mapped[str | None]
    local_date: Mapped[date | None]
    reading_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), server_default="{}")
    note: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


@dataclass(frozen=True, slots=True)
class EventRow:
    """A risk event as one statement saw it; what the rules are given."""

    id: int
    product_version_id: int
    region: str
    triggered_at: datetime
    tier_level: str
    value: Decimal | None
    zone: str | None
    local_date: date | None


@dataclass(frozen=True, slots=True)
class EventRecord(EventRow):
    """A risk event with everything that is on record for it; what explanations are given."""

    reading_ids: list[int]
    note: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class IndexGroup:
    """Whose index it is: the index is evaluated once per terms, region and zone."""

    product_version_id: int
    region: str
    zone: str


EVENT_COLUMNS = ", ".join(f"e.{name}" for name in EventRow.__dataclass_fields__)

_FOR_POLICY = text(
    f"""
    SELECT {EVENT_COLUMNS}
    FROM risk_events e
    WHERE e.product_version_id = :product_version_id AND e.region = :region
      AND (e.zone IS NULL OR e.zone = :zone)
      AND e.triggered_at >= :starts_at AND e.triggered_at < :ends_at
      AND NOT EXISTS (SELECT FROM event_withdrawals w
                      WHERE w.policy_id = :policy_id AND w.event_id = e.id)
    ORDER BY e.triggered_at, e.id
    """
)
_INSERT_MADE = text(
    """
    INSERT INTO risk_events (product_version_id, region, zone, local_date, triggered_at,
                             tier_level, value, reading_ids)
    VALUES (:product_version_id, :region, :zone, :local_date, :triggered_at, :tier_level,
            :value, :reading_ids)
    ON CONFLICT DO NOTHING
    """
).bindparams(bindparam("reading_ids", type_=ARRAY(BigInteger)))
_OF_GROUP = text(
    f"""
    SELECT {EVENT_COLUMNS} FROM risk_events e
    WHERE e.product_version_id = :product_version_id AND e.region = :region
      AND (e.zone IS NULL OR e.zone = :zone)
    ORDER BY e.triggered_at, e.id
    """
)
_RECORDS = text(
    f"""
    SELECT {", ".join(EventRecord.__dataclass_fields__)} FROM risk_events
    WHERE product_version_id = :product_version_id AND region = :region
      AND triggered_at >= :starts_at AND triggered_at < :ends_at
    ORDER BY triggered_at, id
    """
)


async def event_records(
    connection: AsyncConnection,
    product_version_id: int,
    region: str,
    starts_at: datetime,
    ends_at: datetime,
) -> list[EventRecord]:
    """Events of terms and region, of any zone, in order of (timestamp, id)."""
    rows = await connection.execute(
        _RECORDS,
        {
            "product_version_id": product_version_id,
            "region": region,
            "starts_at": starts_at,
            "ends_at": ends_at,
        },
    )
    return [EventRecord(*row) for row in rows]


async def events_of_group(connection: AsyncConnection, group: IndexGroup) -> list[EventRow]:
    """Events that can concern a group's policies, in order of (timestamp, id)."""
    rows = await connection.execute(
        _OF_GROUP,
        {
            "product_version_id": group.product_version_id,
            "region": group.region,
            "zone": group.zone,
        },
    )
    return [EventRow(*row) for row in rows]


async def events_for_policy(
    connection: AsyncConnection, policy: PolicyRow, starts_at: datetime, ends_at: datetime
) -> list[EventRow]:
    """Events that concern the policy, in order of (timestamp, id), without withdrawn ones."""
    rows = await connection.execute(
        _FOR_POLICY,
        {
            "product_version_id": policy.product_version_id,
            "region": policy.coverage_region,
            "zone": policy.zone,
            "policy_id": policy.id,
            "starts_at": starts_at,
            "ends_at": ends_at,
        },
    )
    return [EventRow(*row) for row in rows]


async def insert_made_events(
    connection: AsyncConnection,
    group: IndexGroup,
    triggers: Sequence[tuple[date, Trigger]],
) -> None:
    """Store what evaluations of local days found, unless an event of that day and tier is there.

    Keeping the first is right: two evaluations of one day that overtake each other differ only
    in when a tier was reached, never in whether, and a day pays by the tiers it reached.
    """
    for day, trigger in sorted(triggers, key=lambda item: (item[0], item[1].tier_level)):
        await connection.execute(
            _INSERT_MADE,
            {
                "product_version_id": group.product_version_id,
                "region": group.region,
                "zone": group.zone,
                "local_date": day,
                "triggered_at": trigger.triggered_at,
                "tier_level": trigger.tier_level,
                "value": trigger.index,
                "reading_ids": list(trigger.reading_ids),
            },
        )


async def readings_of_settled_days(
    connection: AsyncConnection, group: IndexGroup, days: tuple[date, date]
) -> dict[date, list[list[int]]]:
    """The readings behind each event of a group's local dates, from the first to the last."""
    rows = await connection.execute(
        select(RiskEvent.local_date, RiskEvent.reading_ids)
        .where(
            RiskEvent.product_version_id == group.product_version_id,
            RiskEvent.region == group.region,
            RiskEvent.zone == group.zone,
            RiskEvent.local_date.between(*days),
        )
        .order_by(RiskEvent.id)
    )
    settled: dict[date, list[list[int]]] = {}
    for row in rows:
        settled.setdefault(row.local_date, []).append(row.reading_ids)
    return settled
