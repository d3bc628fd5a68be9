"""Groups: the (terms, region, zone) in which policies are held, and what they have to do."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.domain.calendar import zone_names
from claimwright.domain.errors import NotFoundError
from claimwright.domain.terms import ProductTerms
from claimwright.storage.policies import Policy, PolicyRow
from claimwright.storage.products import ProductVersion, read_terms, terms_fault
from claimwright.storage.risk_events import IndexGroup, RiskEvent

_KNOWN = text(
    """
    SELECT EXISTS (SELECT FROM product_versions WHERE code = :code) AS product,
           EXISTS (SELECT FROM policies WHERE coverage_region = :region)
           OR EXISTS (SELECT FROM readings WHERE region = :region) AS region
    """
)
_WITH_TERMS = """
    SELECT h.product_version_id, h.coverage_region, h.zone, v.code, v.variable, v.terms
    FROM held h JOIN product_versions v ON v.id = h.product_version_id
    WHERE CAST(:product_code AS text) IS NULL OR v.code = :product_code
    ORDER BY 1, 2, 3
    """
_HELD = text(
    f"""
    WITH RECURSIVE held AS (
        (SELECT product_version_id, coverage_region, zone FROM policies
         ORDER BY product_version_id, coverage_region, zone LIMIT 1)
        UNION ALL
        SELECT n.* FROM held h CROSS JOIN LATERAL (
            SELECT p.product_version_id, p.coverage_region, p.zone FROM policies p
            WHERE (p.product_version_id, p.coverage_region, p.zone)
                  > (h.product_version_id, h.coverage_region, h.zone)
            ORDER BY p.product_version_id, p.coverage_region, p.zone LIMIT 1) n)
    {_WITH_TERMS}
    """
)
_HELD_IN = text(
    f"""
    WITH RECURSIVE leaps AS (
        SELECT v.id AS product_version_id,
               (SELECT p.zone FROM policies p
                WHERE p.product_version_id = v.id AND p.coverage_region = :region
                ORDER BY p.product_version_id, p.coverage_region, p.zone LIMIT 1) AS zone
        FROM product_versions v
        UNION ALL
        SELECT l.product_version_id,
               (SELECT p.zone FROM policies p
                WHERE p.product_version_id = l.product_version_id AND p.coverage_region = :region
                  AND p.zone > l.zone
                ORDER BY p.product_version_id, p.coverage_region, p.zone LIMIT 1)
        FROM leaps l WHERE l.zone IS NOT NULL),
    held AS (
        SELECT product_version_id, CAST(:region AS text) AS coverage_region, zone
        FROM leaps WHERE zone IS NOT NULL)
    {_WITH_TERMS}
    """
)
_EVALUATED = text(
    """
    SELECT product_version_id, region, zone, first_day, last_day FROM evaluated_groups
    WHERE (product_version_id, region, zone) IN (
        SELECT * FROM unnest(CAST(:versions AS bigint[]), CAST(:regions AS text[]),
                             CAST(:zones AS text[])))
    """
)
_EVALUATED_NOW = text(
    """
    INSERT INTO evaluated_groups AS e (product_version_id, region, zone, first_day, last_day)
    VALUES (:product_version_id, :region, :zone, :first_day, :last_day)
    ON CONFLICT (product_version_id, region, zone) DO UPDATE SET
        first_day = least(e.first_day, EXCLUDED.first_day),
        last_day = greatest(e.last_day, EXCLUDED.last_day)
    """
)
_TERMS = text(
    """
    SELECT id, product_version_id, coverage_region, zone, first_day, last_day FROM policies
    WHERE id = ANY(:ids) ORDER BY product_version_id, coverage_region, zone, id
    """
)
_READ_INSTANTS = text(
    """
    SELECT min(observed_at) AS low, max(observed_at) AS high FROM readings
    WHERE region = :region AND variable = :variable AND restates_id IS NULL
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


class PolicyTerm(NamedTuple):
    """A policy, its group, and its first and last day."""

    policy_id: int
    group: IndexGroup
    first_day: date
    last_day: date


