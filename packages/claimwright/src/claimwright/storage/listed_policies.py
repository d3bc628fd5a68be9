"""Policies as people list and import them: by number."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import ARRAY, Row, Text, any_, cast, select
from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.domain.usability import known_amount, policy_fault
from claimwright.storage.pages import Page, page_of
from claimwright.storage.policies import Policy
from claimwright.storage.products import ProductVersion, terms_faults


@dataclass(frozen=True, slots=True)
class ListedPolicy:
    """A policy for people: amounts in units of its currency, days local to its zone.

    ``fault`` says why the rules cannot take it, or its product's terms; `None` where they can.
    Amounts of a currency that they do not know are `None`.
    """

    policy_number: str
    id: int
    product: str
    product_version: int
    region: str
    coverage_minor: int
    coverage_amount: Decimal | None
    aggregate_limit: Decimal | None
    currency: str
    zone: str
    first_day: date
    last_day: date
    cancelled_on: date | None
    fault: str | None


_QUERY = select(
    Policy.policy_number,
    Policy.id,
    Policy.product_version_id,
    ProductVersion.code,
    ProductVersion.version,
    Policy.coverage_region,
    Policy.coverage_minor,
    Policy.limit_minor,
    Policy.currency,
    Policy.zone,
    Policy.first_day,
    Policy.last_day,
    Policy.cancelled_on,
).join(ProductVersion, ProductVersion.id == Policy.product_version_id)


async def list_policies(
    connection: AsyncConnection,
    *,
    product_code: str | None = None,
    region: str | None = None,
    limit: int,
    after_number: str | None = None,
) -> Page[ListedPolicy]:
    """A page of policies by number."""
    query = _QUERY.order_by(Policy.policy_number).limit(limit + 1)
    if product_code is not None:
        query = query.where(ProductVersion.code == product_code)
    if region is not None:
        query = query.where(Policy.coverage_region == region)
    if after_number is not None:
        query = query.where(Policy.policy_number > after_number)
    rows = await _listed(connection, await connection.execute(query))
    return page_of(rows, limit, lambda policy: policy.policy_number)


async def policies_numbered(
    connection: AsyncConnection, numbers: Sequence[str]
) -> dict[str, ListedPolicy]:
    """The stored policies among these numbers, by number."""
    # One array, not one parameter a number: PostgreSQL plans it once.
    wanted = cast(list(numbers), ARRAY(Text))
    rows = await connection.execute(_QUERY.where(Policy.policy_number == any_(wanted)))
    return {policy.policy_number: policy for policy in await _listed(connection, rows)}


async def _listed(
    connection: AsyncConnection, rows: Iterable[Row[*tuple[Any, ...]]]
) -> list[ListedPolicy]:
    found = list(rows)
    faults = await terms_faults(connection, {row.product_version_id for row in found})
    return [_policy(row, faults.get(row.product_version_id)) for row in found]


def _policy(row: Row[*tuple[Any, ...]], product_fault: str | None) -> ListedPolicy:
    return ListedPolicy(
        policy_number=row.policy_number,
        id=row.id,
        product=row.code,
        product_version=row.version,
        region=row.coverage_region,
        coverage_minor=row.coverage_minor,
        coverage_amount=known_amount(row.coverage_minor, row.currency),
        aggregate_limit=known_amount(row.limit_minor, row.currency),
        currency=row.currency,
        zone=row.zone,
        first_day=row.first_day,
        last_day=row.last_day,
        cancelled_on=row.cancelled_on,
        fault=policy_fault(row.zone, row.currency) or product_fault,
    )
