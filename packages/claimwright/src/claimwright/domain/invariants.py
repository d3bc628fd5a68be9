"""The engine's promises as functions: each raises `InvariantViolationError` when it is broken.

They take claims from anywhere, so that users can check their own data with them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise

from claimwright.domain.calculator import ClaimCalculator
from claimwright.domain.errors import InvariantViolationError
from claimwright.domain.facts import ClaimFacts, EventFacts, PolicyFacts, covers
from claimwright.domain.lifecycle import is_live
from claimwright.domain.schedule import PayoutSchedule

PeriodOfPolicy = tuple[int, str]


def live_layers(claims: Iterable[ClaimFacts]) -> dict[PeriodOfPolicy, list[ClaimFacts]]:
    """Live claims by (policy, benefit period), each list in order of its layers."""
    periods: dict[PeriodOfPolicy, list[ClaimFacts]] = defaultdict(list)
    for claim in claims:
        if is_live(claim.status):
            periods[claim.policy_id, claim.period_key].append(claim)
    for layers in periods.values():
        layers.sort(key=lambda claim: (claim.attachment_minor, claim.exhaustion_minor))
    return dict(periods)


def verify_no_duplicate_claims(claims: Iterable[ClaimFacts]) -> None:
    """No part of a period's cover is paid by two live claims."""
    for (policy_id, period), layers in live_layers(claims).items():
        for lower, upper in pairwise(layers):
            if upper.attachment_minor < lower.exhaustion_minor:
                raise InvariantViolationError(
                    f"policy {policy_id}, period {period}: the layers {_text(lower)} and "
                    f"{_text(upper)} pay the same money twice"
                )


def verify_contiguous_layers(claims: Iterable[ClaimFacts]) -> None:
    """The live layers of each period follow one another from 0 without gap or overlap."""
    for (policy_id, period), layers in live_layers(claims).items():
        reached_minor = 0
        for claim in layers:
            if claim.attachment_minor != reached_minor:
                raise InvariantViolationError(
                    f"policy {policy_id}, period {period}: the layer {_text(claim)} does not "
                    f"begin at {reached_minor}, where the one below it ends"
                )
            reached_minor = claim.exhaustion_minor


def verify_period_payout_invariant(claims: Iterable[ClaimFacts], policy: PolicyFacts) -> None:
    """No period of the policy pays more than its cover, nor more than 100 per cent of it."""
    for (policy_id, period), layers in live_layers(claims).items():
        if policy_id != policy.id:
            continue
        paid_minor = sum(claim.exhaustion_minor - claim.attachment_minor for claim in layers)
        percent = sum((claim.payout_percentage for claim in layers), Decimal(0))
        if paid_minor > policy.coverage_minor or percent > 100:  # noqa: PLR2004 - per cent
            raise InvariantViolationError(
                f"policy {policy_id}, period {period}: pays {paid_minor} ({percent} %) of a "
                f"cover of {policy.coverage_minor} minor units"
            )


def verify_no_downgrade(
    claims: Iterable[ClaimFacts], payout_rules: Mapping[str, object] | PayoutSchedule
) -> None:
    """No layer lies above what its tier pays: the per cents up to it stay within the tier's.

    So a lower tier pays nothing on top of a higher one, unless the limit had cut the higher one
    short of the lower and a void made room: then the lower tops it up to its own payout.
    """
    schedule = PayoutSchedule.from_rules(payout_rules)
    for (policy_id, period), layers in live_layers(claims).items():
        reached_percent = Decimal(0)
        for claim in layers:
            reached_percent += claim.payout_percentage
            tier_percent = schedule.tier(claim.tier_level).payout_percent
            if reached_percent > tier_percent:
                raise InvariantViolationError(
                    f"policy {policy_id}, period {period}: {claim.tier_level} pays up to "
                    f"{tier_percent} %, its layer {_text(claim)} reaches {reached_percent} %"
                )


def verify_inside_coverage(claims: Iterable[ClaimFacts], policy: PolicyFacts) -> None:
    """Every live claim's event lies on a local day that the policy covers."""
    for claim in claims:
        if claim.policy_id != policy.id or not is_live(claim.status):
            continue
        if not covers(policy, claim.event_date):
            raise InvariantViolationError(
                f"policy {policy.id}: a claim of {claim.event_date} lies outside its cover"
            )


def verify_within_aggregate_limit(claims: Iterable[ClaimFacts], policy: PolicyFacts) -> None:
    """All live claims of the policy together stay within its aggregate limit."""
    paid_minor = sum(
        claim.exhaustion_minor - claim.attachment_minor
        for claim in claims
        if claim.policy_id == policy.id and is_live(claim.status)
    )
    if paid_minor > policy.limit_minor:
        raise InvariantViolationError(
            f"policy {policy.id}: pays {paid_minor}, above its aggregate limit of "
            f"{policy.limit_minor} minor units"
        )


def verify_recomputable(
    claims: Sequence[ClaimFacts],
    events: Sequence[EventFacts],
    policy: PolicyFacts,
    calculator: ClaimCalculator,
) -> None:
    """The same events, calculated afresh, pay the policy the same total."""
    drafts = calculator.calculate(events, policy, [])
    due_minor = sum(draft.amount_minor for draft in drafts)
    paid_minor = sum(
        claim.exhaustion_minor - claim.attachment_minor
        for claim in claims
        if claim.policy_id == policy.id and is_live(claim.status)
    )
    if paid_minor != due_minor:
        raise InvariantViolationError(
            f"policy {policy.id}: pays {paid_minor}, its events are worth {due_minor} minor units"
        )


def _text(claim: ClaimFacts) -> str:
    return f"({claim.attachment_minor}, {claim.exhaustion_minor}]"
