"""Numbers of product terms: exact and within bounds, or an error that names their key."""

from decimal import Decimal

from claimwright.domain.errors import InvalidMoneyError, InvalidTermsError
from claimwright.domain.money import PERCENT_DECIMALS, exact_decimal, scaled_exactly

_MOST_WHOLE_DIGITS = 12


def terms_number(key: str, value: object) -> Decimal:
    """A percentage, threshold or bound: at most 12 digits before the point and 6 after it.

    Raises:
        InvalidTermsError: a float, not a finite number, or too many digits.
    """
    try:
        number = exact_decimal(value)
    except InvalidMoneyError as error:
        raise InvalidTermsError(key, str(error)) from None
    if scaled_exactly(number, PERCENT_DECIMALS) is None:
        raise InvalidTermsError(key, f"{number} has more than {PERCENT_DECIMALS} decimals")
    if number.copy_abs() >= 10**_MOST_WHOLE_DIGITS:
        raise InvalidTermsError(key, f"{number} has more than {_MOST_WHOLE_DIGITS} digits")
    return number
