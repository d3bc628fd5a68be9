"""Unusable records: stored policies and products that the rules cannot take.

The database refuses what it can see (see the migration). What it cannot see, what a later version
of the rules no longer knows, and what was stored past the guards can never be removed; it is named
here, left out of what is calculated, and stops nobody else.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.domain.calendar import zone_names
from claimwright.domain.errors import ClaimwrightError
from claimwright.domain.usability import policy_fault
from claimwright.storage.policies import Policy
from claimwright.storage.products import ProductVersion, terms_fault
from claimwright.storage.risk_events import IndexGroup

#: What the rules raise at a row that no guard let in. Such a row fails its own group alone.
ROW_FAULTS: Final = (ClaimwrightError, ArithmeticError, ValueError)


@dataclass(frozen=True, slots=True)
class UnusableRecord:
    """A stored policy or product that the rules cannot take, and why.

    Attributes:
        noun: ``policy``, ``product``, or ``group`` where a row was stored past the guards.
        id: the policy's, or the product version's.
        name: the policy's number, the product's code and version, or a group's terms and place.
        product: the product's code.
        region: `None`, as ``zone``, for a product, which has no place.
        policies: how many policies are not calculated because of it, where that was counted.
    """

    noun: str
    id: int
    name: str
    fault: str
    product: str
    region: str | None = None
    zone: str | None = None
    policies: int | None = None

    def __str__(self) -> str:
        return f"{self.noun} {self.name} (id {self.id}) cannot be used: {self.fault}"


@dataclass(frozen=True, slots=True)
class UnusableGroup:
    """A group with a policy that is not calculated; what it was asked for stays asked for.

    Attributes:
        variable: the readings its index is made of.
        is_whole: whether none of it is evaluated, because of its terms or its zone.
    """

    key: IndexGroup
    variable: str
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Unusable:
    """What is unusable, of everything or of a product or region."""

    records: Sequence[UnusableRecord]
    groups: Sequence[UnusableGroup]

    @property
    def whole_groups(self) -> list[UnusableGroup]:
        """Groups of which nothing is evaluated."""
        return [group for group in self.groups if group.is_whole]

    @property
    def policy_ids(self) -> frozenset[int]:
        """Policies that are unusable by themselves, whatever their terms."""
        return frozenset(record.id for record in self.records if record.noun == "policy")


def fault_of(error: Exception) -> str:
    """What one of `ROW_FAULTS` says; the words of those that are not ours need their kind."""
    return str(error) if isinstance(error, ClaimwrightError) else f"{type(error).__name__}: {error}"


_KEY = (ProductVersion.id, Policy.coverage_region, Policy.zone, Policy.currency)
_HELD = (
    select(
        *_KEY,
        ProductVersion.code,
        ProductVersion.version,
        ProductVersion.terms,
        ProductVersion.variable,
        func.count().label("policies"),
    )
    .join(ProductVersion, ProductVersion.id == Policy.product_version_id)
    .group_by(*_KEY)
    .order_by(*_KEY)
)
_POLICIES = (
    select(
        Policy.id,
        Policy.policy_number,
        Policy.product_version_id,
        Policy.coverage_region,
        Policy.zone,
        Policy.currency,
        ProductVersion.code,
    )
    .join(ProductVersion, ProductVersion.id == Policy.product_version_id)
    .order_by(Policy.id)
)


async def find_unusable(
    connection: AsyncConnection, *, product_code: str | None = None, region: str | None = None
) -> Unusable:
    """The products that policies are bound to, and the policies, that the rules cannot take.

    A policy of an unusable product is not named beside it.
    """
    held = list(await connection.execute(_of(_HELD, product_code, region)))
    faults = {row.id: fault for row in held if (fault := terms_fault(row.terms))}
    misnamed = [row for row in held if policy_fault(row.zone, row.currency)]
    records = list(_products(held, faults))
    if misnamed:
        query = _POLICIES.where(
            or_(
                Policy.zone.in_({row.zone for row in misnamed}),
                Policy.currency.in_({row.currency for row in misnamed}),
            )
        )
        rows = await connection.execute(_of(query, product_code, region))
        records += _policies([row for row in rows if row.product_version_id not in faults])
    wrong = [
        row for row in held if row.id in faults or policy_fault(row.zone, row.currency) is not None
    ]
    return Unusable(tuple(records), tuple(_group(row, faults) for row in wrong))


def _of(
    query: Select[*tuple[Any, ...]], product_code: str | None, region: str | None
) -> Select[*tuple[Any, ...]]:
    if product_code is not None:
        query = query.where(ProductVersion.code == product_code)
    if region is not None:
        query = query.where(Policy.coverage_region == region)
    return query


def _products(
    held: Sequence[Row[*tuple[Any, ...]]], faults: Mapping[int, str]
) -> Iterator[UnusableRecord]:
    for version_id, fault in faults.items():
        rows = [row for row in held if row.id == version_id]
        name = f"{rows[0].code} version {rows[0].version}"
        count = sum(row.policies for row in rows)
        yield UnusableRecord(
            "product", version_id, name, fault, product=rows[0].code, policies=count
        )


def _policies(rows: Sequence[Row[*tuple[Any, ...]]]) -> Iterator[UnusableRecord]:
    for row in rows:
        if fault := policy_fault(row.zone, row.currency):
            place = (row.code, row.coverage_region, row.zone)
            yield UnusableRecord("policy", row.id, row.policy_number, fault, *place, policies=1)


def _group(row: Row[*tuple[Any, ...]], faults: Mapping[int, str]) -> UnusableGroup:
    is_whole = row.id in faults or row.zone not in zone_names()
    key = IndexGroup(row.id, row.coverage_region, row.zone)
    return UnusableGroup(key, row.variable, is_whole=is_whole)
