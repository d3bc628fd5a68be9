"""Explain a claim, or why a day or period pays what it pays, to the cent and from the readings.

Everything here is computed again by the pure rules from the facts of a `PolicyFile`; what is
stored is compared with that and a disagreement is said.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Context, Decimal

from claimwright.domain.errors import NotFoundError
from claimwright.domain.explanation_facts import (
    ExplainedClaim,
    ExplainedEvent,
    Explanation,
    PolicyFile,
    ReadingLine,
    Step,
)
from claimwright.domain.explanation_readings import (
    best_index,
    day_lines,
    evidence_lines,
    evidence_points,
    time_text,
)
from claimwright.domain.explanation_reasons import not_paid
from claimwright.domain.facts import covers
from claimwright.domain.index import IndexPoint, Reading
from claimwright.domain.lifecycle import is_live
from claimwright.domain.money import format_money, from_minor, plain
from claimwright.domain.references import claim_reference
from claimwright.domain.schedule import Tier
from claimwright.domain.terms import ProductTerms

_EXACT = Context(prec=100)
_MOST_READINGS_NAMED = 5


def explain_claim(file: PolicyFile, claim_id: int) -> Explanation:
    """Why a claim pays its amount: readings, index, tier, full amount, layer, limit, record.

    Args:
        file: of the claim's benefit period.

    Raises:
        NotFoundError: the file has no such claim, or not its event.
    """
    claim = next((claim for claim in file.claims if claim.id == claim_id), None)
    if claim is None:
        raise NotFoundError("claim", claim_reference(file.policy.id, claim_id))
    event = next((event for event in file.events if event.id == claim.event_id), None)
    if event is None:
        raise NotFoundError("event", claim.event_id)
    readings = [file.evidence[id_] for id_ in event.reading_ids if id_ in file.evidence]
    reference = claim_reference(claim.policy_id, claim.id)
    amount = _money(file, claim.exhaustion_minor - claim.attachment_minor)
    verb = "pays" if is_live(claim.status) else "is void; it paid"
    return _explanation(
        file,
        claim=reference,
        paid_minor=claim.exhaustion_minor - claim.attachment_minor,
        answer=f"Claim {reference} {verb} {amount} for {claim.tier_level} on {claim.event_date}.",
        readings=evidence_lines(file, readings, claim.event_date),
        steps=(
            Step("terms", _terms_sentence(file)),
            Step("index", _index_sentence(file, event, readings, claim.event_date)),
            *_money_steps(file, claim),
            Step("record", _record_sentence(file, claim)),
        ),
        not_paid=not_paid(file, [claim.event_date]),
        known_today=tuple(_known_today(file, event, readings, claim.event_date)),
    )


def explain_period(file: PolicyFile, days: Sequence[date]) -> Explanation:
    """Why some days of a benefit period pay what they pay, and nothing more.

    Args:
        file: of the benefit period.
        days: those asked for, in rising order; readings are shown where it is only one.
    """
    live = [c for c in file.claims if is_live(c.status) and c.period_key == file.period_key]
    paid_minor = sum(claim.exhaustion_minor - claim.attachment_minor for claim in live)
    reasons = not_paid(file, days if len(days) == 1 else sorted(file.days))
    evaluation = file.days.get(days[0]) if len(days) == 1 else None
    return _explanation(
        file,
        claim=None,
        paid_minor=paid_minor,
        answer=_period_answer(file, paid_minor, reasons),
        readings=day_lines(file, evaluation) if evaluation else (),
        steps=(
            Step("terms", _terms_sentence(file)),
            Step("cover", _cover_sentence(file, days)),
            *(Step("index", sentence) for sentence in _day_sentences(file, days)),
            *(Step("claim", _claim_sentence(file, claim)) for claim in live),
            Step("limit", _limit_now_sentence(file)),
        ),
        not_paid=reasons,
        known_today=(),
    )


def _period_answer(file: PolicyFile, paid_minor: int, reasons: Sequence[Step]) -> str:
    """What the period is paid; where it is nothing, with the reason that decides."""
    who = f"Policy {file.policy.policy_number}"
    if paid_minor:
        return f"{who} is paid {_money(file, paid_minor)} for {file.period_key}."
    incomplete = ("missing",) if not file.terms.is_monotone else ()
    for name in ("cover", "event", "readings", *incomplete, "next tier"):
        for reason in reasons:
            if reason.name == name:
                return f"{who} is paid nothing for {file.period_key}. {reason.sentence}"
    return f"{who} is paid nothing for {file.period_key}."


def _explanation(
    file: PolicyFile,
    *,
    claim: str | None,
    paid_minor: int,
    answer: str,
    readings: tuple[ReadingLine, ...],
    steps: tuple[Step, ...],
    not_paid: tuple[Step, ...],
    known_today: tuple[str, ...],
) -> Explanation:
    return Explanation(
        policy_number=file.policy.policy_number,
        product=file.terms.code,
        product_version=file.product_version,
        region=file.policy.coverage_region,
        zone=file.policy.zone,
        currency=file.policy.currency,
        coverage_minor=file.policy.coverage_minor,
        limit_minor=file.policy.limit_minor,
        unit=file.terms.index.unit,
        period_key=file.period_key,
        claim=claim,
        paid_minor=paid_minor,
        answer=answer,
        readings=readings,
        steps=steps,
        not_paid=not_paid,
        known_today=known_today,
    )


def _terms_sentence(file: PolicyFile) -> str:
    terms, index = file.terms, file.terms.index
    window = f" over {index.window_hours} hours" if index.window_hours else ""
    tiers = ", ".join(
        f"{tier.level} {terms.comparison.value} {plain(threshold)} {index.unit} pays "
        f"{plain(tier.payout_percent)} %"
        for tier, threshold in zip(terms.schedule.tiers, terms.thresholds, strict=True)
    )
    return (
        f"{terms.code} version {file.product_version} (SHA-256 {terms.sha256.hex()}): "
        f"{index.kind.value.replace('_', ' ')} of {index.variable}{window} in local days of "
        f"{file.policy.zone}; {tiers}, cumulative, {terms.frequency.value.replace('_', ' ')}."
    )


def _index_sentence(
    file: PolicyFile, event: ExplainedEvent, readings: Sequence[Reading], day: date
) -> str:
    when = time_text(event.triggered_at, file.policy.zone)
    if event.local_date is None:
        note = f" ({event.note})" if event.note else ""
        return f"Event {event.id} was stored as such{note}, for {when}: it has no readings."
    unit = file.terms.index.unit
    stored = plain(event.value) if event.value is not None else "nothing"
    missing = len(event.reading_ids) - len(readings)
    recomputed = _recomputed(file, readings, day)
    given = plain(recomputed) if recomputed is not None else "nothing"
    same = recomputed == event.value
    agrees = "the readings give the same" if same else f"but its readings give {given} {unit}"
    lost = f"; {missing} of its readings are not stored" if missing else ""
    return (
        f"Event {event.id} says that the index of {day} stood at {stored} {unit} at {when}, from "
        f"{len(readings)} reading{'s' * (len(readings) != 1)}; {agrees}{lost}."
    )


def _recomputed(file: PolicyFile, readings: Sequence[Reading], day: date) -> Decimal | None:
    ordered = sorted(readings, key=lambda reading: (reading.observed_at, reading.id))
    points = evidence_points(file, ordered, day)
    if not points:
        return None
    if file.terms.is_monotone:
        return points[-1].index
    return file.terms.index.settled(points, file.terms.comparison)


def _money_steps(file: PolicyFile, claim: ExplainedClaim) -> Iterator[Step]:
    tier = file.terms.schedule.tier(claim.tier_level)
    yield Step("tier", _tier_sentence(file.terms, tier))
    yield Step("full amount", _full_amount_sentence(file, tier))
    below = [
        other
        for other in file.claims
        if other.period_key == claim.period_key
        and other.exhaustion_minor <= claim.attachment_minor
        and (is_live(other.status) or not is_live(claim.status))
    ]
    yield Step("layer", _layer_sentence(file, claim, below))
    yield Step("limit", _limit_sentence(file, claim, tier))
    yield Step("amount", _amount_sentence(file, claim, tier))


def _tier_sentence(terms: ProductTerms, tier: Tier) -> str:
    threshold = plain(terms.thresholds[tier.rank - 1])
    sentence = (
        f"{tier.level} is crossed at {terms.comparison.value} {threshold} {terms.index.unit} and "
        f"takes its benefit period to {plain(tier.payout_percent)} % of the cover"
    )
    if tier.rank == len(terms.thresholds):
        return f"{sentence}; it is the highest."
    following = plain(terms.thresholds[tier.rank])
    return f"{sentence}; the next begins at {following} {terms.index.unit}."


def _full_amount_sentence(file: PolicyFile, tier: Tier) -> str:
    cover = from_minor(file.policy.coverage_minor, file.policy.currency)
    exact = _EXACT.multiply(cover, tier.payout_percent.scaleb(-2))
    full = _money(file, tier.full_minor(file.policy.coverage_minor))
    return (
        f"{_money(file, file.policy.coverage_minor)} x {plain(tier.payout_percent)} % = "
        f"{plain(exact)} {file.policy.currency} exactly, rounded half up to {full}."
    )


def _layer_sentence(
    file: PolicyFile, claim: ExplainedClaim, below: Sequence[ExplainedClaim]
) -> str:
    layer = f"from {_money(file, claim.attachment_minor)} to {_money(file, claim.exhaustion_minor)}"
    if not below:
        return f"Nothing of {claim.period_key} lies below: the claim's layer runs {layer}."
    names = ", ".join(claim_reference(other.policy_id, other.id) for other in below)
    return f"Claims {names} of {claim.period_key} lie below: the claim's layer runs {layer}."


def _limit_sentence(file: PolicyFile, claim: ExplainedClaim, tier: Tier) -> str:
    """The limit around the claim, from the claims that are live now."""
    earlier = [other for other in file.claims if other.id < claim.id]
    used_minor = sum(
        other.exhaustion_minor - other.attachment_minor
        for other in earlier
        if is_live(other.status)
    )
    amount_minor = claim.exhaustion_minor - claim.attachment_minor
    full_minor = tier.full_minor(file.policy.coverage_minor)
    cut = (
        f" It cuts the layer short of {_money(file, full_minor)}."
        if claim.exhaustion_minor < full_minor
        else ""
    )
    void = (
        "; claims that are void by now are not counted"
        if len(earlier) > sum(is_live(other.status) for other in earlier)
        else ""
    )
    return (
        f"The aggregate limit is {_money(file, file.policy.limit_minor)} "
        f"({plain(file.terms.aggregate_limit_percent)} % of the cover): "
        f"{_money(file, used_minor)} were paid before, "
        f"{_money(file, file.policy.limit_minor - used_minor - amount_minor)} are left after"
        f"{void}.{cut}"
    )


def _amount_sentence(file: PolicyFile, claim: ExplainedClaim, tier: Tier) -> str:
    amount_minor = claim.exhaustion_minor - claim.attachment_minor
    uncut = claim.exhaustion_minor == tier.full_minor(file.policy.coverage_minor)
    how = (
        f"what {tier.level} adds to the {plain(tier.payout_percent - claim.payout_percentage)} % "
        "below it"
        if uncut
        else "the amount divided by the cover, rounded down"
    )
    return (
        f"{_money(file, claim.exhaustion_minor)} - {_money(file, claim.attachment_minor)} = "
        f"{_money(file, amount_minor)}, {plain(claim.payout_percentage)} % of the cover: {how}."
    )


def _record_sentence(file: PolicyFile, claim: ExplainedClaim) -> str:
    agrees = (
        "with these terms"
        if claim.terms_sha256 == file.terms.sha256
        else f"with OTHER terms (SHA-256 {claim.terms_sha256.hex()})"
    )
    return (
        f"Calculated {agrees} on {claim.calculated_at:%Y-%m-%d %H:%M:%S} UTC by engine "
        f"{claim.engine_version}, calculation {claim.calculation_id}; its status is {claim.status}."
    )


def _known_today(
    file: PolicyFile, event: ExplainedEvent, readings: Sequence[Reading], day: date
) -> Iterator[str]:
    """How the readings known now differ from those the event was made from."""
    unit, zone = file.terms.index.unit, file.policy.zone
    for reading in readings:
        for value in file.restated.get(reading.id, ()):
            yield (
                f"The reading of {time_text(reading.observed_at, zone)}, {plain(reading.value)} "
                f"{unit}, was restated as {plain(value)} {unit}; a restatement is not applied."
            )
    evaluation = file.days.get(day)
    if evaluation is None or event.local_date is None:
        return
    late = _came_later(evaluation.points, event.triggered_at, readings)
    if late:
        named = ", ".join(
            f"{plain(reading.value)} at {time_text(reading.observed_at, zone)}"
            for reading in late[:_MOST_READINGS_NAMED]
        )
        yield (
            f"Readings of the day up to that instant that became known later: {len(late)} "
            f"({named}); they were not known to this event."
        )
    ranks = {tier.level: tier.rank for tier in file.terms.schedule.tiers}
    if ranks.get(evaluation.highest_tier or "", 0) < ranks[event.tier_level]:
        yield f"All readings known now reach {evaluation.highest_tier or 'no tier'}."


def _came_later(
    points: Sequence[IndexPoint], until: datetime, readings: Sequence[Reading]
) -> list[Reading]:
    known = {reading.id for reading in readings}
    today = [point.reading for point in points]
    return [r for r in today if r.observed_at <= until and r.id not in known]


def _cover_sentence(file: PolicyFile, days: Sequence[date]) -> str:
    policy = file.policy
    ended = f", cancelled on {policy.cancelled_on}" if policy.cancelled_on else ""
    inside = sum(covers(policy, day) for day in days)
    asked = f"{days[0]}" if len(days) == 1 else f"{inside} of the {len(days)} days asked for"
    verb = "lies inside" if inside == len(days) else "lies outside"
    return (
        f"The policy covers {_money(file, policy.coverage_minor)} in {policy.coverage_region} from "
        f"{policy.first_day} to {policy.last_day}{ended}: "
        + (f"{asked} {verb} it." if len(days) == 1 else f"{asked} lie inside it.")
    )


def _day_sentences(file: PolicyFile, days: Sequence[date]) -> Iterator[str]:
    """The index of the day asked for, or of the days that reached a tier."""
    unit = file.terms.index.unit
    for day in days:
        evaluation = file.days.get(day)
        index = best_index(file.terms, evaluation) if evaluation else None
        if evaluation is None or index is None:
            if len(days) == 1:
                yield f"{day} has no index: no believed reading of it is known."
        elif evaluation.highest_tier is not None or len(days) == 1:
            tier = evaluation.highest_tier or "no tier"
            yield f"The index of {day} came to {plain(index)} {unit}: {tier}."


def _claim_sentence(file: PolicyFile, claim: ExplainedClaim) -> str:
    amount = _money(file, claim.exhaustion_minor - claim.attachment_minor)
    return (
        f"Claim {claim_reference(claim.policy_id, claim.id)} pays {amount} for "
        f"{claim.tier_level} on {claim.event_date}, the layer "
        f"from {_money(file, claim.attachment_minor)} to "
        f"{_money(file, claim.exhaustion_minor)}."
    )


def _limit_now_sentence(file: PolicyFile) -> str:
    paid_minor = sum(
        claim.exhaustion_minor - claim.attachment_minor
        for claim in file.claims
        if is_live(claim.status)
    )
    return (
        f"All live claims of the policy add up to {_money(file, paid_minor)} of its aggregate "
        f"limit of {_money(file, file.policy.limit_minor)}."
    )


def _money(file: PolicyFile, amount_minor: int) -> str:
    return format_money(amount_minor, file.policy.currency)
