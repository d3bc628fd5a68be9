"""Numbers of cells: exact, in one way of writing, or an error that says what is wrong."""

import re
from decimal import Decimal
from typing import Final

from claimwright.domain.errors import InvalidInputError
from claimwright.domain.money import exact_decimal

#: What the database holds of a reading's value.
MOST_DECIMALS: Final = 20
MOST_WHOLE_DIGITS: Final = 12

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?")


def number_of_cell(text: str, decimal_mark: str = ".") -> Decimal:
    """The number a cell holds; digits are not grouped.

    Raises:
        InvalidInputError: it is no number, or is written in another way.
    """
    plain = text.strip()
    if decimal_mark != ".":
        if "." in plain:
            raise InvalidInputError(f"{text!r} has a point, the decimal mark is {decimal_mark!r}")
        plain = plain.replace(decimal_mark, ".")
    if not _NUMBER.fullmatch(plain):
        raise InvalidInputError(f"{text!r} is not a number such as 1234{decimal_mark}5")
    return exact_decimal(plain)


def storable(value: Decimal) -> Decimal:
    """The value, where a reading can have it.

    Raises:
        InvalidInputError: it has more digits than a reading can have.
    """
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and -exponent > MOST_DECIMALS:
        raise InvalidInputError(f"{value} has more than {MOST_DECIMALS} decimals")
    if value.copy_abs() >= 10**MOST_WHOLE_DIGITS:
        raise InvalidInputError(f"{value} has more than {MOST_WHOLE_DIGITS} digits")
    return value
