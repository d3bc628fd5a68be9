"""Product terms: valid at birth, one hash for one meaning, errors that name the key."""

import copy
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claimwright.domain.calendar import DayBoundary
from claimwright.domain.errors import InvalidTermsError
from claimwright.domain.index import Comparison, IndexDefinition, IndexKind
from claimwright.domain.periods import PayoutFrequency
from claimwright.domain.schedule import TIER_PAYOUTS, PayoutSchedule, Tier
from claimwright.domain.terms import ProductTerms
from claimwright.domain.terms_text import terms_from_mapping, terms_from_toml

from .builders import RAIN_INDEX, index_of, terms_of
from .strategies import limit_percents, schedules, words

RAIN_TOML = """
[product]
code = "new-york-rain"
peril = "Heavy rain"

[index]
variable = "precipitation"
unit = "in"
kind = "daily_sum"
cadence_minutes = 60
plausible = { minimum = 0, maximum = 10.00 }

[payout]
comparison = ">="
frequency = "once_per_day"
aggregate_limit_percent = 100
day_boundary = "midnight_opens_day"
tiers = [
  { level = "tier1", threshold = 1.00, payout_percent = 20 },
  { level = "tier2", threshold = 2.00, payout_percent = 50 },
  { level = "tier3", threshold = 3.00, payout_percent = 100 },
]
"""


def test_terms_are_read_from_toml() -> None:
    terms = terms_from_toml(RAIN_TOML)
    assert terms == ProductTerms(
        code="new-york-rain",
        peril="Heavy rain",
        index=RAIN_INDEX,
        comparison=Comparison.AT_LEAST,
        schedule=PayoutSchedule.from_rules(TIER_PAYOUTS),
        thresholds=(Decimal(1), Decimal(2), Decimal(3)),
        frequency=PayoutFrequency.ONCE_PER_DAY,
    )


def test_what_may_be_left_out_has_the_documented_default() -> None:
    text = RAIN_TOML
    for line in (
        "cadence_minutes = 60\n",
        "aggregate_limit_percent = 100\n",
        'day_boundary = "midnight_opens_day"\n',
    ):
        text = text.replace(line, "")
    assert terms_from_toml(text) == terms_from_toml(RAIN_TOML)


