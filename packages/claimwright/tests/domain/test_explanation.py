"""An explanation follows from plain facts: no database, every step to the cent."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from claimwright.domain.errors import NotFoundError
from claimwright.domain.explanation import explain_claim, explain_period
from claimwright.domain.explanation_facts import Explanation, PolicyFile, Step
from claimwright.domain.index import Comparison, IndexKind, Reading
from claimwright.domain.periods import PayoutFrequency
from claimwright.domain.terms import ProductTerms
from claimwright.domain.triggers import DayEvaluator

from .builders import index_of, terms_of

DAY = date(2025, 6, 7)
NOON = datetime(2025, 6, 7, 12, tzinfo=UTC)
ZONE = "America/New_York"
CALCULATION = UUID(int=1)


@dataclass(frozen=True, slots=True)
class Policy:
    id: int = 7
    policy_number: str = "P-7"
    product_version_id: int = 1
    coverage_region: str = "JFK"
    coverage_minor: int = 10_003
    limit_minor: int = 10_003
    currency: str = "USD"
    zone: str = ZONE
    first_day: date = date(2025, 1, 1)
    last_day: date = date(2025, 12, 31)
    cancelled_on: date | None = None


@dataclass(frozen=True, slots=True)
class Event:
    id: int
    tier_level: str
    triggered_at: datetime
    value: Decimal | None = None
    reading_ids: Sequence[int] = ()
    product_version_id: int = 1
    region: str = "JFK"
    zone: str | None = ZONE
    local_date: date | None = DAY
    note: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    policy_id: int
    id: int
    event_id: int
    event_date: date
    period_key: str
    tier_level: str
    attachment_minor: int
    exhaustion_minor: int
    payout_percentage: Decimal
    terms_sha256: bytes
    status: str = "calculated"
    calculation_id: UUID = CALCULATION
    engine_version: str = "0.1.0"
    calculated_at: datetime = NOON

    @property
    def amount_minor(self) -> int:
        return self.exhaustion_minor - self.attachment_minor


@dataclass(frozen=True, slots=True)
class Withdrawal:
    event_id: int
    reason: str = "the gauge was broken"
    actor: str = "an auditor"
    withdrawn_at: datetime = NOON


@dataclass(frozen=True, slots=True)
class Facts:
    """Readings of one morning; from them events, and from these the claims, by the rules."""

    values: Sequence[str] = ()
    terms: ProductTerms = field(default_factory=terms_of)
    policy: Policy = field(default_factory=Policy)

    @property
    def readings(self) -> list[Reading]:
        return [
            Reading(number, NOON + timedelta(hours=number - 1), Decimal(value))
            for number, value in enumerate(self.values, start=1)
        ]

    def file(self, *more_events: Event) -> PolicyFile:
        evaluation = DayEvaluator(self.terms, ZONE, self.readings).evaluate(DAY)
        made = [
            Event(number, found.tier_level, found.triggered_at, found.index, found.reading_ids)
            for number, found in enumerate(evaluation.triggers, start=1)
        ]
        drafts = self.terms.calculator.calculate([*made, *more_events], self.policy, [])
        claims = [
            Claim(
                draft.policy_id,
                number,
                draft.event_id,
                draft.event_date,
                draft.period_key,
                draft.tier_level,
                draft.attachment_minor,
                draft.exhaustion_minor,
                draft.payout_percentage,
                self.terms.sha256,
            )
            for number, draft in enumerate(drafts, start=1)
        ]
        return PolicyFile(
            policy=self.policy,
            terms=self.terms,
            product_version=3,
            period_key="2025-06-07",
            claims=claims,
            events=[*made, *more_events],
            days={DAY: evaluation} if evaluation.points or evaluation.implausible else {},
            evidence={reading.id: reading for reading in self.readings},
        )


def sentence_of(steps: Sequence[Step], name: str) -> str:
    return next(step.sentence for step in steps if step.name == name)


def not_paid(explanation: Explanation, name: str) -> str:
    return sentence_of(explanation.not_paid, name)


def test_a_claim_is_explained_from_its_readings_to_the_cent() -> None:
    found = explain_claim(Facts(["0.5", "0.6", "1.0"]).file(), 2)
    assert found.answer == "Claim 7-2 pays 20.00 USD for tier2 on 2025-06-07."
    step = {step.name: step.sentence for step in found.steps}
    assert "stood at 2.1 in at 2025-06-07 10:00-04:00 (14:00 UTC), from 3 readings" in step["index"]
    assert step["full amount"] == (
        "100.03 USD x 40 % = 40.012 USD exactly, rounded half up to 40.01 USD."
    )
    assert step["layer"].endswith("runs from 20.01 USD to 40.01 USD.")
    assert "20.01 USD were paid before, 60.02 USD are left after" in step["limit"]
    assert step["amount"].startswith("40.01 USD - 20.01 USD = 20.00 USD, 20 % of the cover")
    assert str(CALCULATION) in step["record"]
    assert terms_of().sha256.hex() in step["terms"]


def test_the_index_runs_by_the_hour_and_marks_what_it_crosses() -> None:
    lines = explain_claim(Facts(["0.5", "0.6", "1.0"]).file(), 2).readings
    assert [line.index for line in lines] == [Decimal("0.5"), Decimal("1.1"), Decimal("2.1")]
    assert [line.crosses for line in lines] == [(), ("tier1",), ("tier2",)]
    assert lines[0].local_time.isoformat() == "2025-06-07T08:00:00-04:00"
    assert lines[0].utc_time == NOON


def test_one_reading_can_cross_two_tiers() -> None:
    (line,) = explain_claim(Facts(["2.5"]).file(), 1).readings
    assert line.crosses == ("tier1", "tier2")


def test_a_rolling_sum_adds_up_to_the_index_that_decided() -> None:
    terms = terms_of(index_of(IndexKind.ROLLING_SUM, window_hours=2))
    found = explain_claim(Facts(["0.9", "0.0", "0.4", "0.7"], terms).file(), 1)
    assert [line.index for line in found.readings] == [Decimal("0.4"), Decimal("1.1")]
    assert found.readings[-1].crosses == ("tier1",)
    assert "the readings give the same" in sentence_of(found.steps, "index")


def test_a_day_that_settles_at_its_close_marks_only_its_last_reading() -> None:
    terms = terms_of(
        replace(index_of(IndexKind.DAILY_MAX), cadence_minutes=1440), Comparison.AT_MOST, ["3", "2"]
    )
    found = explain_claim(Facts(["1.5", "2.5"], terms).file(), 1)
    assert [line.crosses for line in found.readings] == [(), ("tier1",)]


def test_what_the_evidence_does_not_give_is_said() -> None:
    file = Facts(["0.5", "0.6"]).file()
    wrong = [
        replace(event, value=Decimal("1.7")) for event in file.events if isinstance(event, Event)
    ]
    found = explain_claim(replace(file, events=wrong), 1)
    assert "but its readings give 1.1 in" in sentence_of(found.steps, "index")


def test_a_claim_of_other_terms_is_said() -> None:
    file = Facts(["1.5"]).file()
    others = [replace(c, terms_sha256=b"other") for c in file.claims if isinstance(c, Claim)]
    found = explain_claim(replace(file, claims=others), 1)
    assert "with OTHER terms" in sentence_of(found.steps, "record")


def test_the_limit_that_cut_a_layer_is_named() -> None:
    facts = Facts(["3.0"], policy=Policy(limit_minor=1_000))
    found = explain_claim(facts.file(), 1)
    limit = sentence_of(found.steps, "limit")
    assert limit.endswith("0.00 USD are left after. It cuts the layer short of 60.02 USD.")
    assert "divided by the cover, rounded down" in sentence_of(found.steps, "amount")


def test_an_event_that_was_stored_as_such_has_no_readings() -> None:
    direct = Event(9, "tier1", NOON, zone=None, local_date=None, note="by satellite")
    found = explain_claim(Facts().file(direct), 1)
    assert found.readings == ()
    assert "was stored as such (by satellite)" in sentence_of(found.steps, "index")


def test_restatements_and_late_readings_are_told_and_not_applied() -> None:
    file = Facts(["0.5", "0.6"]).file()
    early = Reading(99, NOON - timedelta(hours=1), Decimal("0.3"))
    readings = [early, *(file.evidence[number] for number in (1, 2))]
    today = DayEvaluator(file.terms, ZONE, readings).evaluate(DAY)
    found = explain_claim(replace(file, restated={1: [Decimal("0.7")]}, days={DAY: today}), 1)
    assert found.readings[0].note == "restated since as 0.7"
    assert "was restated as 0.7 in; a restatement is not applied" in found.known_today[0]
    assert "0.3 at 2025-06-07 07:00-04:00" in found.known_today[1]
    assert found.readings[-1].index == Decimal("1.1")


def test_readings_that_no_longer_reach_the_tier_are_told() -> None:
    file = Facts(["0.5", "0.6"]).file()
    today = DayEvaluator(file.terms, ZONE, [file.evidence[1]]).evaluate(DAY)
    found = explain_claim(replace(file, days={DAY: today}), 1)
    assert found.known_today == ("All readings known now reach no tier.",)


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (Event(8, "tier1", NOON + timedelta(hours=5)), "paid up to 40.01 USD already"),
        (Event(8, "tier1", NOON), "event 1 of the same instant has the higher tier tier2"),
        (Event(8, "tier3", NOON, zone="UTC"), "local day in UTC, the policy is in America/New"),
    ],
)
def test_an_event_that_adds_nothing_is_named_with_its_reason(event: Event, why: str) -> None:
    found = explain_claim(Facts(["2.5"]).file(event), 1)
    assert f"Event 8, {event.tier_level}" in not_paid(found, "event")
    assert why in not_paid(found, "event")


def test_a_withdrawn_event_is_named_with_who_and_why() -> None:
    file = Facts(["1.5"]).file()
    void = [replace(claim, status="void") for claim in file.claims if isinstance(claim, Claim)]
    found = explain_period(replace(file, claims=void, withdrawals=[Withdrawal(1)]), [DAY])
    assert found.paid_minor == 0
    assert "withdrawn from this policy by an auditor on 2025-06-07: the gauge was broken" in (
        found.answer
    )


def test_a_limit_that_is_used_up_is_why_an_event_pays_nothing() -> None:
    facts = Facts(["3.0"], policy=Policy(limit_minor=1_000))
    file = facts.file()
    elsewhere = [
        replace(claim, period_key="2025-06-06") for claim in file.claims if isinstance(claim, Claim)
    ]
    found = explain_period(
        replace(file, claims=[replace(claim, event_id=77) for claim in elsewhere]), [DAY]
    )
    assert "the aggregate limit of 10.00 USD is used up" in found.answer


@pytest.mark.parametrize(
    ("pending", "why"), [(True, "still pending"), (False, "claimwright verify")]
)
def test_an_event_that_nobody_calculated_is_pending_or_a_matter_for_verify(
    pending: bool,  # noqa: FBT001 - a parameter of the test
    why: str,
) -> None:
    file = replace(Facts(["1.5"]).file(), claims=[], pending=pending)
    assert why in explain_period(file, [DAY]).answer


def test_a_day_below_the_first_threshold_says_by_how_much() -> None:
    found = explain_period(Facts(["0.5", "0.1"]).file(), [DAY])
    assert found.answer == (
        "Policy P-7 is paid nothing for 2025-06-07. tier1 needs >= 1 in; the index of 2025-06-07 "
        "came to 0.6 in, 0.4 in short."
    )


def test_a_day_without_readings_says_so() -> None:
    assert "no readings of precipitation are known" in explain_period(Facts().file(), [DAY]).answer


@pytest.mark.parametrize(
    "policy",
    [
        Policy(last_day=date(2025, 6, 6)),
        Policy(cancelled_on=DAY),
        Policy(first_day=date(2025, 6, 8)),
    ],
)
def test_a_day_outside_the_cover_says_so(policy: Policy) -> None:
    found = explain_period(Facts(["2.0"], policy=policy).file(), [DAY])
    assert found.answer.endswith("2025-06-07 lies outside the policy's cover.")


def test_a_reading_that_is_not_believed_is_shown_with_the_reason() -> None:
    found = explain_period(Facts(["0.5", "1048.36"]).file(), [DAY])
    assert "above the plausible maximum 10" in not_paid(found, "quarantined")
    assert found.readings[1].index is None
    assert found.readings[1].note.startswith("not believed")


def test_a_day_that_is_incomplete_names_its_slots_and_is_why_nothing_is_paid() -> None:
    terms = terms_of(index_of(IndexKind.DAILY_SUM), Comparison.AT_MOST, ["1"])
    found = explain_period(Facts(["0.1"], terms).file(), [DAY])
    assert "23 readings are missing (06-07 00:00, 06-07 01:00" in found.answer
    assert "settles once they are known" in found.answer


def test_an_index_that_has_to_fall_says_how_much_it_was_too_high() -> None:
    terms = terms_of(index_of(IndexKind.DAILY_MIN), Comparison.AT_MOST, ["1"])
    assert (
        "1.5 in, 0.5 in too high"
        in explain_period(Facts(["2.5", "1.5"], terms).file(), [DAY]).answer
    )


def test_a_month_is_explained_by_the_days_that_reached_a_tier() -> None:
    facts = Facts(["1.5"], replace(terms_of(), frequency=PayoutFrequency.ONCE_PER_MONTH))
    file = replace(facts.file(), period_key="2025-06")
    found = explain_period(file, [DAY, date(2025, 6, 8)])
    assert found.answer == "Policy P-7 is paid 20.01 USD for 2025-06."
    assert sentence_of(found.steps, "index") == "The index of 2025-06-07 came to 1.5 in: tier1."
    assert "0.5 in short" in not_paid(found, "next tier")


def test_what_does_not_exist_is_not_explained() -> None:
    file = Facts(["1.5"]).file()
    with pytest.raises(NotFoundError, match="no claim 7-9"):
        explain_claim(file, 9)
    with pytest.raises(NotFoundError, match="no event 1"):
        explain_claim(replace(file, events=[]), 1)
