"""Claims: layers of a policy's benefit period, append-only but for their status."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Computed, DateTime, func, select, text
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Mapped, class_mapper, mapped_column
from sqlalchemy.orm.attributes import instance_dict, instance_state

from claimwright.storage.base import Base


class Claim(Base):
    """A claim: the layer (attachment, exhaustion] of one policy's benefit period.

    ``payout_percentage`` is the increment this claim adds, in per cent of the cover;
    ``amount_minor`` its width, in minor units of the policy's currency.
    """

    __tablename__ = "claims"

    policy_id: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int]
    event_date: Mapped[date]
    period_key: Mapped[str]
    tier_level: Mapped[str]
    attachment_minor: Mapped[int]
    exhaustion_minor: Mapped[int]
    amount_minor: Mapped[int] = mapped_column(Computed(""))
    payout_percentage: Mapped[Decimal]
    status: Mapped[str] = mapped_column(server_default="calculated")
    terms_sha256: Mapped[bytes]
    calculation_id: Mapped[UUID] = mapped_column(PG_UUID(as_uuid=True))
    engine_version: Mapped[str]
    calculated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now()
    )

    @classmethod
    def stored(cls, values: Mapping[str, object]) -> "Claim":
        """A claim from all its stored values by column; it belongs to no session.

        Made as SQLAlchemy makes what it loads, without the constructor that notes every value as
        a change: that costs as much as the statement that stored the claim.
        """
        mapper = class_mapper(cls)
        claim: Claim = mapper.class_manager.new_instance()
        instance_dict(claim).update(values)
        key = (claim.policy_id, claim.id)
        instance_state(claim).key = mapper.identity_key_from_primary_key(key)
        return claim


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """A claim as one statement saw it; what the rules are given."""

    policy_id: int
    id: int
    event_id: int
    event_date: date
    period_key: str
    tier_level: str
    attachment_minor: int
    exhaustion_minor: int
    payout_percentage: Decimal
    status: str


@dataclass(frozen=True, slots=True)
class ClaimRecord(ClaimRow):
    """A claim with everything that is on record for it; what checks and explanations are given."""

    amount_minor: int
    terms_sha256: bytes
    calculation_id: UUID
    engine_version: str
    calculated_at: datetime


@dataclass(frozen=True, slots=True)
class Provenance:
    """What every claim of one calculation carries."""

    calculation_id: UUID
    terms_sha256: bytes
    engine_version: str


CLAIM_COLUMNS = ", ".join(ClaimRow.__dataclass_fields__)
_RECORD_COLUMNS = ", ".join(ClaimRecord.__dataclass_fields__)

_OF_POLICY = text(f"SELECT {CLAIM_COLUMNS} FROM claims WHERE policy_id = :policy_id ORDER BY id")
_RECORDS = text(
    f"SELECT {_RECORD_COLUMNS} FROM claims WHERE policy_id = ANY(:ids) ORDER BY policy_id, id"
)
_VOID = text(
    "UPDATE claims SET status = 'void' WHERE policy_id = :policy_id AND id = ANY(:claim_ids)"
)
DRAFT_COLUMNS = (
    "policy_id",
    "event_id",
    "event_date",
    "period_key",
    "tier_level",
    "attachment_minor",
    "exhaustion_minor",
    "payout_percentage",
)


async def claims_of_policy(connection: AsyncConnection, policy_id: int) -> list[ClaimRow]:
    """Every claim of the policy over its whole term, void ones too, in order of id."""
    rows = await connection.execute(_OF_POLICY, {"policy_id": policy_id})
    return [ClaimRow(*row) for row in rows]


async def claim_records(
    connection: AsyncConnection, policy_ids: Sequence[int]
) -> list[ClaimRecord]:
    """Every claim of these policies, void ones too, in order of policy and id."""
    rows = await connection.execute(_RECORDS, {"ids": list(policy_ids)})
    return [ClaimRecord(*row) for row in rows]


async def void_claims(
    connection: AsyncConnection, policy_id: int, claim_ids: Sequence[int]
) -> None:
    """Make layers void, all by one statement; the database refuses any that are not topmost.

    Raises:
        sqlalchemy.exc.IntegrityError: a live layer lies on top of them, or one is void already.
    """
    await connection.execute(_VOID, {"policy_id": policy_id, "claim_ids": list(claim_ids)})


async def get_claims_for_policy(session: AsyncSession, policy_id: int) -> list[Claim]:
    """Every claim of the policy, void ones too, in order of id."""
    claims = await session.scalars(
        select(Claim)
        .where(Claim.policy_id == policy_id)
        .order_by(Claim.id)
        .execution_options(populate_existing=True)
    )
    return list(claims)
