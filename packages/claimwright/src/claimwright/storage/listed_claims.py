"""Claims as people list them: with their policy, product and event."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.domain.calendar import zone_named, zone_names
from claimwright.domain.money import plain
from claimwright.domain.references import claim_reference
from claimwright.domain.usability import known_amount, policy_fault
from claimwright.storage.claims import Claim
from claimwright.storage.pages import Page, page_of
from claimwright.storage.policies import Policy
from claimwright.storage.products import ProductVersion
from claimwright.storage.risk_events import RiskEvent


@dataclass(frozen=True, slots=True)
class ClaimsFilter:
    """Which claims: `None` for any; event dates local to the policy, both ends included."""

    policy_number: str | None = None
    region: str | None = None
    product_code: str | None = None
    period_key: str | None = None
    tier_level: str | None = None
    status: str | None = None
    first_day: date | None = None
    last_day: date | None = None


@dataclass(frozen=True, slots=True)
class ListedClaim:
    """A claim for people: amounts in units of its currency, the trigger in its policy's zone.

    ``fault`` says why the rules cannot take its policy; `None` where they can. In a zone that they
    do not know the trigger is in UTC, and amounts of a currency that they do not know are `None`.
    """

    reference: str
    policy_number: str
    product: str
    product_version: int
    region: str
    event_date: date
    triggered_at: datetime
    period: str
    tier: str
    payout_percentage: Decimal
    amount: Decimal | None
    currency: str
    attachment: Decimal | None
    exhaustion: Decimal | None
    status: str
    event_id: int
    calculated_at: datetime
    fault: str | None


_COLUMNS = (
    Claim.policy_id,
    Claim.id,
    Policy.policy_number,
    ProductVersion.code,
    ProductVersion.version,
    Policy.coverage_region,
    Claim.event_date,
    RiskEvent.triggered_at,
    Claim.period_key,
    Claim.tier_level,
    Claim.payout_percentage,
    Claim.attachment_minor,
    Claim.exhaustion_minor,
    Policy.currency,
    Policy.zone,
    Claim.status,
    Claim.event_id,
    Claim.calculated_at,
)
_KEY = (Claim.policy_id, Claim.id)


async def list_claims(
    connection: AsyncConnection,
    wanted: ClaimsFilter,
    *,
    limit: int,
    after: tuple[int, int] | None = None,
) -> Page[ListedClaim]:
    """A page of claims by policy and claim; the cursor is a claim's reference."""
    query = _query(wanted).limit(limit + 1)
    if after is not None:
        query = query.where(tuple_(*_KEY) > after)
    rows = [_listed(row) for row in await connection.execute(query)]
    return page_of(rows, limit, lambda claim: claim.reference)


async def stream_claims(
    connection: AsyncConnection, wanted: ClaimsFilter, *, at_once: int
) -> AsyncIterator[list[ListedClaim]]:
    """Every claim by policy and claim, some at a time, all of them as one statement saw them."""
    async with connection.stream(_query(wanted)) as rows:
        async for part in rows.partitions(at_once):
            yield [_listed(row) for row in part]


def _query(wanted: ClaimsFilter) -> Select[*tuple[Any, ...]]:
    return (
        select(*_COLUMNS)
        .join(Policy, Policy.id == Claim.policy_id)
        .join(ProductVersion, ProductVersion.id == Policy.product_version_id)
        .join(RiskEvent, RiskEvent.id == Claim.event_id)
        .where(*_conditions(wanted))
        .order_by(*_KEY)
    )


def _conditions(wanted: ClaimsFilter) -> list[ColumnElement[bool]]:
    equal = (
        (Policy.policy_number, wanted.policy_number),
        (Policy.coverage_region, wanted.region),
        (ProductVersion.code, wanted.product_code),
        (Claim.period_key, wanted.period_key),
        (Claim.tier_level, wanted.tier_level),
        (Claim.status, wanted.status),
    )
    conditions = [column == value for column, value in equal if value is not None]
    if wanted.first_day is not None:
        conditions.append(Claim.event_date >= wanted.first_day)
    if wanted.last_day is not None:
        conditions.append(Claim.event_date <= wanted.last_day)
    return conditions


def _listed(row: Row[*tuple[Any, ...]]) -> ListedClaim:
    return ListedClaim(
        reference=claim_reference(row.policy_id, row.id),
        policy_number=row.policy_number,
        product=row.code,
        product_version=row.version,
        region=row.coverage_region,
        event_date=row.event_date,
        triggered_at=_in_zone(row.triggered_at, row.zone),
        period=row.period_key,
        tier=row.tier_level,
        payout_percentage=Decimal(plain(row.payout_percentage)),
        amount=known_amount(row.exhaustion_minor - row.attachment_minor, row.currency),
        currency=row.currency,
        attachment=known_amount(row.attachment_minor, row.currency),
        exhaustion=known_amount(row.exhaustion_minor, row.currency),
        status=row.status,
        event_id=row.event_id,
        calculated_at=row.calculated_at,
        fault=policy_fault(row.zone, row.currency),
    )


def _in_zone(instant: datetime, zone: str) -> datetime:
    return instant.astimezone(zone_named(zone) if zone in zone_names() else UTC)
