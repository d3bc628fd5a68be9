"""What makes a stored policy unusable: words that the rules do not know, or no longer."""

from decimal import Decimal

from claimwright.domain.calendar import zone_named
from claimwright.domain.errors import InvalidInputError
from claimwright.domain.money import currency_codes, currency_decimals, from_minor


def policy_fault(zone: str, currency: str) -> str | None:
    """Why the rules cannot take a policy of this zone and currency; `None` where they can."""
    try:
        zone_named(zone)
        currency_decimals(currency)
    except InvalidInputError as error:
        return str(error)
    return None


def known_amount(amount_minor: int, currency: str) -> Decimal | None:
    """An amount in units of its currency, exactly; `None` where its decimals are not known."""
    return from_minor(amount_minor, currency) if currency in currency_codes() else None