@dataclass(frozen=True, slots=True)
class HeldGroup:
    """A group in which policies are held, its terms as they are stored: usable or not."""

    key: IndexGroup
    product: str
    variable: str
    canonical_terms: str

    @property
    def fault(self) -> str | None:
        """Why the rules cannot take it; `None` where they can."""
        if self.key.zone not in zone_names():
            return f"{self.key.zone!r} is not an IANA time zone"
        return terms_fault(self.canonical_terms)

    def usable(self) -> Group:
        """The group with its terms.

        Raises:
            InvalidTermsError: the rules cannot take them.
        """
        return Group(self.key, read_terms(self.canonical_terms))


async def groups_of_policies(
    connection: AsyncConnection, *, product_code: str | None = None, region: str | None = None
) -> list[Group]:
    """The groups in which policies are held, of one product or region where named.

    Those that the rules can take; `unusable.find_unusable` names the others.
    """
    held = await held_groups(connection, product_code=product_code, region=region)
    return [group.usable() for group in held if group.fault is None]


async def held_groups(
    connection: AsyncConnection, *, product_code: str | None = None, region: str | None = None
) -> list[HeldGroup]:
    """Every group in which policies are held, found by leaps through the index on groups."""
    rows = await connection.execute(
        _HELD if region is None else _HELD_IN, {"product_code": product_code, "region": region}
    )
    return [HeldGroup(IndexGroup(*row[:3]), *row[3:]) for row in rows]


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


async def evaluated_days(
    connection: AsyncConnection, groups: Sequence[IndexGroup]
) -> dict[IndexGroup, tuple[date, date]]:
    """The first and last local date for which groups have been evaluated; new ones are missing."""
    rows = await connection.execute(
        _EVALUATED,
        {
            "versions": [group.product_version_id for group in groups],
            "regions": [group.region for group in groups],
            "zones": [group.zone for group in groups],
        },
    )
    return {IndexGroup(*row[:3]): (row[3], row[4]) for row in rows}


async def note_evaluated(
    connection: AsyncConnection, group: IndexGroup, days: tuple[date, date]
) -> None:
    """Keep that a group has been evaluated for these dates, which adjoin those it was before."""
    await connection.execute(
        _EVALUATED_NOW, {**asdict(group), "first_day": days[0], "last_day": days[1]}
    )


async def terms_of_policies(
    connection: AsyncConnection, policy_ids: Sequence[int]
) -> list[PolicyTerm]:
    """The groups and terms of these policies, in order of group and id."""
    rows = await connection.execute(_TERMS, {"ids": list(policy_ids)})
    return [PolicyTerm(row[0], IndexGroup(*row[1:4]), row[4], row[5]) for row in rows]


async def versions_of_product(connection: AsyncConnection, code: str) -> frozenset[int]:
    """The ids of a product's versions."""
    rows = await connection.scalars(select(ProductVersion.id).where(ProductVersion.code == code))
    return frozenset(rows)


async def direct_event_instants(
    connection: AsyncConnection,
    product_version_id: int,
    region: str,
    span: tuple[datetime, datetime],
) -> list[datetime]:
    """When events lie that were stored as such, from the start of a span to before its end."""
    rows = await connection.scalars(
        select(RiskEvent.triggered_at)
        .where(
            RiskEvent.product_version_id == product_version_id,
            RiskEvent.region == region,
            RiskEvent.zone.is_(None),
            RiskEvent.triggered_at >= span[0],
            RiskEvent.triggered_at < span[1],
        )
        .distinct()
    )
    return list(rows)


async def instants_read(
    connection: AsyncConnection, region: str, variable: str
) -> tuple[datetime, datetime] | None:
    """The first and last instant of a region's readings of a variable; `None` without any."""
    bounds = (
        await connection.execute(_READ_INSTANTS, {"region": region, "variable": variable})
    ).one()
    return None if bounds.low is None else (bounds.low, bounds.high)


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
