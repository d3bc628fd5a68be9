"""The demo's own files, its portfolio, and where the labels of its charts go."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from claimwright.demo.facts import DayFacts
from claimwright.demo.inputs import product_terms, write_policies
from claimwright.demo.labels import place_labels
from claimwright.demo.portfolio import FIRST_DAY, LAST_DAY, PRODUCTS, STATIONS, portfolio
from claimwright.domain.calendar import days_between
from claimwright.domain.terms_text import terms_from_toml

EXAMPLES = Path(__file__).parents[4] / "examples"


def test_the_rain_cover_is_that_of_the_examples() -> None:
    example = terms_from_toml((EXAMPLES / "nyc-rain.toml").read_text(encoding="utf-8"))
    assert product_terms()[0].sha256 == example.sha256


def test_a_smaller_portfolio_is_the_start_of_a_larger_one() -> None:
    assert portfolio(100) == portfolio(3_000)[:100]


def test_the_portfolio_is_spread_over_products_stations_and_terms() -> None:
    policies = portfolio(3_000)
    seats = [(policy.product, policy.region) for policy in policies]
    assert {seats.count((code, at)) for code in PRODUCTS for at in STATIONS} == {500}
    lengths = [(policy.last_day - policy.first_day).days + 1 for policy in policies]
    assert {365, 181, 184, 90, 28} <= set(lengths)
    assert all(FIRST_DAY <= policy.first_day <= policy.last_day <= LAST_DAY for policy in policies)


def test_covers_are_varied_and_most_have_odd_cents() -> None:
    covers = [policy.coverage_amount for policy in portfolio(3_000)]
    assert len(set(covers)) == len(covers)
    assert sum(cover * 20 % 1 != 0 for cover in covers) > len(covers) / 2
    assert Decimal(5_000) <= min(covers) <= max(covers) < Decimal(205_000)


def test_the_policies_file_has_a_header_and_a_row_a_policy(tmp_path: Path) -> None:
    write_policies(portfolio(6), tmp_path / "policies.csv")
    lines = (tmp_path / "policies.csv").read_text(encoding="utf-8").splitlines()
    assert lines[1].startswith("NYC-00001,nyc-rain,EWR,5000.00,USD,America/New_York,2013-01-01,")
    assert len(lines) == 7


def year(paid: dict[date, Decimal]) -> list[DayFacts]:
    """A year in which these days paid, more the later they are."""
    return [
        DayFacts(
            day=day,
            index=paid.get(day, Decimal(0)),
            hours=(),
            crossings=(),
            claims=int(day in paid),
            paid_minor=day.toordinal() if day in paid else 0,
        )
        for day in days_between(FIRST_DAY, LAST_DAY)
    ]


@pytest.mark.parametrize("step_days", [1, 5, 20, 49, 60])
def test_labels_touch_neither_each_other_nor_another_mark(step_days: int) -> None:
    marked = days_between(FIRST_DAY, LAST_DAY)[::step_days]
    days = year({day: Decimal(10 + 3 * (day.day % 4)) / 10 for day in marked})
    labels = place_labels(days, 48, Decimal(5))
    for label in labels:
        assert not any(label.touches(other) for other in labels if other is not label)
        assert not any(label.hides(day) for day in days if day.claims)
        assert label.starts_on >= FIRST_DAY
        assert label.ends_on <= LAST_DAY


def test_a_day_far_from_all_others_has_a_label() -> None:
    days = year({date(2013, 6, 7): Decimal(3), date(2013, 12, 29): Decimal(1)})
    assert [label.day.day.month for label in place_labels(days, 48, Decimal(5))] == [12, 6]
