"""The policies of the demo: varied, and the same in every run."""

from calendar import monthrange
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from claimwright.domain.money import from_minor

STATIONS: Final = ("EWR", "JFK", "LGA")
RAIN: Final = "nyc-rain"
WIND: Final = "nyc-wind"
PRODUCTS: Final = (RAIN, WIND)
CURRENCY: Final = "USD"
ZONE: Final = "America/New_York"
FIRST_DAY: Final = date(2013, 1, 1)
LAST_DAY: Final = date(2013, 12, 31)

_YEAR: Final = FIRST_DAY.year
_MONTHS: Final = 12
# Covers of 5,000.00 to 204,999.99. The step is prime, so that cents are odd and rounding shows.
_SMALLEST_COVER_MINOR: Final = 500_000
_COVERS_MINOR: Final = 20_000_000
_STEP_MINOR: Final = 7_919_773


@dataclass(frozen=True, slots=True)
class DemoPolicy:
    """One policy of the demo: the columns of a policies file, in their order."""

    policy_number: str
    product: str
    region: str
    coverage_amount: Decimal
    currency: str
    zone: str
    first_day: date
    last_day: date


def portfolio(count: int) -> list[DemoPolicy]:
    """So many policies, in order of their number; a smaller portfolio is the start of a larger.

    Six policies in a row hold both products at the three stations, with the same term; the
    terms are the year, its halves, its quarters and its months, again and again.
    """
    terms = _terms()
    return [_policy(place, terms) for place in range(count)]


def _terms() -> list[tuple[date, date]]:
    return [
        _stretch(first_month, length)
        for length in (12, 6, 3, 1)
        for first_month in range(1, _MONTHS + 1, length)
    ]


def _stretch(first_month: int, length: int) -> tuple[date, date]:
    last_month = first_month + length - 1
    return (
        date(_YEAR, first_month, 1),
        date(_YEAR, last_month, monthrange(_YEAR, last_month)[1]),
    )


def _policy(place: int, terms: list[tuple[date, date]]) -> DemoPolicy:
    group, seat = divmod(place, len(PRODUCTS) * len(STATIONS))
    first_day, last_day = terms[group % len(terms)]
    cover_minor = _SMALLEST_COVER_MINOR + place * _STEP_MINOR % _COVERS_MINOR
    return DemoPolicy(
        policy_number=f"NYC-{place + 1:05}",
        product=PRODUCTS[seat % len(PRODUCTS)],
        region=STATIONS[seat // len(PRODUCTS)],
        coverage_amount=from_minor(cover_minor, CURRENCY),
        currency=CURRENCY,
        zone=ZONE,
        first_day=first_day,
        last_day=last_day,
    )
