"""Readings to triggers: the crossing reading of a monotone pair, the close of any other day."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claimwright.domain.calendar import local_day_segments
from claimwright.domain.errors import InvalidTermsError
from claimwright.domain.index import Comparison, IndexDefinition, IndexKind, Reading
from claimwright.domain.terms import ProductTerms
from claimwright.domain.triggers import DayEvaluation, DayEvaluator

from .builders import RAIN_INDEX, hourly_readings, index_of, terms_of

DAY = date(2025, 3, 1)
MIDNIGHT = datetime(2025, 3, 1, tzinfo=UTC)
AT_LEAST, AT_MOST = Comparison.AT_LEAST, Comparison.AT_MOST
SUM, ROLLING = IndexKind.DAILY_SUM, IndexKind.ROLLING_SUM
MAX, MIN = IndexKind.DAILY_MAX, IndexKind.DAILY_MIN
FALLING = ("3.00", "2.00", "1.00")


def evaluate(
    terms: ProductTerms, readings: Sequence[Reading], zone: str = "UTC", day: date = DAY
) -> DayEvaluation:
    return DayEvaluator(terms, zone, readings).evaluate(day)


def crossings(evaluation: DayEvaluation) -> list[tuple[str, int]]:
    """Each trigger as its tier and its hour of the day in UTC."""
    return [(t.tier_level, t.triggered_at.hour) for t in evaluation.triggers]


def rain(*values: str) -> list[Reading]:
    return hourly_readings(MIDNIGHT, values)


class TestMonotonePairs:
    """Once crossed stays crossed: the trigger is at the reading that crosses."""

    def test_each_tier_triggers_at_the_reading_that_first_crosses_it(self) -> None:
        found = evaluate(terms_of(), rain("0.5", "0.5", "0.9", "0.1", "0", "1.5", "9"))
        assert crossings(found) == [("tier1", 1), ("tier2", 3), ("tier3", 5)]
        assert [str(t.index) for t in found.triggers] == ["1.0", "2.0", "3.5"]
        assert [t.reading_ids for t in found.triggers] == [
            (1, 2),
            (1, 2, 3, 4),
            (1, 2, 3, 4, 5, 6),
        ]

    def test_several_tiers_crossed_by_one_reading_make_one_trigger_of_the_highest(self) -> None:
        assert crossings(evaluate(terms_of(), rain("0.2", "2.5"))) == [("tier2", 1)]

    def test_a_reading_a_hair_below_the_threshold_does_not_trigger(self) -> None:
        assert crossings(evaluate(terms_of(), rain("0.999999999999999999"))) == []

    def test_tenths_add_up_exactly(self) -> None:
        assert crossings(evaluate(terms_of(), rain(*["0.1"] * 10))) == [("tier1", 9)]

    def test_a_late_earlier_reading_changes_when_and_not_how_far(self) -> None:
        known = rain("0", "0", "0.6", "0", "0.6")
        late = Reading(99, MIDNIGHT + timedelta(hours=1, minutes=30), Decimal("0.7"))
        before, after = evaluate(terms_of(), known), evaluate(terms_of(), [*known, late])
        assert (crossings(before), crossings(after)) == ([("tier1", 4)], [("tier1", 2)])

    def test_a_maximum_triggers_at_the_first_gust_that_is_high_enough(self) -> None:
        terms = terms_of(index_of(MAX))
        found = evaluate(terms, rain("0.5", "2.1", "1.5", "3.0", "2.9"))
        assert crossings(found) == [("tier2", 1), ("tier3", 3)]

    def test_a_minimum_with_at_most_triggers_at_the_first_reading_that_is_low_enough(self) -> None:
        terms = terms_of(index_of(MIN, minimum="-50", maximum="50"), AT_MOST, ("0", "-5", "-10"))
        found = evaluate(terms, rain("3", "0", "2", "-11", "-20"))
        assert crossings(found) == [("tier1", 1), ("tier3", 3)]

    def test_a_rolling_sum_looks_back_over_midnight(self) -> None:
        terms = terms_of(index_of(ROLLING, 3))
        before = hourly_readings(MIDNIGHT - timedelta(hours=3), ["9", "0.5", "0.4"])
        today = [Reading(10 + n, MIDNIGHT + timedelta(hours=n), Decimal("0.1")) for n in range(3)]
        found = evaluate(terms, [*before, *today])
        assert [str(point.index) for point in found.points] == ["1.0", "0.6", "0.3"]
        assert [(t.tier_level, t.reading_ids) for t in found.triggers] == [("tier1", (2, 3, 10))]

    def test_a_reading_exactly_one_window_old_no_longer_counts(self) -> None:
        terms = terms_of(index_of(ROLLING, 3))
        found = evaluate(terms, rain("1.5", "0", "0", "0.7"))
        assert [str(point.index) for point in found.points] == ["1.5", "1.5", "1.5", "0.7"]

    def test_an_implausible_reading_never_triggers_and_is_reported_with_its_reason(self) -> None:
        found = evaluate(terms_of(), rain("0.2", "10.01", "-0.01", "0.2"))
        assert found.triggers == ()
        assert [(reading.id, reason) for reading, reason in found.implausible] == [
            (2, "10.01 in is above the plausible maximum 10"),
            (3, "-0.01 in is below the plausible minimum 0"),
        ]
        assert found.points[-1].index == Decimal("0.4")

    @pytest.mark.parametrize("nonsense", ["NaN", "sNaN", "Infinity", "-Infinity"])
    def test_a_reading_that_is_no_number_is_implausible(self, nonsense: str) -> None:
        found = evaluate(terms_of(), rain("0.2", nonsense, "0.9"))
        assert crossings(found) == [("tier1", 2)]
        assert [reading.id for reading, _ in found.implausible] == [2]

    def test_the_bounds_of_the_plausible_range_are_plausible(self) -> None:
        assert crossings(evaluate(terms_of(), rain("0", "10"))) == [("tier3", 1)]


NOT_MONOTONE = [
    pytest.param(index_of(SUM), AT_MOST, FALLING, id="daily sum <="),
    pytest.param(index_of(MAX), AT_MOST, FALLING, id="daily maximum <="),
    pytest.param(index_of(MIN), AT_LEAST, ("0.1", "0.2", "0.3"), id="daily minimum >="),
    pytest.param(index_of(ROLLING, 3), AT_MOST, FALLING, id="rolling sum <="),
    pytest.param(index_of(SUM, minimum="-5"), AT_LEAST, ("1", "2", "3"), id="signed sum >="),
    pytest.param(index_of(ROLLING, 3, "-5"), AT_LEAST, ("0.1", "0.2", "0.9"), id="signed rolling"),
]
WINDOW_AND_DAY = hourly_readings(MIDNIGHT - timedelta(hours=3), ["0.1"] * 27)


@pytest.mark.parametrize(("index", "comparison", "thresholds"), NOT_MONOTONE)
class TestOtherPairs:
    """They settle when the day is closed and complete, stamped with its last reading."""

    def test_they_settle_with_the_last_reading_of_a_complete_day(
        self, index: IndexDefinition, comparison: Comparison, thresholds: tuple[str, ...]
    ) -> None:
        terms = terms_of(index, comparison, thresholds)
        found = evaluate(terms, WINDOW_AND_DAY)
        (trigger,) = found.triggers
        assert found.settles_at_close
        assert found.missing_slots == ()
        assert trigger.triggered_at == MIDNIGHT + timedelta(hours=23)
        assert trigger.index == terms.index.settled(found.points, comparison)

    @pytest.mark.parametrize("position", [3, 14, 26])
    def test_a_missing_reading_keeps_them_from_settling(
        self,
        index: IndexDefinition,
        comparison: Comparison,
        thresholds: tuple[str, ...],
        position: int,
    ) -> None:
        known = [*WINDOW_AND_DAY[:position], *WINDOW_AND_DAY[position + 1 :]]
        found = evaluate(terms_of(index, comparison, thresholds), known)
        assert found.triggers == ()
        assert found.missing_slots == (WINDOW_AND_DAY[position].observed_at,)

    @pytest.mark.parametrize("position", [3, 14, 26])
    def test_an_implausible_reading_keeps_them_from_settling(
        self,
        index: IndexDefinition,
        comparison: Comparison,
        thresholds: tuple[str, ...],
        position: int,
    ) -> None:
        spoilt = replace(WINDOW_AND_DAY[position], value=Decimal(11))
        known = [*WINDOW_AND_DAY[:position], spoilt, *WINDOW_AND_DAY[position + 1 :]]
        found = evaluate(terms_of(index, comparison, thresholds), known)
        assert found.triggers == ()
        assert [reading.id for reading, _ in found.implausible] == [spoilt.id]

    def test_the_evidence_of_the_trigger_gives_its_index_again(
        self, index: IndexDefinition, comparison: Comparison, thresholds: tuple[str, ...]
    ) -> None:
        terms = terms_of(index, comparison, thresholds)
        (trigger,) = evaluate(terms, WINDOW_AND_DAY).triggers
        evidence = [reading for reading in WINDOW_AND_DAY if reading.id in trigger.reading_ids]
        assert evaluate(terms, evidence).triggers == (trigger,)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_rolling_sum_is_complete_only_with_the_window_before_the_day(missing: int) -> None:
    terms = terms_of(index_of(ROLLING, 3), AT_MOST, FALLING)
    known = [*WINDOW_AND_DAY[:missing], *WINDOW_AND_DAY[missing + 1 :]]
    found = evaluate(terms, known)
    assert found.triggers == ()
    assert found.missing_slots == (WINDOW_AND_DAY[missing].observed_at,)


def test_a_rolling_sum_settles_at_its_extreme_over_the_day() -> None:
    dry = terms_of(index_of(ROLLING, 3), AT_MOST, FALLING)
    values = ["2"] * 14 + ["0.2"] * 3 + ["2"] * 10
    found = evaluate(dry, hourly_readings(MIDNIGHT - timedelta(hours=3), values))
    assert [(t.tier_level, t.index) for t in found.triggers] == [("tier3", Decimal("0.6"))]


def test_a_day_without_readings_is_not_dry_but_unknown() -> None:
    found = evaluate(terms_of(RAIN_INDEX, AT_MOST, FALLING), [])
    assert (found.triggers, found.highest_tier, len(found.missing_slots)) == ((), None, 24)


class TestSettledDays:
    """A day that settles at its close settles once."""

    DRY = terms_of(index_of(SUM), comparison=AT_MOST, thresholds=FALLING)

    def settled(self) -> tuple[list[Reading], tuple[int, ...]]:
        readings = rain(*["0.1"] * 24)
        (trigger,) = evaluate(self.DRY, readings).triggers
        return readings, trigger.reading_ids

    def test_a_reading_between_the_others_that_comes_later_is_not_applied(self) -> None:
        readings, evidence = self.settled()
        late = Reading(99, MIDNIGHT + timedelta(hours=23, minutes=30), Decimal(2))
        again = DayEvaluator(self.DRY, "UTC", [*readings, late])
        assert not again.evaluate(DAY).triggers
        (trigger,) = again.evaluate(DAY, [evidence]).triggers
        assert (trigger.tier_level, trigger.index) == ("tier1", Decimal("2.4"))

    def test_evidence_that_does_not_complete_the_day_settles_nothing(self) -> None:
        readings, evidence = self.settled()
        late = Reading(99, MIDNIGHT + timedelta(hours=23, minutes=30), Decimal(2))
        again = DayEvaluator(self.DRY, "UTC", [*readings, late])
        assert not again.evaluate(DAY, [evidence[:-1]]).triggers

    def test_a_monotone_pair_takes_every_reading_whenever_it_comes(self) -> None:
        found = DayEvaluator(terms_of(), "UTC", rain("1.0", "1.0")).evaluate(DAY, [(1,)])
        assert [trigger.tier_level for trigger in found.triggers] == ["tier1", "tier2"]


def test_a_date_that_does_not_exist_triggers_nothing_and_misses_nothing() -> None:
    around = hourly_readings(datetime(2011, 12, 29, tzinfo=UTC), ["0"] * 72)
    terms = terms_of(RAIN_INDEX, AT_MOST, FALLING)
    found = evaluate(terms, around, "Pacific/Apia", date(2011, 12, 30))
    assert (found.points, found.triggers, found.missing_slots) == ((), (), ())


def test_a_window_shorter_than_the_cadence_is_refused() -> None:
    with pytest.raises(InvalidTermsError, match=r"index\.window_hours: .*cadence"):
        replace(index_of(ROLLING, 23), cadence_minutes=1440)


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("America/New_York", date(2013, 3, 10)),
        ("America/New_York", date(2013, 11, 3)),
        ("Australia/Lord_Howe", date(2025, 4, 6)),
        ("Australia/Lord_Howe", date(2025, 10, 5)),
        ("Asia/Kathmandu", date(2025, 6, 1)),
        ("America/St_Johns", date(2006, 10, 28)),
        ("America/St_Johns", date(2006, 10, 29)),
        ("America/Sao_Paulo", date(2018, 11, 4)),
    ],
)
def test_hourly_readings_on_the_hours_of_utc_complete_a_day_of_any_length(
    zone: str, day: date
) -> None:
    first = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(days=2)
    readings = hourly_readings(first, ["0.01"] * 120)
    found = evaluate(terms_of(), readings, zone, day)
    inside = [
        reading
        for reading in readings
        for segment in local_day_segments(day, zone)
        if segment.starts_at <= reading.observed_at < segment.ends_at
    ]
    assert [point.reading for point in found.points] == inside
    assert found.missing_slots == ()


def test_a_date_that_comes_back_takes_nothing_of_the_hour_in_between() -> None:
    """America/St_Johns 2006-10-29 has one minute, then an hour of the 28th, then the rest."""
    zone, day = "America/St_Johns", date(2006, 10, 29)
    hourly = hourly_readings(datetime(2006, 10, 29, 3, tzinfo=UTC), ["0.1"] * 25)
    in_between = hourly[0]
    odd = Reading(99, in_between.observed_at + timedelta(minutes=5), Decimal(-1))
    found = evaluate(terms_of(RAIN_INDEX, AT_MOST, FALLING), [*hourly, odd], zone, day)
    (trigger,) = found.triggers
    assert trigger.index == Decimal("2.4")
    assert trigger.reading_ids == tuple(reading.id for reading in hourly[1:])
    assert found.implausible == ()


def test_readings_of_one_instant_count_by_their_ids_in_whatever_order_they_came() -> None:
    one = Reading(1, MIDNIGHT, Decimal("0.6"))
    other = Reading(2, MIDNIGHT, Decimal("0.5"))
    assert evaluate(terms_of(), [one, other]) == evaluate(terms_of(), [other, one])


@pytest.mark.parametrize(
    ("cadence_minutes", "slots"), [(60, 24), (1440, 1), (720, 2), (1000, 1), (15, 96)]
)
def test_a_day_has_as_many_slots_as_its_cadence_fits(cadence_minutes: int, slots: int) -> None:
    index = replace(RAIN_INDEX, cadence_minutes=cadence_minutes)
    assert len(evaluate(terms_of(index), []).missing_slots) == slots


@pytest.mark.parametrize("hours", [0, 12, 24])
def test_one_daily_reading_completes_a_day_of_25_hours_wherever_it_lies(hours: int) -> None:
    zone, day = "America/New_York", date(2013, 11, 3)
    start = local_day_segments(day, zone)[0].starts_at
    daily = terms_of(replace(RAIN_INDEX, cadence_minutes=1440), AT_MOST, FALLING)
    found = evaluate(daily, [Reading(1, start + timedelta(hours=hours), Decimal(0))], zone, day)
    assert (found.missing_slots, found.highest_tier) == ((), "tier3")


MONOTONE = [
    terms_of(),
    terms_of(index_of(MAX)),
    terms_of(index_of(MIN, minimum="-10"), AT_MOST, ("0", "-2", "-4")),
    terms_of(index_of(ROLLING, 5)),
]


def rank_of(evaluation: DayEvaluation) -> int:
    return int((evaluation.highest_tier or "tier0").removeprefix("tier"))


@st.composite
def known_readings(draw: st.DrawFn) -> list[Reading]:
    """Readings on some of the minutes of a day and the hours before it, one a minute."""
    minutes = draw(st.sets(st.integers(-6 * 60, 24 * 60 + 60), max_size=20))
    values = st.integers(-1_200, 1_200).map(lambda number: Decimal(number).scaleb(-2))
    return [
        Reading(number, MIDNIGHT + timedelta(minutes=minute), draw(values))
        for number, minute in enumerate(sorted(minutes), start=1)
    ]


@given(st.sampled_from(MONOTONE), known_readings(), st.data())
def test_the_highest_tier_of_a_monotone_pair_does_not_depend_on_the_order_of_arrival(
    terms: ProductTerms, readings: list[Reading], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(readings))
    assert evaluate(terms, shuffled) == evaluate(terms, readings)


@given(st.sampled_from(MONOTONE), known_readings(), st.data())
def test_the_highest_tier_of_a_monotone_pair_never_falls_as_readings_arrive(
    terms: ProductTerms, readings: list[Reading], data: st.DataObject
) -> None:
    arriving = data.draw(st.permutations(readings))
    ranks = [rank_of(evaluate(terms, arriving[:count])) for count in range(len(arriving) + 1)]
    assert ranks == sorted(ranks)


@given(st.sampled_from(MONOTONE), known_readings())
def test_the_evidence_of_every_trigger_gives_its_index_again(
    terms: ProductTerms, readings: list[Reading]
) -> None:
    for trigger in evaluate(terms, readings).triggers:
        evidence = [reading for reading in readings if reading.id in trigger.reading_ids]
        last = evaluate(terms, evidence).triggers[-1]
        assert (last.tier_level, last.triggered_at, last.index, last.reading_ids) == (
            trigger.tier_level,
            trigger.triggered_at,
            trigger.index,
            trigger.reading_ids,
        )


@given(st.sampled_from(MONOTONE), known_readings())
def test_triggers_rise_in_time_and_tier_and_cross_their_thresholds(
    terms: ProductTerms, readings: list[Reading]
) -> None:
    triggers = evaluate(terms, readings).triggers
    instants = [trigger.triggered_at for trigger in triggers]
    ranks = [terms.schedule.tier(trigger.tier_level).rank for trigger in triggers]
    assert instants == sorted(set(instants))
    assert ranks == sorted(set(ranks))
    assert [terms.highest_tier_met(trigger.index) for trigger in triggers] == ranks


@pytest.mark.parametrize(
    ("index", "comparison", "monotone"),
    [
        (index_of(SUM), AT_LEAST, True),
        (index_of(ROLLING, 24), AT_LEAST, True),
        (index_of(MAX), AT_LEAST, True),
        (index_of(MAX, minimum="-50"), AT_LEAST, True),
        (index_of(MIN, minimum="-50"), AT_MOST, True),
        *[(param.values[0], param.values[1], False) for param in NOT_MONOTONE],
    ],
)
def test_a_pair_is_monotone_when_more_readings_can_only_bring_it_nearer(
    index: IndexDefinition, comparison: Comparison, *, monotone: bool
) -> None:
    assert index.is_monotone(comparison) is monotone
