"""What many policies are and what they have been paid so far, read set-based under their locks."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import chain, islice
from typing import Final, NamedTuple
from uuid import UUID

from claimwright.storage.claims import DRAFT_COLUMNS
from claimwright.storage.database import Driver
from claimwright.storage.risk_events import EVENT_COLUMNS, EventRow, IndexGroup

#: What is copied of each claim.
CLAIM_COLUMNS: Final = (*DRAFT_COLUMNS, "terms_sha256", "calculation_id", "engine_version")
# A statement of this many rows with its guards stays well below its time-out.
_MOST_ROWS_COPIED: Final = 20_000
_FIGURES: Final = """
    SELECT p.id, p.coverage_minor, p.limit_minor, p.first_day, p.last_day, p.cancelled_on,
           p.currency, coalesce(a.paid_minor, 0)
    FROM policies p LEFT JOIN policy_accounts a ON a.policy_id = p.id
    WHERE p.id = ANY($1::bigint[]) ORDER BY p.id
    """
_GROUPS: Final = """
    SELECT p.product_version_id, p.coverage_region, p.zone, v.terms,
           array_agg(p.id ORDER BY p.id) AS ids,
           min(p.first_day) AS first_day, max(p.last_day) AS last_day
    FROM policies p JOIN product_versions v ON v.id = p.product_version_id
    WHERE p.id = ANY($1::bigint[])
    GROUP BY p.product_version_id, p.coverage_region, p.zone, v.terms ORDER BY 1, 2, 3
    """
_PERIODS: Final = """
    SELECT policy_id, period_key, max(exhaustion_minor), sum(payout_percentage)
    FROM claims
    WHERE policy_id = ANY($1::bigint[]) AND period_key = ANY($2::text[]) AND status <> 'void'
    GROUP BY policy_id, period_key ORDER BY policy_id, period_key
    """
_EVENTS: Final = f"""
    SELECT g.place, {EVENT_COLUMNS}
    FROM unnest($1::bigint[], $2::text[], $3::text[])
         WITH ORDINALITY AS g (product_version_id, region, zone, place)
    CROSS JOIN LATERAL (
        SELECT * FROM risk_events e
        WHERE e.product_version_id = g.product_version_id AND e.region = g.region
          AND (e.zone IS NULL OR e.zone = g.zone)
          AND e.triggered_at >= $4 AND e.triggered_at < $5) e
    ORDER BY e.triggered_at, e.id
    """
_DATES: Final = """
    SELECT g.place, count(DISTINCT coalesce(e.local_date, e.triggered_at::date))
    FROM unnest($1::bigint[], $2::text[], $3::text[])
         WITH ORDINALITY AS g (product_version_id, region, zone, place)
    JOIN risk_events e ON e.product_version_id = g.product_version_id AND e.region = g.region
    WHERE (e.zone IS NULL OR e.zone = g.zone) AND e.triggered_at >= $4 AND e.triggered_at < $5
    GROUP BY g.place
    """
_WITHDRAWALS: Final = """
    SELECT policy_id, event_id FROM event_withdrawals WHERE policy_id = ANY($1::bigint[])
    """
_OF_CALCULATION: Final = """
    SELECT EXISTS (SELECT FROM claims WHERE policy_id = $1 AND calculation_id = $2)
    """
_LOCK: Final = "SELECT id FROM policies WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE"
_LOCK_FREE: Final = f"{_LOCK} SKIP LOCKED"


class Figures(NamedTuple):
    """What decides of one policy, beside its group; amounts in minor units.

    Attributes:
        paid_minor: what its live claims add up to over its term, as the guard has it on record.
    """

    id: int
    coverage_minor: int
    limit_minor: int
    first_day: date
    last_day: date
    cancelled_on: date | None
    currency: str
    paid_minor: int


class PeriodStanding(NamedTuple):
    """How far a policy's live claims have taken one benefit period."""

    period_key: str
    exhaustion_minor: int
    percentage: Decimal


class GroupMembers(NamedTuple):
    """Some policies of one group, by rising id, and the hull of their terms."""

    group: IndexGroup
    canonical_terms: str
    ids: list[int]
    first_day: date
    last_day: date


