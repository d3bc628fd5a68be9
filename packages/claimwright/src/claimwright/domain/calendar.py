"""Local days: which UTC instants belong to which date of a zone.

A local day has 23, 24 or 25 hours, sometimes others; some zones have no midnight on some day; some
dates do not exist at all (Pacific/Apia 2011-12-30); and where clocks went back across midnight
(America/St_Johns 2006-10-29 00:01 to 23:01) a date comes back after the next one has begun. So a
day is a tuple of segments, and every segment ends at a local midnight or at a change of the
zone's offset.

Day bounds are computed here alone and handed to the database as values: PostgreSQL's own zone
data disagrees with Python's on the midnights of some zones.
"""

from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from claimwright.domain.errors import InvalidInputError

_SMALLEST = timedelta(microseconds=1)
_ONE_DAY = timedelta(days=1)
# A date of any zone lies within this many hours around the same date of UTC: offsets stay
# within 24 hours (PEP 615), and a change of the date line moves a zone by a day.
_REACH = timedelta(hours=50)
_FIRST_DAY, _LAST_DAY = date(1800, 1, 1), date(2200, 12, 31)


class DayBoundary(StrEnum):
    """To which day a reading stamped exactly at local midnight belongs."""

    MIDNIGHT_OPENS_DAY = "midnight_opens_day"
    """A stamp names the start of what was measured: 00:00 is the day's first."""
    MIDNIGHT_CLOSES_DAY = "midnight_closes_day"
    """A stamp names the end of what was measured: 00:00 is the last of the day before."""


class Segment(NamedTuple):
    """UTC instants from ``starts_at`` up to, not including, ``ends_at``."""

    starts_at: datetime
    ends_at: datetime


@lru_cache(maxsize=1024)
def zone_named(name: str) -> ZoneInfo:
    """The IANA time zone of that name, from the package ``tzdata``.

    Not from the operating system, as ``ZoneInfo(name)`` would: machines that calculate have to
    agree on every local day, and the package's version is pinned with the engine's.

    Raises:
        InvalidInputError: there is no such zone.
    """
    if name not in zone_names():
        raise InvalidInputError(f"{name!r} is not an IANA time zone")
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as data:
        return ZoneInfo.from_file(data, key=name)


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """Every IANA time zone that a policy can be held in."""
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


def local_date(
    instant: datetime, zone: str, boundary: DayBoundary = DayBoundary.MIDNIGHT_OPENS_DAY
) -> date:
    """The date of the zone to which an aware instant belongs."""
    if instant.tzinfo is None:
        raise InvalidInputError(f"{instant} has no time zone: an instant is stored in UTC")
    # In UTC, because arithmetic on local time steps over the repeated hour of a change.
    moment = instant.astimezone(UTC)
    if boundary is DayBoundary.MIDNIGHT_CLOSES_DAY:
        moment -= _SMALLEST
    return moment.astimezone(zone_named(zone)).date()


@lru_cache(maxsize=65536)
def local_day_segments(
    day: date, zone: str, boundary: DayBoundary = DayBoundary.MIDNIGHT_OPENS_DAY
) -> tuple[Segment, ...]:
    """The UTC instants of a local date, in rising order; empty where the date does not exist.

    Raises:
        InvalidInputError: a date outside 1800 to 2200.
    """
    require_known_day(day)
    shift = _SMALLEST if boundary is DayBoundary.MIDNIGHT_CLOSES_DAY else timedelta()
    midnight = datetime.combine(day, time(), UTC)
    segments: list[Segment] = []
    for piece in _constant_offset_pieces(midnight - _REACH, midnight + _REACH, zone_named(zone)):
        offset = _offset(piece.starts_at, zone_named(zone))
        starts_at = max(piece.starts_at, midnight - offset)
        ends_at = min(piece.ends_at, midnight - offset + _ONE_DAY)
        if starts_at < ends_at:
            _append(segments, Segment(starts_at, ends_at))
    return tuple(Segment(start + shift, end + shift) for start, end in segments)


def require_known_day(day: date) -> None:
    """See that the bounds of a date can be known in every zone.

    Raises:
        InvalidInputError: a date outside 1800 to 2200.
    """
    if not _FIRST_DAY <= day <= _LAST_DAY:
        raise InvalidInputError(f"{day} is outside {_FIRST_DAY} to {_LAST_DAY}")


def local_day_span(
    day: date, zone: str, boundary: DayBoundary = DayBoundary.MIDNIGHT_OPENS_DAY
) -> Segment | None:
    """From the first to after the last instant of a local date; `None` where it does not exist."""
    segments = local_day_segments(day, zone, boundary)
    return Segment(segments[0].starts_at, segments[-1].ends_at) if segments else None


def days_between(first: date, last: date) -> list[date]:
    """Every date from the first to the last, both included."""
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    offset = instant.astimezone(zone).utcoffset()
    return timedelta() if offset is None else offset


def _constant_offset_pieces(start: datetime, end: datetime, zone: ZoneInfo) -> list[Segment]:
    """The stretch cut where the zone's offset changes, found by bisection to the second."""
    hours = range(int((end - start) / timedelta(hours=1)) + 1)
    ticks = [start + timedelta(hours=number) for number in hours]
    cuts = [
        _change_between(low, high, zone)
        for low, high in pairwise(ticks)
        if _offset(low, zone) != _offset(high, zone)
    ]
    return [Segment(low, high) for low, high in pairwise([start, *cuts, end])]


def _change_between(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    """The first second at which the offset of ``high`` holds; ``low`` has another one."""
    after = _offset(high, zone)
    span_seconds = int((high - low).total_seconds())
    first, last = 0, span_seconds
    while last - first > 1:
        middle = (first + last) // 2
        if _offset(low + timedelta(seconds=middle), zone) == after:
            last = middle
        else:
            first = middle
    return low + timedelta(seconds=last)


def _append(segments: list[Segment], segment: Segment) -> None:
    if segments and segments[-1].ends_at == segment.starts_at:
        segments[-1] = Segment(segments[-1].starts_at, segment.ends_at)
    else:
        segments.append(segment)
