"""Instants: UTC from text, and never a guess where clocks went back or forward."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claimwright.domain.errors import InvalidInputError
from claimwright.files.instants import InstantRule, Repeated, Skipped

NEW_YORK = "America/New_York"
LOCAL = "%Y-%m-%d %H:%M"


def local(repeated: str = "refuse", skipped: str = "refuse") -> InstantRule:
    return InstantRule(LOCAL, NEW_YORK, Repeated(repeated), Skipped(skipped))


def utc(year: int, month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


def test_iso_text_with_an_offset_needs_no_zone() -> None:
    assert InstantRule().read("2013-01-01T06:00:00Z") == utc(2013, 1, 1, 6)
    assert InstantRule().read(" 2013-01-01 06:00:00+05:30 ") == utc(2013, 1, 1, 0, 30)


def test_text_without_an_offset_and_no_zone_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="carries no offset"):
        InstantRule().read("2013-01-01T06:00:00")


def test_text_with_an_offset_and_a_zone_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="carries an offset, and the mapping gives a zone"):
        InstantRule(zone=NEW_YORK).read("2013-01-01T06:00:00Z")


def test_a_repeated_local_time_is_refused_unless_the_mapping_says_which() -> None:
    with pytest.raises(InvalidInputError, match="2013-11-03 01:30:00 happened twice"):
        local().read("2013-11-03 01:30")
    assert local("first").read("2013-11-03 01:30") == utc(2013, 11, 3, 5, 30)
    assert local("second").read("2013-11-03 01:30") == utc(2013, 11, 3, 6, 30)


def test_a_fold_of_the_row_says_which_of_two_repeated_times_it_is() -> None:
    assert local("second").read("2013-11-03 01:30", fold=0) == utc(2013, 11, 3, 5, 30)
    assert local().read("2013-11-03 01:30", fold=1) == utc(2013, 11, 3, 6, 30)


def test_a_skipped_local_time_is_refused_unless_the_mapping_says_how() -> None:
    with pytest.raises(InvalidInputError, match="2013-03-10 02:30:00 does not exist"):
        local().read("2013-03-10 02:30")
    assert local(skipped="offset_before").read("2013-03-10 02:30") == utc(2013, 3, 10, 7, 30)
    assert local(skipped="offset_after").read("2013-03-10 02:30") == utc(2013, 3, 10, 6, 30)


def test_a_fold_does_not_make_a_skipped_time_exist() -> None:
    with pytest.raises(InvalidInputError, match="does not exist"):
        local().read("2013-03-10 02:30", fold=1)


def test_a_date_that_a_zone_left_out_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="does not exist in Pacific/Apia"):
        InstantRule("%Y/%m/%d", "Pacific/Apia").read("2011/12/30")


def test_a_day_without_midnight_is_read_at_a_time_it_has() -> None:
    with pytest.raises(InvalidInputError, match="does not exist"):
        InstantRule("%Y/%m/%d", "America/Sao_Paulo").read("2018/11/04")
    noon = InstantRule("%Y/%m/%d", "America/Sao_Paulo", time_of_day=time(12))
    assert noon.read("2018/11/04") == utc(2018, 11, 4, 14)


def test_an_offset_stands_for_a_zone_and_a_row_can_have_its_own() -> None:
    assert InstantRule(LOCAL, "-05:00").read("2013-11-03 01:30") == utc(2013, 11, 3, 6, 30)
    assert InstantRule(LOCAL).read("2013-11-03 01:30", zone="+0545") == utc(2013, 11, 2, 19, 45)
    with pytest.raises(InvalidInputError, match="not an IANA time zone"):
        InstantRule(LOCAL).read("2013-11-03 01:30", zone="Mars/Olympus")


@pytest.mark.parametrize(
    "text", ["", "yesterday", "20130101", "2013-W01-1", "2013-13-01", "2013-01-01Tx", "2013-01-01X"]
)
def test_text_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="is not of the form"):
        InstantRule(zone="UTC").read(text)


@pytest.mark.parametrize("year", ["0001", "1800", "2200", "9999"])
def test_years_that_no_day_bounds_are_known_for_are_refused(year: str) -> None:
    with pytest.raises(InvalidInputError, match="is not between 1801 and 2199"):
        InstantRule(zone="UTC").read(f"{year}-01-01")


@pytest.mark.parametrize("form", ["%H:%M", "%d.%m.", "%Y-%m-%d %Z", "%Y-%j-%Q", "%m/%Y"])
def test_a_format_that_does_not_name_an_instant_is_refused(form: str) -> None:
    with pytest.raises(InvalidInputError):
        InstantRule(form)


@settings(deadline=None)  # the machine may be busy
@given(
    instant=st.datetimes(datetime(1970, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001 - made aware below
    zone=st.sampled_from(["America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
)
def test_local_text_with_its_fold_gives_back_the_instant(instant: datetime, zone: str) -> None:
    moment = instant.replace(tzinfo=UTC, second=0, microsecond=0)
    there = moment.astimezone(ZoneInfo(zone))
    rule = InstantRule(LOCAL, zone)
    assert rule.read(f"{there:{LOCAL}}", fold=there.fold) == moment
