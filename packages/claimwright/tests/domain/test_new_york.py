"""Golden numbers of a real year, to the hundredth of an inch."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from claimwright.domain.calendar import days_between, local_day_segments, zone_named
from claimwright.domain.index import IndexKind, Reading
from claimwright.domain.terms import ProductTerms
from claimwright.domain.triggers import DayEvaluation, DayEvaluator

from .builders import index_of, terms_of
from .new_york import STATIONS, readings_of

NEW_YORK = "America/New_York"
YEAR = days_between(date(2013, 1, 1), date(2013, 12, 30))
WIND = terms_of(
    index_of(IndexKind.DAILY_MAX, minimum="0", maximum="150"), thresholds=("30", "40", "50")
)


def evaluations(
    station: str,
    terms: ProductTerms,
    zone: str = NEW_YORK,
    days: Sequence[date] = YEAR,
    column: str = "precip",
) -> list[DayEvaluation]:
    evaluator = DayEvaluator(terms, zone, readings_of(column)[station])
    return [evaluator.evaluate(day) for day in days]


@pytest.mark.parametrize(
    ("zone", "rain"),
    [
        (NEW_YORK, ["3.71", "3.68", "3.15"]),
        ("UTC", ["2.81", "2.64", "2.37"]),
        ("Etc/GMT+5", ["3.71", "3.93", "3.32"]),
    ],
)
def test_the_rain_of_7_june_depends_on_whose_day_it_is(zone: str, rain: list[str]) -> None:
    indexes = [
        evaluations(station, terms_of(), zone, [date(2013, 6, 7)])[0].points[-1].index
        for station in STATIONS
    ]
    assert indexes == [Decimal(text) for text in rain]


@pytest.mark.parametrize(("station", "days"), [("EWR", 11), ("JFK", 6), ("LGA", 8)])
def test_as_many_days_reach_one_inch_as_the_gauge_says(station: str, days: int) -> None:
    found = evaluations(station, terms_of())
    assert sum(evaluation.highest_tier is not None for evaluation in found) == days


def test_exactly_one_inch_reaches_the_first_tier() -> None:
    (found,) = evaluations("LGA", terms_of(), days=[date(2013, 6, 8)])
    assert found.points[-1].index == Decimal("1.00")
    assert [(t.tier_level, t.index) for t in found.triggers] == [("tier1", Decimal("1.00"))]


@pytest.mark.parametrize(("station", "inches"), [("EWR", "3.74"), ("JFK", "4.35"), ("LGA", "4.08")])
def test_the_wettest_24_hours_are_those_of_the_gauge(station: str, inches: str) -> None:
    terms = terms_of(index_of(IndexKind.ROLLING_SUM, 24))
    found = evaluations(station, terms)
    assert max(point.index for day in found for point in day.points) == Decimal(inches)


def test_the_impossible_wind_never_triggers_and_is_reported() -> None:
    found = evaluations("EWR", WIND, column="wind_speed")
    reported = [(reading, reason) for day in found for reading, reason in day.implausible]
    assert [(r.observed_at, r.value, why) for r, why in reported] == [
        (
            datetime(2013, 2, 12, 8, tzinfo=UTC),
            Decimal("1048.36058"),
            "1048.36058 in is above the plausible maximum 150",
        )
    ]
    outlier = reported[0][0].id
    assert all(outlier not in trigger.reading_ids for day in found for trigger in day.triggers)
    assert max(point.index for day in found for point in day.points) < 150
    (that_day,) = evaluations("EWR", WIND, days=[date(2013, 2, 12)], column="wind_speed")
    assert that_day.triggers == ()


def test_the_hour_that_came_twice_counts_twice() -> None:
    (found,) = evaluations("EWR", terms_of(), days=[date(2013, 11, 3)])
    first, second = (point.reading.observed_at for point in found.points[:2])
    assert (first, second) == (
        datetime(2013, 11, 3, 5, tzinfo=UTC),
        datetime(2013, 11, 3, 6, tzinfo=UTC),
    )
    assert [instant.astimezone(zone_named(NEW_YORK)).hour for instant in (first, second)] == [1, 1]
    assert len(found.points) == 24
    assert found.missing_slots == (datetime(2013, 11, 3, 4, tzinfo=UTC),)


def test_the_day_that_lost_an_hour_is_complete_with_23_readings() -> None:
    (found,) = evaluations("EWR", terms_of(), days=[date(2013, 3, 10)])
    assert len(found.points) == 23
    assert found.missing_slots == ()


def test_every_reading_belongs_to_one_local_day() -> None:
    days = days_between(date(2012, 12, 31), date(2014, 1, 1))
    for station in STATIONS:
        found = evaluations(station, terms_of(), days=days)
        counted = [point.reading.id for day in found for point in day.points]
        assert sorted(counted) == [reading.id for reading in readings_of("precip")[station]]


def test_evaluating_a_day_alone_gives_what_evaluating_the_year_gives() -> None:
    terms = terms_of(index_of(IndexKind.ROLLING_SUM, 24))
    day = date(2013, 6, 8)
    (in_the_year,) = evaluations("JFK", terms, days=[day])
    first = local_day_segments(day, NEW_YORK)[0].starts_at - terms.index.window
    last = local_day_segments(day, NEW_YORK)[-1].ends_at
    known: list[Reading] = [
        reading for reading in readings_of("precip")["JFK"] if first <= reading.observed_at < last
    ]
    assert DayEvaluator(terms, NEW_YORK, known).evaluate(day) == in_the_year
