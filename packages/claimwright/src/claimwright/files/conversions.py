"""Conversions of units: exact, or rounded as their mapping says.

Every conversion is ``value * multiply + add`` with two fractions, so that five ninths of a degree
is what it is and not its first digits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import Final

from claimwright.domain.errors import InvalidInputError
from claimwright.files.numbers import MOST_DECIMALS, MOST_WHOLE_DIGITS

# Room for the digits before and after the point; nothing is rounded by it.
_WIDE = Context(prec=MOST_DECIMALS + 2 * MOST_WHOLE_DIGITS + 40)


@dataclass(frozen=True, slots=True)
class Conversion:
    """A linear change of unit.

    Attributes:
        multiply: not 0.
        decimals: round half even to so many; `None` for an exact result or an error.
    """

    multiply: Fraction = Fraction(1)
    add: Fraction = Fraction(0)
    decimals: int | None = None

    def __post_init__(self) -> None:
        if not self.multiply:
            raise InvalidInputError("a conversion that multiplies by 0 keeps nothing")
        if self.decimals is not None and not 0 <= self.decimals <= MOST_DECIMALS:
            raise InvalidInputError(f"a conversion rounds to 0 to {MOST_DECIMALS} decimals")

    @property
    def changes_nothing(self) -> bool:
        """Whether every value stays as it is written."""
        return self.multiply == 1 and not self.add and self.decimals is None

    def apply(self, value: Decimal) -> Decimal:
        """The value in the other unit.

        Raises:
            InvalidInputError: the result has no end and no rounding was asked for.
        """
        exact = Fraction(*value.as_integer_ratio()) * self.multiply + self.add
        decimals = MOST_DECIMALS if self.decimals is None else self.decimals
        scaled = exact * 10**decimals
        if self.decimals is None and scaled.denominator != 1:
            raise InvalidInputError(
                f"{value} has no exact value of at most {MOST_DECIMALS} decimals after conversion; "
                "give the mapping's convert decimals and rounding"
            )
        # round() of a fraction rounds half to even.
        converted = _WIDE.scaleb(Decimal(round(scaled)), -decimals)
        return _without_trailing_zeros(converted) if self.decimals is None else converted


#: What a mapping can call by name, as value * multiply + add.
NAMED_CONVERSIONS: Final[Mapping[str, Conversion]] = {
    "fahrenheit_to_celsius": Conversion(Fraction(5, 9), Fraction(-160, 9)),
    "celsius_to_fahrenheit": Conversion(Fraction(9, 5), Fraction(32)),
    "kelvin_to_celsius": Conversion(add=Fraction("-273.15")),
    "celsius_to_kelvin": Conversion(add=Fraction("273.15")),
    "inches_to_millimetres": Conversion(Fraction("25.4")),
    "millimetres_to_inches": Conversion(1 / Fraction("25.4")),
    "miles_per_hour_to_metres_per_second": Conversion(Fraction("0.44704")),
    "metres_per_second_to_miles_per_hour": Conversion(1 / Fraction("0.44704")),
    "knots_to_metres_per_second": Conversion(Fraction(1852, 3600)),
    "kilometres_per_hour_to_metres_per_second": Conversion(Fraction(1000, 3600)),
    "metres_per_second_to_kilometres_per_hour": Conversion(Fraction("3.6")),
}


def _without_trailing_zeros(number: Decimal) -> Decimal:
    reduced = _WIDE.normalize(number)
    exponent = reduced.as_tuple().exponent
    return (
        reduced
        if isinstance(exponent, int) and exponent <= 0
        else _WIDE.quantize(reduced, Decimal(1))
    )
