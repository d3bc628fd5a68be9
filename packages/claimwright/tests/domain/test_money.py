"""Money without floats: exact conversions, one rounding, one text for one number."""

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claimwright.domain.errors import InvalidMoneyError
from claimwright.domain.money import (
    LARGEST_AMOUNT_MINOR,
    currency_decimals,
    exact_decimal,
    format_money,
    from_minor,
    percentage_of,
    plain,
    share_half_up,
    to_minor,
)

from .strategies import covers_minor, limit_percents

CURRENCIES = {"JPY": 0, "USD": 2, "KWD": 3}

amounts_minor = st.integers(-LARGEST_AMOUNT_MINOR, LARGEST_AMOUNT_MINOR)
decimals = st.decimals(
    allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12
)


@given(amounts_minor, st.sampled_from(sorted(CURRENCIES)))
def test_an_amount_comes_back_as_it_was(amount_minor: int, currency: str) -> None:
    amount = from_minor(amount_minor, currency)
    assert to_minor(amount, currency) == amount_minor
    assert to_minor(str(amount), currency) == amount_minor


@given(amounts_minor, st.sampled_from(sorted(CURRENCIES)))
def test_an_amount_is_printed_with_all_decimals_of_its_currency(
    amount_minor: int, currency: str
) -> None:
    text = format_money(amount_minor, currency).removesuffix(f" {currency}").replace(",", "")
    _, point, fraction = text.partition(".")
    assert len(fraction) == CURRENCIES[currency]
    assert bool(point) == bool(fraction)
    assert to_minor(text, currency) == amount_minor


@pytest.mark.parametrize(("currency", "expected"), list(CURRENCIES.items()))
def test_the_decimals_of_a_currency_are_those_of_iso_4217(currency: str, expected: int) -> None:
    assert currency_decimals(currency) == expected


@pytest.mark.parametrize(
    ("amount", "currency", "reason"),
    [
        ("0.001", "USD", "more than the 2 decimals of USD"),
        ("0.5", "JPY", "more than the 0 decimals of JPY"),
        ("1." + "0" * 40 + "1", "USD", "more than the 2 decimals of USD"),
        ("100000000000000.01", "USD", "beyond the largest amount"),
        ("1e999999", "USD", "at most 60 digits"),
        ("1e-999999", "USD", "at most 60 digits"),
        ("9" * 61, "USD", "at most 60 digits"),
        ("NaN", "USD", "not a finite number"),
        ("-Infinity", "USD", "not a finite number"),
        ("ten", "USD", "not a number"),
        ("1", "XXX", "not an ISO 4217 currency code"),
        ("1", "usd", "not an ISO 4217 currency code"),
    ],
)
def test_an_amount_that_its_currency_cannot_express_is_refused(
    amount: str, currency: str, reason: str
) -> None:
    with pytest.raises(InvalidMoneyError, match=reason):
        to_minor(amount, currency)


@pytest.mark.parametrize("inexact", [0.1, True, None, b"1", [1]])
def test_only_text_whole_numbers_and_decimals_are_exact(inexact: object) -> None:
    with pytest.raises(InvalidMoneyError, match="not an exact number"):
        exact_decimal(inexact)


@given(covers_minor, limit_percents)
def test_a_share_is_the_nearest_minor_unit_and_the_upper_one_of_two(
    amount_minor: int, percent: Decimal
) -> None:
    exact = Fraction(amount_minor) * Fraction(percent) / 100
    share = share_half_up(amount_minor, percent)
    assert Fraction(-1, 2) < share - exact <= Fraction(1, 2)


@pytest.mark.parametrize(("amount_minor", "share_minor"), [(1, 1), (2, 1), (3, 2), (5, 3), (7, 4)])
def test_half_a_minor_unit_is_rounded_up(amount_minor: int, share_minor: int) -> None:
    assert share_half_up(amount_minor, Decimal(50)) == share_minor


@given(covers_minor, st.data())
def test_percentages_of_parts_never_add_up_above_the_whole(
    whole_minor: int, data: st.DataObject
) -> None:
    cuts = data.draw(st.lists(st.integers(0, whole_minor), max_size=6).map(sorted))
    edges = [0, *cuts, whole_minor]
    parts = [high - low for low, high in pairwise(edges)]
    percentages = [percentage_of(part, whole_minor) for part in parts]
    assert sum(percentages) <= 100
    assert sum(percentages) > 100 - Decimal(len(parts)).scaleb(-6)


@given(decimals)
def test_one_number_has_one_plain_text(number: Decimal) -> None:
    text = plain(number)
    assert Decimal(text) == number
    assert text == plain(number * 1) == plain(number.quantize(Decimal("1e-12")))
    assert "E" not in text
    assert text != "-0"