WRONG_LINES = [
    ('code = "new-york-rain"', "", "product.code: is missing"),
    ('code = "new-york-rain"', 'code = "New York"', "product.code: 'New York'"),
    ('code = "new-york-rain"', "code = 7", "product.code: 7 is not text"),
    ('peril = "Heavy rain"', 'peril = " "', "product.peril: may not be empty"),
    ('peril = "Heavy rain"', 'peril = "rain"\ncolour = "blue"', "product.colour: is not a key"),
    ("[product]", "[extra]\n[product]", "extra: is not a key"),
    ('unit = "in"', 'unit = ""', "index.unit: may not be empty"),
    ('kind = "daily_sum"', 'kind = "daily_mean"', "index.kind: 'daily_mean' is not one of"),
    ('kind = "daily_sum"', 'kind = "rolling_sum"', "index.window_hours: a rolling_sum needs"),
    (
        'kind = "daily_sum"',
        'kind = "daily_sum"\nwindow_hours = 24',
        "index.window_hours: a daily_sum has no",
    ),
    (
        'kind = "daily_sum"',
        'kind = "rolling_sum"\nwindow_hours = 745',
        "index.window_hours: is 1 to 744",
    ),
    (
        'kind = "daily_sum"',
        'kind = "rolling_sum"\nwindow_hours = 1.5',
        "index.window_hours: .* is not a whole number",
    ),
    ("cadence_minutes = 60", "cadence_minutes = 0", "index.cadence_minutes: is 1 to 1440"),
    ("cadence_minutes = 60", "cadence_minutes = true", "index.cadence_minutes: True is not a whol"),
    ("cadence_minutes = 60", 'cadence_minutes = "60"', "index.cadence_minutes: '60' is not a whol"),
    ("minimum = 0,", "minimum = nan,", "index.plausible.minimum: .*not a finite number"),
    ("maximum = 10.00", "maximum = inf", "index.plausible.maximum: .*not a finite number"),
    ("maximum = 10.00", "maximum = -1", "index.plausible: its minimum lies below"),
    ("maximum = 10.00", "maximum = 10, typical = 1", "index.plausible.typical: is not a key"),
    ("plausible = { minimum = 0, maximum = 10.00 }", "", "index.plausible: is missing"),
    (
        "plausible = { minimum = 0, maximum = 10.00 }",
        "plausible = 3",
        "index.plausible: is a table",
    ),
    ('comparison = ">="', 'comparison = ">"', "payout.comparison: '>' is not one of"),
    (
        '"once_per_day"',
        '"once_per_fortnight"',
        "payout.frequency: 'once_per_fortnight' is not one of once_per_day, once_per_month",
    ),
    ('"once_per_day"', '"ONCE_PER_DAY"', "payout.frequency"),
    ("aggregate_limit_percent = 100", "aggregate_limit_percent = 0", "aggregate_limit_percent: 0"),
    ("aggregate_limit_percent = 100", "aggregate_limit_percent = -1", "aggregate_limit_percent: "),
    (
        "aggregate_limit_percent = 100",
        "aggregate_limit_percent = 100001",
        "payout.aggregate_limit_percent: 100001 is not above 0 and at most 50000",
    ),
    (
        "aggregate_limit_percent = 100",
        "aggregate_limit_percent = 33.3333333",
        "payout.aggregate_limit_percent: 33.3333333 has more than 6 decimals",
    ),
    ('"midnight_opens_day"', '"noon"', "payout.day_boundary: 'noon' is not one of"),
    ("threshold = 2.00", "threshold = 1.00", r"payout.tiers\[1\].threshold: 1.00 is not above"),
    ("threshold = 3.00", "threshold = 1.50", r"payout.tiers\[2\].threshold: 1.50 is not above"),
    ('">="', '"<="', r"payout.tiers\[1\].threshold: 2.00 is not below the tier before it"),
    ("threshold = 2.00", 'threshold = "two"', r"payout.tiers\[1\].threshold: 'two' is not a num"),
    ("threshold = 2.00", 'threshold = "NaN"', r"payout.tiers\[1\].threshold: .* not a finite"),
    ("threshold = 2.00", "threshold = true", r"payout.tiers\[1\].threshold: True is not an exact"),
    ("threshold = 2.00", "threshold = [2]", r"payout.tiers\[1\].threshold: .* not an exact"),
    (
        "threshold = 3.00",
        "threshold = 1e30",
        r"payout.tiers\[2\].threshold: 1E\+30 has more",
    ),
    ("threshold = 3.00", "threshold = 1e9999", r"payout.tiers\[2\].threshold: .* at most 60 digit"),
    (", payout_percent = 50", "", r"payout.tiers\[1\].payout_percent: is missing"),
    ("payout_percent = 50", "payout_percent = 20", r"payout.tiers\[1\].payout_percent: 20 is not"),
    (
        "payout_percent = 100",
        "payout_percent = 101",
        r"payout.tiers\[2\].payout_percent: 101 is",
    ),
    ("payout_percent = 20 ", "payout_percent = 0 ", r"payout.tiers\[0\].payout_percent: 0 is not"),
    ('level = "tier2"', 'level = "tier1"', "payout.tiers: each tier is named once"),
    ('level = "tier2"', 'level = " tier2"', r"payout.tiers\[1\].level: .* has spaces around it"),
    ('level = "tier2"', 'level = "t\\u0000"', r"payout.tiers\[1\].level: .* cannot be printed"),
    ('level = "tier2"', f'level = "{"t" * 201}"', r"payout.tiers\[1\].level: has at most 200"),
    (
        ", payout_percent = 50",
        ", payout_percent = 50, payout = 1",
        r"payout.tiers\[1\].payout: is not a key",
    ),
    ("[payout]", "[payout", "terms: is not TOML"),
    ("[payout]", f"deep = {'[' * 100_000}", "terms: is not TOML"),
    ("threshold = 2.00", f"threshold = {'9' * 5_000}", "terms: is not TOML: Exceeds the limit"),
]


