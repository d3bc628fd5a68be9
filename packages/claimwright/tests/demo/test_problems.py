"""What is not as it must be is said, and ends the demo with an exit code of its own."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
import typer

from claimwright.cli.demo import finish
from claimwright.demo.expected import problems
from claimwright.demo.facts import DemoFacts, RainyDays, Run, Unbelieved
from claimwright.demo.gather import PaidClaims
from claimwright.operations.verify import Verdict, Verification
from claimwright.storage.claims import ClaimRow
from claimwright.storage.requests import PendingWork

RUN = Run(calculations=10, contended=0, claims=5, failures=0, seconds=1.0)
NONE_LEFT = replace(RUN, claims=0)
OUTLIER = Unbelieved(
    region="EWR",
    variable="wind_speed",
    observed_at=datetime(2013, 2, 12, 8, tzinfo=UTC),
    value=Decimal("1048.36058"),
    product="nyc-wind version 1",
    reason="too much",
)
EWR = RainyDays("EWR", 11, 11, Decimal("3.71"), Decimal("3.71"))
CLEAN = Verification(
    verdict=Verdict.CLEAN,
    snapshot_at=datetime(2026, 1, 1, tzinfo=UTC),
    policies=60,
    periods=10,
    claims=10,
    paid_minor={"USD": 100},
    differences={},
    findings=(),
    pending=PendingWork(0, None),
)
RIGHT = DemoFacts(
    policies=60,
    workers=16,
    currency="USD",
    zone="America/New_York",
    readings=100,
    events=10,
    claims=10,
    paid_minor=100,
    duplicates=0,
    limited=0,
    tiers=(),
    rainy_days=(EWR,),
    quarantined=(OUTLIER,),
    race=(RUN, RUN),
    again=NONE_LEFT,
    verification=CLEAN,
    violations=(),
    steps=(),
    problems=(),
    claims_file=Path("claims.csv"),
    report_file=Path("report.html"),
    folder=None,
)
WRONG = {
    "nothing was paid": replace(RIGHT, claims=0, race=(NONE_LEFT, NONE_LEFT)),
    "created 5 claims, but 10 are stored": replace(RIGHT, race=(RUN, NONE_LEFT)),
    "calculating again created 5 claims": replace(RIGHT, again=RUN),
    "1 calculations failed": replace(RIGHT, race=(RUN, replace(RUN, failures=1))),
    "2 claims pay money that another claim pays": replace(RIGHT, duplicates=2),
    "the layers overlap": replace(RIGHT, violations=("the layers overlap",)),
    "the verification says different": replace(
        RIGHT, verification=replace(CLEAN, verdict=Verdict.DIFFERENT)
    ),
    "the verification says pending": replace(
        RIGHT, verification=replace(CLEAN, verdict=Verdict.PENDING)
    ),
    "EWR has 10 rainy days, not 11": replace(RIGHT, rainy_days=(replace(EWR, days=10),)),
    "EWR has 2.81 in": replace(RIGHT, rainy_days=(replace(EWR, june_7=Decimal("2.81")),)),
    "0 readings are quarantined": replace(RIGHT, quarantined=()),
    "2 readings are quarantined": replace(RIGHT, quarantined=(OUTLIER, OUTLIER)),
}


def test_what_is_right_has_no_problem() -> None:
    assert problems(RIGHT) == []


@pytest.mark.parametrize("sentence", WRONG)
def test_each_wrongness_is_one_problem(sentence: str) -> None:
    (problem,) = problems(WRONG[sentence])
    assert sentence in problem


@pytest.mark.parametrize("as_json", [False, True])
def test_a_problem_ends_the_demo_with_exit_code_1(
    capsys: pytest.CaptureFixture[str], *, as_json: bool
) -> None:
    with pytest.raises(typer.Exit) as ended:
        finish(replace(RIGHT, problems=("a claim is paid twice",)), as_json=as_json)
    assert ended.value.exit_code == 1
    written = capsys.readouterr()
    assert "a claim is paid twice" in (written.out if as_json else written.err)


def test_no_problem_ends_it_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    finish(RIGHT, as_json=False)
    assert "Each claim is paid exactly once." in capsys.readouterr().out


def claim(number: int, attachment_minor: int, exhaustion_minor: int) -> ClaimRow:
    return ClaimRow(
        policy_id=1,
        id=number,
        event_id=number,
        event_date=date(2013, 6, 7),
        period_key="2013-06-07",
        tier_level=f"tier{number}",
        attachment_minor=attachment_minor,
        exhaustion_minor=exhaustion_minor,
        payout_percentage=Decimal(20),
        status="calculated",
    )


def test_claims_that_follow_one_another_are_no_duplicates() -> None:
    paid = PaidClaims()
    paid.add([claim(1, 0, 20), claim(2, 20, 50)])
    assert (paid.paid_on_minor.total(), paid.duplicates_of.total()) == (50, 0)


def test_claims_that_pay_the_same_money_are_duplicates() -> None:
    paid = PaidClaims()
    paid.add([claim(1, 0, 20), claim(2, 10, 50)])
    assert paid.duplicates_of == {"tier1": 1, "tier2": 1}
