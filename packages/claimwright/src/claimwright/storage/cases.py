"""What one policy's calculation asks of PostgreSQL, on the driver's own connection.

A calculation is a few small statements, and many of them are under way at once: around each
statement the driver alone takes a fifth of the processor time that an ORM's connection takes.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from claimwright.domain.calendar import local_date
from claimwright.domain.errors import NotFoundError, UnusableRecordError
from claimwright.domain.layers import ClaimDraft
from claimwright.domain.terms import ProductTerms
from claimwright.domain.usability import policy_fault
from claimwright.storage.claims import CLAIM_COLUMNS, DRAFT_COLUMNS, Claim, ClaimRow, Provenance
from claimwright.storage.database import Driver
from claimwright.storage.policies import PolicyRow
from claimwright.storage.products import read_terms, terms_fault
from claimwright.storage.risk_events import EVENT_COLUMNS, EventRow

_ONE_DAY: Final = timedelta(days=1)
_POLICY_FIELDS: Final = len(PolicyRow.__dataclass_fields__)
_EVENT: Final = slice(_POLICY_FIELDS + 2, _POLICY_FIELDS + 2 + len(EventRow.__dataclass_fields__))
_LOCK: Final = "SELECT FROM policies WHERE id = $1 FOR NO KEY UPDATE"
_READ: Final = f"""
    SELECT {", ".join(f"p.{name}" for name in PolicyRow.__dataclass_fields__)}, v.terms_sha256,
           e.id AS event_id, {EVENT_COLUMNS},
           ARRAY(SELECT c FROM (
               SELECT {CLAIM_COLUMNS} FROM claims
               WHERE policy_id = p.id AND e.id IS NOT NULL ORDER BY id) c) AS claims
    FROM policies p
    JOIN product_versions v ON v.id = p.product_version_id
    LEFT JOIN risk_events e
        ON e.product_version_id = p.product_version_id AND e.region = p.coverage_region
        AND (e.zone IS NULL OR e.zone = p.zone)
        AND e.triggered_at >= $2 AND e.triggered_at < $3
        AND NOT EXISTS (SELECT FROM event_withdrawals w
                        WHERE w.policy_id = p.id AND w.event_id = e.id)
    WHERE p.id = $1
    ORDER BY e.triggered_at, e.id
    """
_TERMS: Final = "SELECT terms FROM product_versions WHERE id = $1"
_ALL_COLUMNS: Final = ", ".join(column.key for column in Claim.__table__.columns)
_OF_CALCULATION: Final = (
    f"SELECT {_ALL_COLUMNS} FROM claims WHERE policy_id = $1 AND calculation_id = $2 ORDER BY id"
)
_INSERT: Final = f"""
    INSERT INTO claims ({", ".join(DRAFT_COLUMNS)}, terms_sha256, calculation_id, engine_version)
    SELECT {", ".join(DRAFT_COLUMNS)}, $9, $10, $11
    FROM unnest($1::bigint[], $2::bigint[], $3::date[], $4::text[], $5::text[], $6::bigint[],
                $7::bigint[], $8::numeric[])
         WITH ORDINALITY AS n ({", ".join(DRAFT_COLUMNS)}, place)
    ORDER BY place
    RETURNING {_ALL_COLUMNS}
    """
_MOST_TERMS_KNOWN: Final = 4_096
_known_terms: dict[bytes, ProductTerms] = {}


class Case(NamedTuple):
    """What one calculation decides from, all of it read under the policy's row lock."""

    policy: PolicyRow
    terms: ProductTerms
    events: Sequence[EventRow]
    claims: Sequence[ClaimRow]


async def lock_policy(connection: Driver, policy_id: int) -> None:
    """Lock a policy against other writers, by a statement alone.

    It reads nothing on purpose: what this statement could see was fixed before it waited.
    """
    await connection.execute(_LOCK, policy_id)


async def read_case(connection: Driver, policy_id: int, target_date: date) -> Case:
    """The policy, the events of one of its local dates, and all its claims, by plain reads.

    Raises:
        NotFoundError: there is no such policy.
        UnusableRecordError: the rules cannot take it, or its terms.
    """
    # Whatever the zone, and whichever day its midnight belongs to, a local date lies in there.
    midnight = datetime.combine(target_date, time(), UTC)
    rows = await connection.fetch(_READ, policy_id, midnight - _ONE_DAY, midnight + 2 * _ONE_DAY)
    if not rows:
        raise NotFoundError("policy", policy_id)
    policy = PolicyRow(*rows[0][:_POLICY_FIELDS])
    terms = await _terms_of(connection, policy, rows[0]["terms_sha256"])
    events = (EventRow(*row[_EVENT]) for row in rows if row["event_id"] is not None)
    of_date = [
        event
        for event in events
        if local_date(event.triggered_at, policy.zone, terms.day_boundary) == target_date
    ]
    return Case(policy, terms, of_date, [ClaimRow(*row) for row in rows[0]["claims"]])


async def insert_drafts(
    connection: Driver, drafts: Sequence[ClaimDraft], provenance: Provenance
) -> list[Claim]:
    """Store claims by one statement; the database refuses what would pay twice.

    Raises:
        asyncpg.PostgresError: the key's SQLSTATE 23P01 when somebody else's layer came first:
            roll back, read again, decide again.
    """
    if not drafts:
        return []
    columns = ([getattr(draft, name) for draft in drafts] for name in DRAFT_COLUMNS)
    rows = await connection.fetch(
        _INSERT,
        *columns,
        provenance.terms_sha256,
        provenance.calculation_id,
        provenance.engine_version,
    )
    return [Claim.stored(row) for row in rows]


async def claims_of_calculation(
    connection: Driver, policy_id: int, calculation_id: UUID
) -> list[Claim]:
    """What a calculation has stored: the answer to a COMMIT whose reply was lost."""
    rows = await connection.fetch(_OF_CALCULATION, policy_id, calculation_id)
    return [Claim.stored(row) for row in rows]


async def _terms_of(connection: Driver, policy: PolicyRow, terms_sha256: bytes) -> ProductTerms:
    """The terms by their hash: terms never change, and most calculations have the same."""
    fault = policy_fault(policy.zone, policy.currency)
    known = _known_terms.get(terms_sha256)
    if known is None and fault is None:
        canonical_json = await connection.fetchval(_TERMS, policy.product_version_id)
        fault = terms_fault(canonical_json)
    if fault is not None:
        raise UnusableRecordError("policy", f"{policy.policy_number} (id {policy.id})", fault)
    if known is None:
        if len(_known_terms) >= _MOST_TERMS_KNOWN:
            _known_terms.clear()
        known = _known_terms[terms_sha256] = read_terms(canonical_json)
    return known