@pytest.mark.parametrize(("right", "wrong", "message"), WRONG_LINES)
def test_terms_that_may_not_exist_are_refused_by_the_name_of_their_key(
    right: str, wrong: str, message: str
) -> None:
    assert RAIN_TOML.count(right) == 1
    with pytest.raises(InvalidTermsError, match=message):
        terms_from_toml(RAIN_TOML.replace(right, wrong))


def without_tiers(values: dict[str, object]) -> None:
    payout_of(values)["tiers"] = []


def with_too_many_tiers(values: dict[str, object]) -> None:
    payout_of(values)["tiers"] = [{}] * 101


def with_a_float(values: dict[str, object]) -> None:
    payout_of(values)["aggregate_limit_percent"] = 99.9


def with_nothing(values: dict[str, object]) -> None:
    payout_of(values)["comparison"] = None


def payout_of(values: dict[str, object]) -> dict[str, object]:
    payout = values["payout"]
    assert isinstance(payout, dict)
    return payout


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_tiers, "payout.tiers: is a list of 1 to 100 tables"),
        (with_too_many_tiers, "payout.tiers: is a list of 1 to 100 tables"),
        (with_a_float, "payout.aggregate_limit_percent: 99.9 is not an exact number"),
        (with_nothing, "payout.comparison: is missing"),
    ],
)
def test_a_mapping_that_is_wrong_is_refused_by_the_name_of_its_key(
    spoil: Callable[[dict[str, object]], None], message: str
) -> None:
    values = copy.deepcopy(terms_of().as_mapping())
    spoil(values)
    with pytest.raises(InvalidTermsError, match=message):
        terms_from_mapping(values)


def spoilt(**changes: object) -> Callable[[], object]:
    return lambda: replace(terms_of(), **changes)  # type: ignore[arg-type]  # wrong on purpose


def spoilt_index(**changes: object) -> Callable[[], object]:
    return lambda: replace(RAIN_INDEX, **changes)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (spoilt(thresholds=(Decimal(1),)), "payout.tiers"),
        (spoilt(thresholds=(Decimal(1), Decimal(2), Decimal("NaN"))), r"payout.tiers\[2\]"),
        (spoilt(aggregate_limit_percent=Decimal("NaN")), "payout.aggregate_limit_percent"),
        (spoilt(aggregate_limit_percent=99.5), "payout.aggregate_limit_percent"),
        (spoilt_index(plausible_minimum=Decimal("NaN")), "index.plausible.minimum"),
        (spoilt_index(plausible_maximum=Decimal("Infinity")), "index.plausible.maximum"),
        (spoilt_index(variable=" "), "index.variable"),
        (lambda: PayoutSchedule(()), "payout.tiers"),
        (lambda: PayoutSchedule((Tier("a", 2, Decimal(1)),)), r"payout.tiers\[0\].rank"),
        (lambda: PayoutSchedule.from_rules({"a": Decimal("NaN")}), "payout.tiers.a"),
        (lambda: PayoutSchedule.from_rules({"a": "1e30"}), "payout.tiers.a"),
        (lambda: PayoutSchedule.from_rules({"a": 20.0}), "payout.tiers.a"),
        (lambda: PayoutSchedule.from_rules({"a": "0.0000001"}), "payout.tiers.a"),
        (lambda: PayoutSchedule((Tier("a", 1, Decimal("0.0000001")),)), r"payout.tiers\[0\]"),
        (
            lambda: PayoutSchedule.from_rules({f"t{n}": Decimal(n) / 2 for n in range(1, 102)}),
            "payout.tiers",
        ),
    ],
)
def test_terms_made_in_python_are_as_valid_at_birth(make: Callable[[], object], key: str) -> None:
    with pytest.raises(InvalidTermsError, match=f"^{key}"):
        make()


@pytest.mark.parametrize("one", ["1.00", '"1"', "1", '"1.000000"', "1e0", '"1E+0"'])
def test_one_number_written_in_many_ways_gives_one_hash(one: str) -> None:
    written = RAIN_TOML.replace("threshold = 1.00", f"threshold = {one}")
    assert terms_from_toml(written).sha256 == terms_from_toml(RAIN_TOML).sha256


