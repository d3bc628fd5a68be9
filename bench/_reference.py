"""The reference: claims paid as an able web developer would, with a lock, an ORM and a loop.

A Redis lock around it, one ORM transaction, SELECT … FOR UPDATE on the region's events, a loop in
Decimal over them, and one INSERT for each claim. Its tables have primary keys and foreign keys and
none of the engine's guards, so that it has less to do than the engine has.
"""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

from redis.asyncio import Redis
from sqlalchemy import DateTime, ForeignKey, Index, MetaData, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA: Final = "reference"
PAYOUTS: Final = {"tier1": Decimal(20), "tier2": Decimal(50), "tier3": Decimal(100)}


class Base(DeclarativeBase):
    """The reference's tables, in a schema of their own."""

    metadata = MetaData(schema=SCHEMA)


class RefPolicy(Base):
    """A policy: its region and its cover."""

    __tablename__ = "policies"

    id: Mapped[int] = mapped_column(primary_key=True)
    region: Mapped[str]
    coverage: Mapped[Decimal]


class RefEvent(Base):
    """A risk event of a region."""

    __tablename__ = "risk_events"
    __table_args__ = (Index("reference_events", "region", "triggered_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    region: Mapped[str]
    triggered_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    tier_level: Mapped[str]


class RefClaim(Base):
    """A claim: what one event adds to a policy's day."""

    __tablename__ = "claims"
    __table_args__ = (Index("reference_claims", "policy_id", "event_date"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    policy_id: Mapped[int] = mapped_column(ForeignKey(RefPolicy.id))
    event_id: Mapped[int] = mapped_column(ForeignKey(RefEvent.id))
    event_date: Mapped[date]
    tier_level: Mapped[str]
    payout_percentage: Mapped[Decimal]
    amount: Mapped[Decimal]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


async def pay(
    sessions: async_sessionmaker[AsyncSession], redis: Redis, policy_id: int, day: date
) -> int:
    """Pay one policy's events of one UTC day; how many claims that made."""
    lock = redis.lock(f"lock:reference:{policy_id}:{day}", timeout=120)
    await lock.acquire()
    try:
        async with sessions() as session, session.begin():
            return await _pay_locked(session, policy_id, day)
    finally:
        await lock.release()


async def _pay_locked(session: AsyncSession, policy_id: int, day: date) -> int:
    policy = await session.get_one(RefPolicy, policy_id)
    events = await session.scalars(
        select(RefEvent)
        .where(
            RefEvent.region == policy.region,
            RefEvent.triggered_at.between(
                datetime(day.year, day.month, day.day, tzinfo=UTC),
                datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC),
            ),
        )
        .order_by(RefEvent.triggered_at, RefEvent.id)
        .with_for_update()
    )
    known = await session.scalars(
        select(RefClaim).where(RefClaim.policy_id == policy_id, RefClaim.event_date == day)
    )
    paid = sum((claim.payout_percentage for claim in known), Decimal(0))
    made = 0
    for event in events:
        increment = PAYOUTS[event.tier_level] - paid
        if increment <= 0:
            continue
        session.add(
            RefClaim(
                policy_id=policy_id,
                event_id=event.id,
                event_date=day,
                tier_level=event.tier_level,
                payout_percentage=increment,
                amount=(policy.coverage * increment / 100).quantize(Decimal("0.01")),
            )
        )
        await session.flush()
        paid += increment
        made += 1
    return made
