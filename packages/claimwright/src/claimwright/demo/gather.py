"""From what the operations stored to what the demo says, all of it read in one snapshot."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.demo.facts import (
    Crossing,
    DayFacts,
    HourFacts,
    StationFacts,
    TierFacts,
    Unbelieved,
)
from claimwright.demo.portfolio import FIRST_DAY, LAST_DAY, ZONE
from claimwright.domain.calendar import days_between, zone_named
from claimwright.domain.errors import InvariantViolationError
from claimwright.domain.facts import ClaimFacts
from claimwright.domain.invariants import (
    live_layers,
    verify_contiguous_layers,
    verify_inside_coverage,
    verify_no_downgrade,
    verify_no_duplicate_claims,
    verify_period_payout_invariant,
    verify_within_aggregate_limit,
)
from claimwright.domain.triggers import DayEvaluation
from claimwright.operations.evaluate import read_evaluations
from claimwright.runtime import Runtime
from claimwright.storage.claims import ClaimRecord, claim_records
from claimwright.storage.database import snapshot
from claimwright.storage.groups import Group, groups_of_policies, policies_of_group
from claimwright.storage.listed_readings import ReadingsFilter, list_quarantined
from claimwright.storage.policies import PolicyRow
from claimwright.storage.risk_events import events_of_group

_PAGE = 1_000
_MOST_QUARANTINED = 100


@dataclass(slots=True)
class Found:
    """What is stored, counted."""

    stations: list[StationFacts] = field(default_factory=list)
    tiers: list[TierFacts] = field(default_factory=list)
    quarantined: list[Unbelieved] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    limited: int = 0


@dataclass(slots=True)
class PaidClaims:
    """Live claims, counted by local date and by tier.

    A claim is a duplicate when its benefit period breaks `verify_no_duplicate_claims`.
    """

    claims_on: Counter[date] = field(default_factory=Counter)
    paid_on_minor: Counter[date] = field(default_factory=Counter)
    claims_of: Counter[str] = field(default_factory=Counter)
    paid_of_minor: Counter[str] = field(default_factory=Counter)
    duplicates_of: Counter[str] = field(default_factory=Counter)

    def add(self, claims: Iterable[ClaimFacts]) -> None:
        """Count the claims of one policy."""
        for layers in live_layers(claims).values():
            pays_twice = _broken(partial(verify_no_duplicate_claims, layers)) is not None
            for claim in layers:
                amount_minor = claim.exhaustion_minor - claim.attachment_minor
                self.claims_on[claim.event_date] += 1
                self.paid_on_minor[claim.event_date] += amount_minor
                self.claims_of[claim.tier_level] += 1
                self.paid_of_minor[claim.tier_level] += amount_minor
                self.duplicates_of[claim.tier_level] += pays_twice


async def gather(runtime: Runtime) -> Found:
    """Count claims by station, tier and day, and hold them against every invariant."""
    found = Found()
    async with (
        runtime.sessions() as session,
        snapshot(session, statement_minutes=1) as connection,
    ):
        for group in await groups_of_policies(connection):
            await _add_group(connection, group, found)
        page = await list_quarantined(
            connection, ReadingsFilter(), limit=_MOST_QUARANTINED, after_id=None
        )
    found.quarantined += [
        Unbelieved(
            region=reading.region,
            variable=reading.variable,
            observed_at=reading.observed_at.astimezone(zone_named(ZONE)),
            value=reading.value,
            product=reading.product,
            reason=reading.reason,
        )
        for reading in page.items
    ]
    return found


async def _add_group(connection: AsyncConnection, group: Group, found: Found) -> None:
    paid = PaidClaims()
    async for policies in policies_of_group(connection, group.key, page=_PAGE):
        claims: dict[int, list[ClaimRecord]] = defaultdict(list)
        for claim in await claim_records(connection, [policy.id for policy in policies]):
            claims[claim.policy_id].append(claim)
        for policy in policies:
            of_policy = claims.get(policy.id, [])
            paid.add(of_policy)
            found.violations += _violations(group, policy, of_policy)
            found.limited += _is_limited(policy, of_policy)
    events = Counter(event.tier_level for event in await events_of_group(connection, group.key))
    evaluations = await read_evaluations(connection, group, days_between(FIRST_DAY, LAST_DAY))
    found.tiers += _tiers(group, events, paid)
    found.stations.append(_station(group, evaluations, paid))


def _violations(group: Group, policy: PolicyRow, claims: Sequence[ClaimRecord]) -> list[str]:
    """What the claims of one policy break, as sentences."""
    checks: list[Callable[[], None]] = [
        lambda: verify_no_duplicate_claims(claims),
        lambda: verify_contiguous_layers(claims),
        lambda: verify_period_payout_invariant(claims, policy),
        lambda: verify_no_downgrade(claims, group.terms.schedule),
        lambda: verify_inside_coverage(claims, policy),
        lambda: verify_within_aggregate_limit(claims, policy),
    ]
    return [sentence for check in checks if (sentence := _broken(check)) is not None]


def _broken(check: Callable[[], None]) -> str | None:
    try:
        check()
    except InvariantViolationError as error:
        return str(error)
    return None


def _is_limited(policy: PolicyRow, claims: Sequence[ClaimRecord]) -> bool:
    """Whether the policy has paid all that its aggregate limit allows."""
    paid_minor = sum(claim.exhaustion_minor - claim.attachment_minor for claim in claims)
    return paid_minor == policy.limit_minor


def _tiers(group: Group, events: Counter[str], paid: PaidClaims) -> list[TierFacts]:
    terms = group.terms
    return [
        TierFacts(
            product=terms.code,
            region=group.key.region,
            tier=tier.level,
            threshold=threshold,
            unit=terms.index.unit,
            payout_percent=tier.payout_percent,
            events=events[tier.level],
            claims=paid.claims_of[tier.level],
            paid_minor=paid.paid_of_minor[tier.level],
            duplicates=paid.duplicates_of[tier.level],
        )
        for tier, threshold in zip(terms.schedule.tiers, terms.thresholds, strict=True)
    ]


def _station(group: Group, evaluations: Sequence[DayEvaluation], paid: PaidClaims) -> StationFacts:
    terms = group.terms
    return StationFacts(
        product=terms.code,
        region=group.key.region,
        unit=terms.index.unit,
        thresholds=[
            (tier.level, threshold, tier.payout_percent)
            for tier, threshold in zip(terms.schedule.tiers, terms.thresholds, strict=True)
        ],
        days=[_day(evaluation, group.key.zone, paid) for evaluation in evaluations],
    )


def _day(evaluation: DayEvaluation, zone: str, paid: PaidClaims) -> DayFacts:
    local = zone_named(zone)
    points = evaluation.points
    return DayFacts(
        day=evaluation.day,
        index=points[-1].index if points else None,
        hours=[
            HourFacts(point.reading.observed_at.astimezone(local), point.reading.value, point.index)
            for point in points
        ],
        crossings=[
            Crossing(trigger.tier_level, trigger.triggered_at.astimezone(local), trigger.index)
            for trigger in evaluation.triggers
        ],
        claims=paid.claims_on[evaluation.day],
        paid_minor=paid.paid_on_minor[evaluation.day],
    )