def test_the_order_of_keys_does_not_change_the_hash() -> None:
    values = terms_of().as_mapping()
    backwards = {
        name: dict(reversed(table.items()))
        for name, table in reversed(values.items())
        if isinstance(table, dict)
    }
    assert list(backwards) != list(values)
    assert terms_from_mapping(backwards).sha256 == terms_of().sha256


def test_the_hash_is_pinned_so_that_stored_policies_keep_their_terms() -> None:
    assert terms_from_toml(RAIN_TOML).sha256.hex() == (
        "c9716430e60c6a5cfcedf82d0a2643ec4446d96fb44fbb050cd1890180da8a86"
    )


@pytest.mark.parametrize(
    "other",
    [
        spoilt(code="other"),
        spoilt(peril="hail"),
        spoilt(thresholds=(Decimal(1), Decimal(2), Decimal(4))),
        spoilt(frequency=PayoutFrequency.ONCE_PER_MONTH),
        spoilt(aggregate_limit_percent=Decimal(99)),
        spoilt(day_boundary=DayBoundary.MIDNIGHT_CLOSES_DAY),
        spoilt(index=index_of(IndexKind.DAILY_MAX)),
        spoilt(index=index_of(IndexKind.ROLLING_SUM, 24)),
        spoilt(index=index_of(IndexKind.DAILY_SUM, maximum="11")),
        spoilt(index=index_of(IndexKind.DAILY_SUM, minimum="-1")),
        spoilt(index=replace(RAIN_INDEX, unit="mm")),
        spoilt(index=replace(RAIN_INDEX, variable="snow")),
        spoilt(index=replace(RAIN_INDEX, cadence_minutes=30)),
    ],
)
def test_every_part_of_the_terms_changes_the_hash(other: Callable[[], ProductTerms]) -> None:
    assert other().sha256 != terms_of().sha256


@st.composite
def any_terms(draw: st.DrawFn) -> ProductTerms:
    schedule = draw(schedules(most_tiers=8))
    kind = draw(st.sampled_from(IndexKind))
    comparison = draw(st.sampled_from(Comparison))
    steps = draw(
        st.sets(
            st.integers(-(10**9), 10**9),
            min_size=len(schedule.tiers),
            max_size=len(schedule.tiers),
        )
    )
    ordered = sorted(steps, reverse=comparison is Comparison.AT_MOST)
    return ProductTerms(
        code=draw(st.from_regex(r"[a-z0-9]{1,9}(-[a-z0-9]{1,9}){0,3}", fullmatch=True)),
        peril=draw(words),
        index=IndexDefinition(
            variable=draw(words),
            unit="mm",
            kind=kind,
            plausible_minimum=Decimal(draw(st.integers(-100, 0))),
            plausible_maximum=Decimal(draw(st.integers(1, 100))),
            window_hours=draw(st.integers(24, 744)) if kind is IndexKind.ROLLING_SUM else None,
            cadence_minutes=draw(st.integers(1, 1440)),
        ),
        comparison=comparison,
        schedule=schedule,
        thresholds=tuple(Decimal(step).scaleb(-6) for step in ordered),
        frequency=draw(st.sampled_from(PayoutFrequency)),
        aggregate_limit_percent=draw(limit_percents),
        day_boundary=draw(st.sampled_from(DayBoundary)),
    )


@given(any_terms())
def test_terms_come_back_from_their_mapping_as_they_were(terms: ProductTerms) -> None:
    again = terms_from_mapping(terms.as_mapping())
    assert again == terms
    assert again.sha256 == terms.sha256
    assert again.calculator.frequency is terms.frequency


def test_the_highest_tier_met_follows_the_comparison() -> None:
    rising = terms_of()
    falling = terms_of(comparison=Comparison.AT_MOST, thresholds=("3", "2", "1"))
    indexes = [Decimal(text) for text in ("0.99", "1", "2.5", "3")]
    assert [rising.highest_tier_met(index) for index in indexes] == [0, 1, 2, 3]
    assert [falling.highest_tier_met(index) for index in indexes] == [3, 3, 1, 1]
