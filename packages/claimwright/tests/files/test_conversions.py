"""Conversions are exact, or rounded as asked, or refused."""

from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claimwright.domain.errors import InvalidInputError
from claimwright.files.conversions import NAMED_CONVERSIONS, Conversion
from claimwright.files.numbers import number_of_cell, storable

VALUES = st.decimals(min_value=-(10**11), max_value=10**11, places=8)


def to_celsius(decimals: int | None = None) -> Conversion:
    named = NAMED_CONVERSIONS["fahrenheit_to_celsius"]
    return Conversion(named.multiply, named.add, decimals)


def test_fahrenheit_that_has_an_exact_celsius_needs_no_rounding() -> None:
    assert to_celsius().apply(Decimal(212)) == 100
    assert to_celsius().apply(Decimal("39.2")) == 4
    assert str(to_celsius().apply(Decimal("-40.0"))) == "-40"


def test_fahrenheit_whose_celsius_has_no_end_is_refused_without_a_rounding() -> None:
    with pytest.raises(InvalidInputError, match="40 has no exact value"):
        to_celsius().apply(Decimal(40))


def test_rounding_is_half_even_and_of_the_exact_value() -> None:
    assert str(to_celsius(2).apply(Decimal("39.02"))) == "3.90"
    halves = Conversion(Fraction(1, 2), decimals=0)
    assert [halves.apply(Decimal(number)) for number in (1, 3, 5)] == [0, 2, 2]


def test_more_digits_than_decimal_arithmetic_keeps_by_itself_are_kept() -> None:
    inches = Decimal("9999999999.12345678901234567")
    millimetres = NAMED_CONVERSIONS["inches_to_millimetres"].apply(inches)
    assert str(millimetres) == "253999999977.735802440913580018"


@settings(deadline=None)  # the machine may be busy
@given(value=VALUES, decimals=st.integers(0, 12), name=st.sampled_from(sorted(NAMED_CONVERSIONS)))
def test_a_rounded_conversion_is_the_nearest_of_its_decimals(
    value: Decimal, decimals: int, name: str
) -> None:
    named = NAMED_CONVERSIONS[name]
    exact = Fraction(value) * named.multiply + named.add
    converted = Conversion(named.multiply, named.add, decimals).apply(value)
    assert abs(Fraction(converted) - exact) * 10**decimals <= Fraction(1, 2)
    assert converted.as_tuple().exponent == -decimals


@settings(deadline=None)  # the machine may be busy
@given(value=VALUES)
def test_inches_there_and_back_are_the_same_inches(value: Decimal) -> None:
    there = NAMED_CONVERSIONS["inches_to_millimetres"].apply(value)
    assert NAMED_CONVERSIONS["millimetres_to_inches"].apply(there) == value


@settings(deadline=None)  # the machine may be busy
@given(value=VALUES, factor=st.decimals(min_value="0.001", max_value=1000, places=3))
def test_an_exact_conversion_agrees_with_decimal_arithmetic(
    value: Decimal, factor: Decimal
) -> None:
    wide = Context(prec=80, rounding=ROUND_HALF_EVEN)
    assert Conversion(Fraction(factor)).apply(value) == wide.multiply(value, factor)


@pytest.mark.parametrize(
    "text", ["", "NaN", "inf", "1_000", "1,000", "٣", "0x10", "1e400", "--1", "1 000", "1.2.3"]
)
def test_what_is_not_plainly_a_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        number_of_cell(text)


@pytest.mark.parametrize(
    ("text", "value"), [(" 1.50 ", "1.50"), ("-.5", "-0.5"), ("1e-05", "0.00001"), ("+7", "7")]
)
def test_numbers_keep_every_digit_they_are_written_with(text: str, value: str) -> None:
    assert number_of_cell(text) == Decimal(value)


def test_a_decimal_comma_is_read_only_where_it_is_declared() -> None:
    assert number_of_cell("1,5", ",") == Decimal("1.5")
    with pytest.raises(InvalidInputError, match="has a point"):
        number_of_cell("1.234,5", ",")


def test_more_digits_than_a_reading_can_have_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="more than 20 decimals"):
        storable(Decimal("1e-21"))
    with pytest.raises(InvalidInputError, match="more than 12 digits"):
        storable(Decimal(10) ** 12)


def test_a_conversion_that_keeps_nothing_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="multiplies by 0"):
        Conversion(Fraction(0))
