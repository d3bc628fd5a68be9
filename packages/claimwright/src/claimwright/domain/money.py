"""Amounts as integers in the minor unit of their currency, and percentages of them.

No float is ever involved: an amount enters as decimal text, a percentage as `Decimal`, and the
only rounding of money is half up to the minor unit, in `share_half_up`.
"""

from decimal import Decimal, InvalidOperation

from claimwright.domain.errors import InvalidMoneyError

# ISO 4217 active codes by the number of decimals of their minor unit.
_CODES_BY_DECIMALS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP "
        "BYN BZD CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD "
        "FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD "
        "KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD "
        "NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP "
        "SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED "
        "VES WST XCD YER ZAR ZMW ZWG"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_DECIMALS = {
    code: decimals for decimals, codes in _CODES_BY_DECIMALS.items() for code in codes.split()
}

#: The largest amount the engine stores, in minor units: 10^13 units of a 3-decimal currency.
LARGEST_AMOUNT_MINOR = 10**16

#: Decimals a percentage may have.
PERCENT_DECIMALS = 6

# Far more than money or weather needs; it bounds the work on a number given from outside.
_MOST_DIGITS = 60


def currency_codes() -> frozenset[str]:
    """Every currency that a policy can be held in."""
    return frozenset(_DECIMALS)


def currency_decimals(currency: str) -> int:
    """The number of decimals of the currency's minor unit (ISO 4217).

    Raises:
        InvalidMoneyError: the code is not an active ISO 4217 currency.
    """
    try:
        return _DECIMALS[currency]
    except KeyError:
        raise InvalidMoneyError(f"{currency!r} is not an ISO 4217 currency code") from None


def to_minor(amount: str | int | Decimal, currency: str) -> int:
    """An amount in units of its currency as an integer of minor units, exactly.

    Raises:
        InvalidMoneyError: not a number, more decimals than the currency has, or out of bounds.
    """
    decimals = currency_decimals(currency)
    exact = exact_decimal(amount)
    minor = scaled_exactly(exact, decimals)
    if minor is None:
        raise InvalidMoneyError(f"{exact} has more than the {decimals} decimals of {currency}")
    if abs(minor) > LARGEST_AMOUNT_MINOR:
        raise InvalidMoneyError(f"{exact} {currency} is beyond the largest amount that is stored")
    return minor


def from_minor(amount_minor: int, currency: str) -> Decimal:
    """An integer of minor units as an amount in units of its currency, exactly."""
    return Decimal(amount_minor).scaleb(-currency_decimals(currency))


def format_money(amount_minor: int, currency: str) -> str:
    """An amount for people: thousands separated by commas, all decimals, then the currency."""
    return f"{from_minor(amount_minor, currency):,f} {currency}"


def share_half_up(amount_minor: int, percent: Decimal) -> int:
    """``percent`` per cent of an amount, rounded half up to the minor unit, by integers alone.

    Args:
        amount_minor: at least 0.
        percent: at least 0; any number of decimals.
    """
    numerator, denominator = percent.as_integer_ratio()
    whole, rest = divmod(amount_minor * numerator, 100 * denominator)
    return whole + (2 * rest >= 100 * denominator)


def percentage_of(part_minor: int, whole_minor: int) -> Decimal:
    """What per cent of the whole a part is, rounded down to six decimals.

    Down, so that the percentages of several parts never add up to more than the tier that
    the parts belong to, however often a limit cut them.
    """
    scale = 10**PERCENT_DECIMALS
    return Decimal(part_minor * 100 * scale // whole_minor).scaleb(-PERCENT_DECIMALS)


def plain(number: Decimal) -> str:
    """A decimal without exponent and trailing zeros: one text for one value."""
    text = f"{number:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def scaled_exactly(number: Decimal, decimals: int) -> int | None:
    """The number times ten to the power of ``decimals``; `None` where that is not whole."""
    numerator, denominator = number.as_integer_ratio()
    scaled, rest = divmod(numerator * 10**decimals, denominator)
    return None if rest else scaled


def exact_decimal(value: object) -> Decimal:
    """A finite number of at most 60 digits, given as text, `int` or `Decimal`.

    Raises:
        InvalidMoneyError: a float, not a number, not finite, or too long.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise InvalidMoneyError(f"{value!r} is not an exact number: give text, int or Decimal")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise InvalidMoneyError(f"{value!r} is not a number") from None
    if not number.is_finite():
        raise InvalidMoneyError(f"{value!r} is not a finite number")
    _, digits, exponent = number.as_tuple()
    if max(len(digits), abs(int(exponent))) > _MOST_DIGITS:
        raise InvalidMoneyError(f"a number has at most {_MOST_DIGITS} digits")
    return number