async def lock_many(connection: Driver, ids: Iterable[int], *, give_way: bool = False) -> list[int]:
    """Lock policies against other writers, in rising order of id, by a statement alone.

    Args:
        connection: the caller's transaction.
        ids: of the policies.
        give_way: leave out those that somebody else has locked, instead of waiting.

    Returns:
        The ids of those that are locked.
    """
    rows = await connection.fetch(_LOCK_FREE if give_way else _LOCK, sorted(set(ids)))
    return [row[0] for row in rows]


async def members_of_groups(connection: Driver, ids: Sequence[int]) -> list[GroupMembers]:
    """The groups that hold these policies, each with those it holds."""
    rows = await connection.fetch(_GROUPS, list(ids))
    return [GroupMembers(IndexGroup(*list(row)[:3]), *list(row)[3:]) for row in rows]


async def figures_of(connection: Driver, ids: Sequence[int]) -> list[Figures]:
    """The policies as they are now, by rising id."""
    return [Figures(*row) for row in await connection.fetch(_FIGURES, ids)]


async def standings_of(
    connection: Driver, ids: Sequence[int], periods: Sequence[str]
) -> Mapping[int, Sequence[PeriodStanding]]:
    """By policy, how far its live claims have taken these periods; those untouched are missing."""
    standings: dict[int, list[PeriodStanding]] = {}
    for policy_id, *standing in await connection.fetch(_PERIODS, ids, periods) if ids else ():
        standings.setdefault(policy_id, []).append(PeriodStanding(*standing))
    return standings


async def events_between(
    connection: Driver, groups: Sequence[IndexGroup], starts_at: datetime, ends_at: datetime
) -> dict[IndexGroup, list[EventRow]]:
    """By group, the events that can concern its policies, in order of (timestamp, id)."""
    events: dict[IndexGroup, list[EventRow]] = {group: [] for group in groups}
    for place, *event in await connection.fetch(_EVENTS, *_columns(groups), starts_at, ends_at):
        events[groups[place - 1]].append(EventRow(*event))
    return events


async def event_dates(
    connection: Driver, groups: Sequence[IndexGroup], starts_at: datetime, ends_at: datetime
) -> dict[IndexGroup, int]:
    """By group, on how many dates events lie that can concern its policies; none are missing."""
    rows = await connection.fetch(_DATES, *_columns(groups), starts_at, ends_at)
    return {groups[place - 1]: dates for place, dates in rows}


async def withdrawn_from(connection: Driver, ids: Sequence[int]) -> Mapping[int, frozenset[int]]:
    """By policy, the events that no longer pay it."""
    withdrawn: dict[int, set[int]] = {}
    for policy_id, event_id in await connection.fetch(_WITHDRAWALS, ids):
        withdrawn.setdefault(policy_id, set()).add(event_id)
    return {policy_id: frozenset(events) for policy_id, events in withdrawn.items()}


async def copy_claims(connection: Driver, rows: Iterable[tuple[object, ...]]) -> int | None:
    """Store claims by binary COPY; the guards see them as they see any insert.

    Args:
        connection: the caller's transaction.
        rows: `CLAIM_COLUMNS` of each; those of one policy in the order they follow one another.
            They are asked for while PostgreSQL takes in those before.

    Returns:
        The policy of the first one; `None` where there is none.

    Raises:
        asyncpg.PostgresError: the key's SQLSTATE 23P01 when somebody else's layer came first.
    """
    rest = iter(rows)
    first_policy_id: int | None = None
    for row in rest:
        if first_policy_id is None:
            first_policy_id = int(str(row[0]))
        await connection.copy_records_to_table(
            "claims",
            columns=CLAIM_COLUMNS,
            records=chain([row], islice(rest, _MOST_ROWS_COPIED - 1)),
        )
    return first_policy_id


async def holds_claims_of(
    connection: Driver, policy_id: int | None, calculation_id: UUID | None
) -> bool:
    """Whether a calculation has stored claims of a policy."""
    return bool(await connection.fetchval(_OF_CALCULATION, policy_id, calculation_id))


def _columns(groups: Sequence[IndexGroup]) -> tuple[list[int], list[str], list[str]]:
    return (
        [group.product_version_id for group in groups],
        [group.region for group in groups],
        [group.zone for group in groups],
    )
