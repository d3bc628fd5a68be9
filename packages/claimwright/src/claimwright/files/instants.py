"""Instants of cells: text in some form, of some zone, as UTC."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from enum import StrEnum
from functools import lru_cache
from typing import Final

from claimwright.domain.calendar import zone_named
from claimwright.domain.errors import InvalidInputError

ISO_FORMAT: Final = "iso"
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9].*)?")
_OFFSET = re.compile(r"([+-])([0-9]{2}):?([0-9]{2})")
# Day bounds are known from 1800 to 2200; a day's index looks a few weeks around it.
_FIRST_YEAR, _LAST_YEAR = 1801, 2199
_SAMPLE = datetime(2003, 11, 24, 13, 47, 58, tzinfo=UTC)


class Repeated(StrEnum):
    """Which of the two a local time is when clocks went back over it."""

    REFUSE = "refuse"
    FIRST = "first"
    SECOND = "second"


class Skipped(StrEnum):
    """With which offset to read a local time that clocks went forward over."""

    REFUSE = "refuse"
    OFFSET_BEFORE = "offset_before"
    OFFSET_AFTER = "offset_after"


@dataclass(frozen=True, slots=True)
class InstantRule:
    """How a cell's text becomes an instant.

    Attributes:
        form: ``iso``, or a format of `datetime.strptime`.
        zone: an IANA zone or an offset such as ``+05:30`` of times that carry none; `None` where
            a column holds it, or every text carries its offset.
        time_of_day: for dates alone: at which local time they are stamped.
    """

    form: str = ISO_FORMAT
    zone: str | None = None
    repeated: Repeated = Repeated.REFUSE
    skipped: Skipped = Skipped.REFUSE
    time_of_day: time | None = None

    def __post_init__(self) -> None:
        if self.form != ISO_FORMAT:
            _check_form(self.form)
        if self.zone is not None:
            zone_of(self.zone)

    def read(self, text: str, *, zone: str | None = None, fold: int | None = None) -> datetime:
        """The instant in UTC.

        Args:
            text: the cell's text.
            zone: the row's own zone, where a column holds it.
            fold: 0 or 1 where a column says which of two repeated times it is.

        Raises:
            InvalidInputError: it has another form, or is none or two instants of its zone.
        """
        moment = self._parsed(text.strip())
        if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
            raise InvalidInputError(f"{text!r} is not between {_FIRST_YEAR} and {_LAST_YEAR}")
        if self.time_of_day is not None:
            moment = datetime.combine(moment, self.time_of_day, moment.tzinfo)
        name = zone if zone is not None else self.zone
        if moment.tzinfo is not None:
            if name is not None:
                raise InvalidInputError(f"{text!r} carries an offset, and the mapping gives a zone")
            return moment.astimezone(UTC)
        if name is None:
            raise InvalidInputError(f"{text!r} carries no offset, and the mapping gives no zone")
        return self._in_zone(moment, name, fold).astimezone(UTC)

    def _parsed(self, text: str) -> datetime:
        try:
            if self.form != ISO_FORMAT:
                return datetime.strptime(text, self.form)  # noqa: DTZ007 - its zone comes below
            if _ISO_DATE.fullmatch(text):
                return datetime.fromisoformat(text)
        except ValueError:
            pass
        form = "2013-06-07T14:00:00Z" if self.form == ISO_FORMAT else self.form
        raise InvalidInputError(f"{text!r} is not of the form {form}")

    def _in_zone(self, local: datetime, name: str, fold: int | None) -> datetime:
        zone = zone_of(name)
        first, second = (local.replace(tzinfo=zone, fold=number) for number in (0, 1))
        offsets = (first.utcoffset() or timedelta(), second.utcoffset() or timedelta())
        if offsets[0] == offsets[1]:
            return first
        if offsets[0] > offsets[1]:
            if fold is not None:
                return second if fold else first
            return self._of_repeated(first, second, name)
        if self.skipped is Skipped.REFUSE:
            raise InvalidInputError(
                f"{local} does not exist in {name}: clocks went forward over it"
            )
        return first if self.skipped is Skipped.OFFSET_BEFORE else second

    def _of_repeated(self, first: datetime, second: datetime, name: str) -> datetime:
        if self.repeated is Repeated.REFUSE:
            raise InvalidInputError(
                f"{first.replace(tzinfo=None)} happened twice in {name}: clocks went back over it"
            )
        return first if self.repeated is Repeated.FIRST else second


@lru_cache(maxsize=1024)
def zone_of(name: str) -> tzinfo:
    """The zone of an IANA name or of an offset such as ``+05:30``.

    Raises:
        InvalidInputError: it is neither.
    """
    match = _OFFSET.fullmatch(name)
    if not match:
        return zone_named(name)
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    if offset >= timedelta(days=1):
        raise InvalidInputError(f"{name!r} is not an offset below 24 hours")
    return timezone(-offset if match[1] == "-" else offset)


def _check_form(form: str) -> None:
    if "%Z" in form:
        raise InvalidInputError("%Z reads only a few names of zones; use %z, a zone or a column")
    try:
        again = datetime.strptime(_SAMPLE.strftime(form), form)  # noqa: DTZ007 - only its date counts
    except ValueError as error:
        raise InvalidInputError(f"{form!r} is not a format of strptime: {error}") from None
    if again.date() != _SAMPLE.date():
        raise InvalidInputError(f"{form!r} does not name a year, a month and a day")
