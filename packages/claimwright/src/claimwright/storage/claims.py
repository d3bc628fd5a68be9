"""Claims: layers of a policy's benefit period, append-only but for their status."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Computed, DateTime, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Mapped, make_transient_to_detached, mapped_column

from claimwright.domain.layers import ClaimDraft
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
_ALL_COLUMNS = [column.key for column in Claim.__table__.columns]

_OF_POLICY = text(f"SELECT {CLAIM_COLUMNS} FROM claims WHERE policy_id = :policy_id ORDER BY id")
_RECORDS = text(
    f"SELECT {_RECORD_COLUMNS} FROM claims WHERE policy_id = ANY(:ids) ORDER BY policy_id, id"
)
_VOID = text(
    "UPDATE claims SET status = 'void' WHERE policy_id = :policy_id AND id = ANY(:claim_ids)"
)
_OF_CALCULATION = text(
    f"""
    SELECT {", ".join(_ALL_COLUMNS)} FROM claims
    WHERE policy_id = :policy_id AND calculation_id = :calculation_id ORDER BY id
    """
).bindparams(bindparam("calculation_id", type_=PG_UUID(as_uuid=True)))
_INSERT = text(
    f"""
    INSERT INTO claims (policy_id, event_id, event_date, period_key, tier_level,
                        attachment_minor, exhaustion_minor, payout_percentage, terms_sha256,
                        calculation_id, engine_version)
    SELECT n.policy_id, n.event_id, n.event_date, n.period_key, n.tier_level,
           n.attachment_minor, n.exhaustion_minor, n.payout_percentage, :terms_sha256,
           :calculation_id, :engine_version
    FROM unnest(CAST(:policy_id AS bigint[]), CAST(:event_id AS bigint[]),
                CAST(:event_date AS date[]), CAST(:period_key AS text[]),
                CAST(:tier_level AS text[]), CAST(:attachment_minor AS bigint[]),
                CAST(:exhaustion_minor AS bigint[]), CAST(:payout_percentage AS numeric[]))
         WITH ORDINALITY AS n (policy_id, event_id, event_date, period_key, tier_level,
                               attachment_minor, exhaustion_minor, payout_percentage, place)
    ORDER BY n.place
    RETURNING {", ".join(_ALL_COLUMNS)}
    """
).bindparams(bindparam("calculation_id", type_=PG_UUID(as_uuid=True)))
_DRAFT_COLUMNS = (
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


async def claims_of_calculation(
    connection: AsyncConnection, policy_id: int, calculation_id: UUID
) -> list[Claim]:
    """What a calculation has stored: the answer to a COMMIT whose reply was lost."""
    rows = await connection.execute(
        _OF_CALCULATION, {"policy_id": policy_id, "calculation_id": calculation_id}
    )
    return [_detached(row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name


async def insert_claims(
    connection: AsyncConnection, drafts: Sequence[ClaimDraft], provenance: Provenance
) -> list[Claim]:
    """Store claims by one statement; the database refuses what would pay twice.

    Raises:
        sqlalchemy.exc.IntegrityError: the key's SQLSTATE 23P01 when somebody else's layer came
            first: roll back, read again, decide again.
    """
    if not drafts:
        return []
    columns = {name: [getattr(draft, name) for draft in drafts] for name in _DRAFT_COLUMNS}
    rows = await connection.execute(
        _INSERT,
        {
            **columns,
            "terms_sha256": provenance.terms_sha256,
            "calculation_id": provenance.calculation_id,
            "engine_version": provenance.engine_version,
        },
    )
    return [_detached(row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name


async def get_claims_for_policy(session: AsyncSession, policy_id: int) -> list[Claim]:
    """Every claim of the policy, void ones too, in order of id."""
    claims = await session.scalars(
        select(Claim)
        .where(Claim.policy_id == policy_id)
        .order_by(Claim.id)
        .execution_options(populate_existing=True)
    )
    return list(claims)


def _detached(values: object) -> Claim:
    """A claim with all its values that belongs to no session."""
    claim = Claim(**dict(values))  # type: ignore[call-overload]
    make_transient_to_detached(claim)
    return claim
