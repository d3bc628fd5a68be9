"""Groups: the (terms, region, zone) in which policies are held, and what they have to do."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import ARRAY, BigInteger, ColumnElement, any_, cast, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.domain.calendar import zone_names
from claimwright.domain.errors import NotFoundError
from claimwright.domain.terms import ProductTerms
from claimwright.storage.policies import Policy, PolicyRow
from claimwright.storage.products import ProductVersion, read_terms, terms_fault
from claimwright.storage.risk_events import IndexGroup, RiskEvent

_PAGE = 5_000
_KNOWN = text(
    """
    SELECT EXISTS (SELECT FROM product_versions WHERE code = :code) AS product,
           EXISTS (SELECT FROM policies WHERE coverage_region = :region)
           OR EXISTS (SELECT FROM readings WHERE region = :region) AS region
    """
)


@dataclass(frozen=True, slots=True)
class Group:
    """Policies of the same terms, region and zone: one index for all of them."""

    key: IndexGroup
    terms: ProductTerms

    @property
    def variable(self) -> str:
        """The readings its index is made of."""
        return self.terms.index.variable


@dataclass(frozen=True, slots=True)
class Coverage:
    """On which local days a policy pays."""

    policy_id: int
    first_day: date
    last_day: date
    cancelled_on: date | None


async def groups_of_policies(
    connection: AsyncConnection, *, product_code: str | None = None, region: str | None = None
) -> list[Group]:
    """The groups in which policies are held, of one product or region where named.

    Those that the rules can take; `unusable.find_unusable` names the others.
    """
    query = select(
        Policy.product_version_id, Policy.coverage_region, Policy.zone, ProductVersion.terms
    ).join(ProductVersion, ProductVersion.id == Policy.product_version_id)
    if product_code is not None:
        query = query.where(ProductVersion.code == product_code)
    if region is not None:
        query = query.where(Policy.coverage_region == region)
    rows = await connection.execute(query.distinct().order_by(*query.selected_columns[:3]))
    return [
        Group(
            IndexGroup(row.product_version_id, row.coverage_region, row.zone), read_terms(row.terms)
        )
        for row in rows
        if row.zone in zone_names() and terms_fault(row.terms) is None
    ]


async def require_known(
    connection: AsyncConnection, *, product_code: str | None = None, region: str | None = None
) -> None:
    """See that a product and a region that were named exist: a misspelt name checks nothing.

    A region exists where a policy is held or a reading was taken.

    Raises:
        NotFoundError: one of them does not.
    """
    known = (await connection.execute(_KNOWN, {"code": product_code, "region": region})).one()
    if product_code is not None and not known.product:
        raise NotFoundError("product", product_code)
    if region is not None and not known.region:
        raise NotFoundError("region", region)


async def coverages_of_group(
    connection: AsyncConnection, group: IndexGroup
) -> AsyncIterator[Coverage]:
    """Every policy of a group, in rising order of id, page by page."""
    last_id = -1
    while True:
        rows = await connection.execute(
            select(Policy.id, Policy.first_day, Policy.last_day, Policy.cancelled_on)
            .where(
                Policy.product_version_id == group.product_version_id,
                Policy.coverage_region == group.region,
                Policy.zone == group.zone,
                Policy.id > last_id,
            )
            .order_by(Policy.id)
            .limit(_PAGE)
        )
        page = [Coverage(*row) for row in rows]
        for coverage in page:
            yield coverage
        if len(page) < _PAGE:
            return
        last_id = page[-1].policy_id


async def policies_of_group(
    connection: AsyncConnection, group: IndexGroup, *, page: int
) -> AsyncIterator[list[PolicyRow]]:
    """Every policy of a group in rising order of id, in pages of at most so many."""
    columns = [getattr(Policy, name) for name in PolicyRow.__dataclass_fields__]
    last_id = -1
    while True:
        rows = await connection.execute(
            select(*columns)
            .where(*_held_in(group), Policy.id > last_id)
            .order_by(Policy.id)
            .limit(page)
        )
        policies = [PolicyRow(*row) for row in rows]
        if not policies:
            return
        yield policies
        last_id = policies[-1].id


async def term_of_group(
    connection: AsyncConnection, group: IndexGroup
) -> tuple[int, tuple[date, date]]:
    """How many policies a group has, and the first and last day that any of them covers."""
    row = (
        await connection.execute(
            select(func.count(), func.min(Policy.first_day), func.max(Policy.last_day)).where(
                *_held_in(group)
            )
        )
    ).one()
    return row[0], (row[1], row[2])


async def groups_holding(
    connection: AsyncConnection, policy_ids: Sequence[int]
) -> list[IndexGroup]:
    """The groups that hold these policies."""
    rows = await connection.execute(
        select(Policy.product_version_id, Policy.coverage_region, Policy.zone)
        .where(Policy.id == any_(cast(list(policy_ids), ARRAY(BigInteger))))
        .distinct()
    )
    return [IndexGroup(*row) for row in rows]


async def made_event_dates(
    connection: AsyncConnection, days: tuple[date, date]
) -> dict[IndexGroup, set[date]]:
    """Local dates, from the first to the last, on which events made from readings lie."""
    rows = await connection.execute(
        select(RiskEvent.product_version_id, RiskEvent.region, RiskEvent.zone, RiskEvent.local_date)
        .where(RiskEvent.zone.is_not(None), RiskEvent.local_date.between(*days))
        .distinct()
    )
    dates: dict[IndexGroup, set[date]] = {}
    for row in rows:
        key = IndexGroup(row.product_version_id, row.region, row.zone)
        dates.setdefault(key, set()).add(row.local_date)
    return dates


async def direct_event_instants(
    connection: AsyncConnection, days: tuple[date, date]
) -> dict[tuple[int, str], list[datetime]]:
    """Instants of directly stored events by (terms, region), a day more on either side."""
    starts_at = datetime.combine(days[0], datetime.min.time(), UTC) - timedelta(days=1)
    ends_at = datetime.combine(days[1], datetime.min.time(), UTC) + timedelta(days=2)
    rows = await connection.execute(
        select(RiskEvent.product_version_id, RiskEvent.region, RiskEvent.triggered_at)
        .where(
            RiskEvent.zone.is_(None),
            RiskEvent.triggered_at >= starts_at,
            RiskEvent.triggered_at < ends_at,
        )
        .distinct()
    )
    instants: dict[tuple[int, str], list[datetime]] = {}
    for row in rows:
        instants.setdefault((row.product_version_id, row.region), []).append(row.triggered_at)
    return instants


async def known_instants(connection: AsyncConnection) -> tuple[datetime, datetime] | None:
    """The first and last instant of any reading or event; `None` without any."""
    bounds = (
        await connection.execute(
            text(
                """
                SELECT min(low) AS low, max(high) AS high FROM (
                    SELECT min(observed_at) AS low, max(observed_at) AS high FROM readings
                    UNION ALL
                    SELECT min(triggered_at), max(triggered_at) FROM risk_events) known
                """
            )
        )
    ).one()
    return None if bounds.low is None else (bounds.low, bounds.high)


def _held_in(group: IndexGroup) -> list[ColumnElement[bool]]:
    return [
        Policy.product_version_id == group.product_version_id,
        Policy.coverage_region == group.region,
        Policy.zone == group.zone,
    ]
