"""What the demo must find, known from the weather itself, and how it says that it did not."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

from claimwright.demo.facts import DemoFacts, RainyDays, StationFacts, Unbelieved
from claimwright.demo.portfolio import RAIN
from claimwright.operations.verify import Verdict

WETTEST_DAY: Final = date(2013, 6, 7)
#: Local days with at least 1.00 inch of rain. LGA's 2013-06-08 has exactly 1.00.
RAINY_DAYS: Final[Mapping[str, int]] = {"EWR": 11, "JFK": 6, "LGA": 8}
#: Inches of rain on the local day 2013-06-07.
WETTEST_RAIN: Final[Mapping[str, Decimal]] = {
    "EWR": Decimal("3.71"),
    "JFK": Decimal("3.68"),
    "LGA": Decimal("3.15"),
}
#: The one reading nobody believes: station, instant and mph.
OUTLIER: Final = ("EWR", datetime(2013, 2, 12, 8, tzinfo=UTC), Decimal("1048.36058"))


def rainy_days(stations: Sequence[StationFacts]) -> list[RainyDays]:
    """Each station's rainy days beside the number they are known to be."""
    return [_rainy_days(station) for station in stations if station.product == RAIN]


def problems(facts: DemoFacts) -> list[str]:
    """Why the demo failed, as sentences; empty when all is as it must be."""
    return [*_money_problems(facts), *_weather_problems(facts)]


def _rainy_days(station: StationFacts) -> RainyDays:
    threshold = station.thresholds[0][1]
    indexes = {day.day: day.index or Decimal(0) for day in station.days}
    return RainyDays(
        region=station.region,
        days=sum(index >= threshold for index in indexes.values()),
        expected_days=RAINY_DAYS[station.region],
        june_7=indexes[WETTEST_DAY],
        expected_june_7=WETTEST_RAIN[station.region],
    )


def _money_problems(facts: DemoFacts) -> Iterator[str]:
    created = sum(run.claims for run in facts.race)
    if not facts.claims:
        yield "nothing was paid"
    if created != facts.claims:
        yield f"the two runs created {created} claims, but {facts.claims} are stored"
    if facts.again.claims:
        yield f"calculating again created {facts.again.claims} claims"
    undone = sum(run.failures for run in (*facts.race, facts.again))
    if undone:
        yield f"{undone} calculations failed"
    if facts.duplicates:
        yield f"{facts.duplicates} claims pay money that another claim pays"
    yield from facts.violations
    if facts.verification.verdict is not Verdict.CLEAN:
        yield f"the verification says {facts.verification.verdict}"


def _weather_problems(facts: DemoFacts) -> Iterator[str]:
    for found in facts.rainy_days:
        if found.days != found.expected_days:
            yield f"{found.region} has {found.days} rainy days, not {found.expected_days}"
        if found.june_7 != found.expected_june_7:
            yield f"{found.region} has {found.june_7} in on {WETTEST_DAY}"
    if [_outlier(reading) for reading in facts.quarantined] != [OUTLIER]:
        yield f"{len(facts.quarantined)} readings are quarantined, not the one of 1048.36 mph alone"


def _outlier(reading: Unbelieved) -> tuple[str, datetime, Decimal]:
    return reading.region, reading.observed_at.astimezone(UTC), reading.value
