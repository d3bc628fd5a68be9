"""Local days: every instant belongs to exactly one date, in every zone of the world."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claimwright.domain.calendar import (
    DayBoundary,
    Segment,
    days_between,
    local_date,
    local_day_segments,
    local_day_span,
    zone_named,
    zone_names,
)
from claimwright.domain.errors import InvalidInputError

ZONES = sorted(zone_names())
FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2037, 12, 31, tzinfo=UTC)
SMALLEST = timedelta(microseconds=1)
ONE_DAY = timedelta(days=1)


def changes_of(zone: str, step: timedelta) -> Iterator[datetime]:
    """The instants from 1970 to 2037 at which the zone's offset changes, to the second."""
    information = ZoneInfo(zone)
    low, offset = FIRST, FIRST.astimezone(information).utcoffset()
    while low < LAST:
        high = low + step
        if high.astimezone(information).utcoffset() == offset:
            low = high
            continue
        start = low
        while high - start > timedelta(seconds=1):
            middle = start + timedelta(seconds=(high - start) // timedelta(seconds=2))
            same = middle.astimezone(information).utcoffset() == offset
            start, high = (middle, high) if same else (start, middle)
        yield high
        low, offset = high, high.astimezone(information).utcoffset()


def touches_midnight(zone: str, change: datetime) -> bool:
    """Whether the clock time skipped or repeated at a change touches a midnight."""
    before = (change - SMALLEST).astimezone(ZoneInfo(zone)).replace(tzinfo=None) + SMALLEST
    after = change.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    low, high = min(before, after), max(before, after)
    return low.date() != (high - SMALLEST).date() or low.time() == datetime.min.time()


def assert_days_partition_time(zone: str, around: datetime, boundary: DayBoundary) -> None:
    """The five dates around an instant follow each other without overlap or hole."""
    middle = local_date(around, zone, boundary)
    dates = days_between(middle - 2 * ONE_DAY, middle + 2 * ONE_DAY)
    owners = {day: local_day_segments(day, zone, boundary) for day in dates}
    everything = sorted((segment, day) for day, segments in owners.items() for segment in segments)
    for (lower, _), (upper, _) in pairwise(everything):
        assert lower.ends_at == upper.starts_at, (zone, middle)
    for segment, day in everything:
        half_way = segment.starts_at + (segment.ends_at - segment.starts_at) / 2
        for instant in (segment.starts_at, half_way, segment.ends_at - SMALLEST):
            assert local_date(instant, zone, boundary) == day, (zone, instant)


def test_days_partition_time_wherever_a_change_of_clocks_touches_midnight() -> None:
    found = 0
    for zone in distinct_zones():
        for change in changes_of(zone, timedelta(days=13)):
            if touches_midnight(zone, change):
                found += 1
                assert_days_partition_time(zone, change, DayBoundary.MIDNIGHT_OPENS_DAY)
    assert found > 1_000


def distinct_zones() -> list[str]:
    """One name for each set of rules: aliases change their clocks at the same instants."""
    by_offsets: dict[tuple[timedelta | None, ...], str] = {}
    samples = [FIRST + timedelta(days=40 * number) for number in range(620)]
    for zone in ZONES:
        information = ZoneInfo(zone)
        offsets = tuple(instant.astimezone(information).utcoffset() for instant in samples)
        by_offsets.setdefault(offsets, zone)
    return sorted(by_offsets.values())


@pytest.mark.prove
@pytest.mark.timeout(3_000)
@pytest.mark.parametrize("boundary", list(DayBoundary))
@pytest.mark.parametrize("first_letter", sorted({zone[0] for zone in ZONES}))
def test_days_partition_time_at_every_change_of_clocks_in_every_zone(
    first_letter: str, boundary: DayBoundary
) -> None:
    for zone in ZONES:
        if zone.startswith(first_letter):
            for change in changes_of(zone, timedelta(days=1)):
                assert_days_partition_time(zone, change, boundary)


@given(
    st.sampled_from(ZONES),
    st.datetimes(datetime(1970, 1, 1), datetime(2037, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001 - Hypothesis takes naive bounds
    st.sampled_from(DayBoundary),
)
def test_an_instant_lies_in_the_segments_of_its_own_date_alone(
    zone: str, instant: datetime, boundary: DayBoundary
) -> None:
    own = local_date(instant, zone, boundary)
    for day in days_between(own - 2 * ONE_DAY, own + 2 * ONE_DAY):
        inside = [s for s in local_day_segments(day, zone, boundary) if s[0] <= instant < s[1]]
        assert len(inside) == (day == own)
    assert_days_partition_time(zone, instant, boundary)


@given(
    st.sampled_from(ZONES),
    st.datetimes(datetime(1970, 1, 1), datetime(2037, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001 - Hypothesis takes naive bounds
    st.sampled_from(DayBoundary),
)
def test_a_date_does_not_depend_on_the_zone_an_instant_is_written_in(
    zone: str, instant: datetime, boundary: DayBoundary
) -> None:
    written = instant.astimezone(ZoneInfo(zone))
    assert local_date(written, zone, boundary) == local_date(instant, zone, boundary)


def test_a_repeated_midnight_written_in_local_time_closes_the_day_that_repeats_it() -> None:
    repeated = datetime(2025, 11, 2, 5, tzinfo=UTC).astimezone(ZoneInfo("America/Havana"))
    assert (repeated.hour, repeated.fold) == (0, 1)
    closing = local_date(repeated, "America/Havana", DayBoundary.MIDNIGHT_CLOSES_DAY)
    assert closing == date(2025, 11, 2)


def utc(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)


def test_the_date_that_apia_skipped_has_no_instants() -> None:
    assert local_day_segments(date(2011, 12, 30), "Pacific/Apia") == ()
    assert local_day_span(date(2011, 12, 30), "Pacific/Apia") is None
    before = local_day_segments(date(2011, 12, 29), "Pacific/Apia")
    after = local_day_segments(date(2011, 12, 31), "Pacific/Apia")
    assert before[-1].ends_at == after[0].starts_at == utc(date(2011, 12, 30), 10)


def test_two_dates_of_st_johns_come_back_after_clocks_went_back_over_midnight() -> None:
    zone, change = "America/St_Johns", utc(date(2006, 10, 29), 2, 31)
    midnight, second_midnight = utc(date(2006, 10, 29), 2, 30), utc(date(2006, 10, 29), 3, 30)
    assert local_day_segments(date(2006, 10, 28), zone) == (
        Segment(utc(date(2006, 10, 28), 2, 30), midnight),
        Segment(change, second_midnight),
    )
    assert local_day_segments(date(2006, 10, 29), zone) == (
        Segment(midnight, change),
        Segment(second_midnight, utc(date(2006, 10, 30), 3, 30)),
    )


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("America/New_York", date(2013, 3, 10), 23),
        ("America/New_York", date(2013, 11, 3), 25),
        ("America/Havana", date(2025, 11, 2), 25),
        ("America/Havana", date(2025, 3, 9), 23),
        ("Atlantic/Azores", date(2025, 10, 25), 24),
        ("Atlantic/Azores", date(2025, 10, 26), 25),
        ("America/Sao_Paulo", date(2018, 11, 4), 23),
        ("Australia/Lord_Howe", date(2025, 4, 6), 24.5),
        ("Australia/Lord_Howe", date(2025, 10, 5), 23.5),
        ("Asia/Kathmandu", date(2025, 6, 1), 24),
        ("America/St_Johns", date(2006, 10, 28), 24 + 59 / 60),
        ("America/St_Johns", date(2006, 10, 29), 24 + 1 / 60),
        ("Pacific/Apia", date(2011, 12, 30), 0),
    ],
)
@pytest.mark.parametrize("boundary", list(DayBoundary))
def test_a_local_day_is_as_long_as_its_zone_says(
    zone: str, day: date, hours: float, boundary: DayBoundary
) -> None:
    segments = local_day_segments(day, zone, boundary)
    length = sum((segment.ends_at - segment.starts_at for segment in segments), timedelta())
    assert length == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("zone", "day", "starts_at"),
    [
        ("Asia/Kathmandu", date(2025, 6, 1), utc(date(2025, 5, 31), 18, 15)),
        ("America/Havana", date(2025, 11, 2), utc(date(2025, 11, 2), 4)),
        ("America/Havana", date(2025, 11, 3), utc(date(2025, 11, 3), 5)),
        ("Atlantic/Azores", date(2025, 10, 26), utc(date(2025, 10, 26), 0)),
        ("Atlantic/Azores", date(2025, 10, 27), utc(date(2025, 10, 27), 1)),
        ("America/Sao_Paulo", date(2018, 11, 4), utc(date(2018, 11, 4), 3)),
        ("Australia/Lord_Howe", date(2025, 10, 5), utc(date(2025, 10, 4), 13, 30)),
        ("Australia/Lord_Howe", date(2025, 10, 6), utc(date(2025, 10, 5), 13)),
        ("Etc/GMT+5", date(2013, 6, 7), utc(date(2013, 6, 7), 5)),
    ],
)
def test_a_local_day_begins_where_its_zone_says(zone: str, day: date, starts_at: datetime) -> None:
    (segment,) = local_day_segments(day, zone)
    assert segment.starts_at == starts_at
    (shifted,) = local_day_segments(day, zone, DayBoundary.MIDNIGHT_CLOSES_DAY)
    assert shifted.starts_at == starts_at + SMALLEST
    assert shifted.ends_at == segment.ends_at + SMALLEST


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "Europe", "../etc/passwd", "UTC\x00"])
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="is not an IANA time zone"):
        zone_named(name)


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="has no time zone"):
        local_date(datetime(2025, 1, 1), "UTC")  # noqa: DTZ001 - what is refused


@pytest.mark.parametrize("day", [date(1799, 12, 31), date(2201, 1, 1)])
def test_a_date_far_outside_the_calendar_is_refused(day: date) -> None:
    with pytest.raises(InvalidInputError, match="is outside 1800-01-01 to 2200-12-31"):
        local_day_segments(day, "UTC")
