"""Policies: stored once, locked in rising order of id, never changed in what they pay."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import bindparam, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Mapped, mapped_column

from claimwright.domain.errors import NotFoundError, UnusableRecordError
from claimwright.domain.money import from_minor
from claimwright.domain.terms import ProductTerms
from claimwright.domain.usability import policy_fault
from claimwright.storage.base import Base
from claimwright.storage.products import ProductVersion, read_terms, terms_fault


class Policy(Base):
    """A policy: what is covered, where, for how much, in which currency and time zone.

    ``coverage_minor`` and ``limit_minor`` are in minor units of the currency; ``first_day`` and
    ``last_day`` are local days of ``zone``, both covered; ``cancelled_on`` is the first day no
    longer covered where the policy ended early.
    """

    __tablename__ = "policies"

    id: Mapped[int] = mapped_column(primary_key=True)
    policy_number: Mapped[str]
    product_version_id: Mapped[int]
    coverage_region: Mapped[str]
    coverage_minor: Mapped[int]
    limit_minor: Mapped[int]
    currency: Mapped[str]
    zone: Mapped[str]
    first_day: Mapped[date]
    last_day: Mapped[date]
    cancelled_on: Mapped[date | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    @property
    def coverage_amount(self) -> Decimal:
        """The sum insured, in units of the currency."""
        return from_minor(self.coverage_minor, self.currency)


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """A policy as one statement saw it, free of any session; what the rules are given."""

    id: int
    policy_number: str
    product_version_id: int
    coverage_region: str
    coverage_minor: int
    limit_minor: int
    currency: str
    zone: str
    first_day: date
    last_day: date
    cancelled_on: date | None


@dataclass(frozen=True, slots=True)
class NewPolicy:
    """A policy to be stored; its limit follows from its terms."""

    policy_number: str
    product_version_id: int
    coverage_region: str
    coverage_minor: int
    currency: str
    zone: str
    first_day: date
    last_day: date


_COLUMNS = [getattr(Policy, name) for name in PolicyRow.__dataclass_fields__]
_LOCK = text("SELECT FROM policies WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE")
_READ = (
    select(*_COLUMNS, ProductVersion.terms)
    .join(ProductVersion, ProductVersion.id == Policy.product_version_id)
    .where(Policy.id == bindparam("policy_id"))
)


async def lock_policies(connection: AsyncConnection, ids: Iterable[int]) -> None:
    """Lock policies against other writers, in rising order of id, by a statement alone.

    It reads nothing on purpose: what this statement could see was fixed before it waited. The
    policy, its events and its claims are read by later statements. One order for everybody
    means that no two callers can wait for each other in a circle.
    """
    await connection.execute(_LOCK, {"ids": sorted(set(ids))})


async def read_policy(
    connection: AsyncConnection, policy_id: int
) -> tuple[PolicyRow, ProductTerms]:
    """The policy as it is now, past any session's memory of it, with its terms.

    Raises:
        NotFoundError: there is no such policy.
        UnusableRecordError: the rules cannot take it, or its terms.
    """
    row = (await connection.execute(_READ, {"policy_id": policy_id})).one_or_none()
    if row is None:
        raise NotFoundError("policy", policy_id)
    *values, terms = row
    policy = PolicyRow(*values)
    fault = policy_fault(policy.zone, policy.currency) or terms_fault(terms)
    if fault is not None:
        raise UnusableRecordError("policy", f"{policy.policy_number} (id {policy.id})", fault)
    return policy, read_terms(terms)


async def find_policy_id(connection: AsyncConnection, policy_number: str) -> int:
    """The id of a policy's number.

    Raises:
        NotFoundError: there is no such policy.
    """
    found = await connection.scalar(select(Policy.id).where(Policy.policy_number == policy_number))
    if found is None:
        raise NotFoundError("policy", policy_number)
    return int(found)


_INSERT = text(
    """
    INSERT INTO policies (policy_number, product_version_id, coverage_region, coverage_minor,
                          limit_minor, currency, zone, first_day, last_day)
    SELECT n.policy_number, n.product_version_id, n.region, n.coverage_minor,
           round(n.coverage_minor * p.aggregate_limit_percent / 100), n.currency, n.zone,
           n.first_day, n.last_day
    FROM unnest(CAST(:policy_number AS text[]), CAST(:product_version_id AS bigint[]),
                CAST(:coverage_region AS text[]), CAST(:coverage_minor AS bigint[]),
                CAST(:currency AS text[]), CAST(:zone AS text[]), CAST(:first_day AS date[]),
                CAST(:last_day AS date[]))
         AS n (policy_number, product_version_id, region, coverage_minor, currency, zone,
               first_day, last_day)
    JOIN product_versions p ON p.id = n.product_version_id
    ORDER BY n.policy_number
    ON CONFLICT (policy_number) DO NOTHING
    RETURNING policy_number, id
    """
)


async def insert_policies(
    connection: AsyncConnection, policies: Sequence[NewPolicy]
) -> dict[str, int]:
    """Store policies whose numbers are not stored yet; one statement, with their accounts.

    Returns:
        The ids of those that were stored, by policy number.
    """
    columns = {
        name: [getattr(policy, name) for policy in policies]
        for name in NewPolicy.__dataclass_fields__
    }
    rows = await connection.execute(_INSERT, columns)
    return {row.policy_number: row.id for row in rows}
