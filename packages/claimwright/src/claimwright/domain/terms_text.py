"""Product terms from TOML or plain mappings, with errors that name the key."""

import json
import tomllib
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

from claimwright.domain.calendar import DayBoundary
from claimwright.domain.errors import InvalidTermsError
from claimwright.domain.index import Comparison, IndexDefinition, IndexKind
from claimwright.domain.numbers import terms_number
from claimwright.domain.periods import PayoutFrequency
from claimwright.domain.schedule import MOST_TIERS, PayoutSchedule, Tier
from claimwright.domain.terms import ProductTerms

Word = TypeVar("Word", bound=StrEnum)


class _Table:
    """A mapping that remembers where it stands and which of its keys were read."""

    def __init__(self, values: object, path: str) -> None:
        if not isinstance(values, Mapping):
            raise InvalidTermsError(path or "terms", "is a table of keys and values")
        self._values = dict(values)
        self._path = path

    def key(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name

    def take(self, name: str, default: object = None) -> object:
        value = self._values.pop(name, default)
        if value is None:
            raise InvalidTermsError(self.key(name), "is missing")
        return value

    def table(self, name: str) -> "_Table":
        return _Table(self.take(name), self.key(name))

    def text(self, name: str) -> str:
        value = self.take(name)
        if not isinstance(value, str):
            raise InvalidTermsError(self.key(name), f"{value!r} is not text")
        return value

    def whole(self, name: str, default: int | None = None) -> int:
        value = self.take(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidTermsError(self.key(name), f"{value!r} is not a whole number")
        return value

    def number(self, name: str, default: str | None = None) -> Decimal:
        return terms_number(self.key(name), self.take(name, default))

    def word(self, name: str, words: type[Word], default: str | None = None) -> Word:
        value = self.take(name, default)
        try:
            return words(str(value))
        except ValueError:
            known = ", ".join(words)
            raise InvalidTermsError(self.key(name), f"{value!r} is not one of {known}") from None

    def optional(self, name: str, read: "Callable[[str], int]") -> int | None:
        return read(name) if name in self._values else None

    def tables(self, name: str) -> list["_Table"]:
        value = self.take(name)
        if not isinstance(value, list) or not value or len(value) > MOST_TIERS:
            raise InvalidTermsError(self.key(name), f"is a list of 1 to {MOST_TIERS} tables")
        return [
            _Table(item, f"{self.key(name)}[{position}]") for position, item in enumerate(value)
        ]

    def close(self) -> None:
        for name in self._values:
            raise InvalidTermsError(self.key(name), "is not a key of product terms")


def terms_from_toml(text: str) -> ProductTerms:
    """The terms a TOML document describes; its numbers are read exactly.

    Raises:
        InvalidTermsError: not TOML, or terms that may not exist; it names the key.
    """
    try:
        values = tomllib.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:  # an endless number, endless brackets
        raise InvalidTermsError("terms", f"is not TOML: {error}") from None
    return terms_from_mapping(values)


def terms_from_canonical_json(text: str) -> ProductTerms:
    """The terms that a canonical JSON text stands for.

    Raises:
        InvalidTermsError: not JSON, terms that may not exist, or another text than the canonical
            one, whose hash would not be that of the terms.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidTermsError("terms", f"is not JSON: {error}") from None
    terms = terms_from_mapping(values)
    if terms.canonical_json != text:
        raise InvalidTermsError("terms", "is not the canonical text of its terms")
    return terms


def terms_from_mapping(values: Mapping[str, object]) -> ProductTerms:
    """The terms a mapping of the TOML file's shape describes.

    Raises:
        InvalidTermsError: a key is missing, unknown or wrong; it names the key.
    """
    root = _Table(values, "")
    product, index, payout = root.table("product"), root.table("index"), root.table("payout")
    tiers = payout.tables("tiers")
    terms = ProductTerms(
        code=product.text("code"),
        peril=product.text("peril"),
        index=_index(index),
        comparison=payout.word("comparison", Comparison),
        schedule=PayoutSchedule(tuple(_tier(tier, rank) for rank, tier in enumerate(tiers, 1))),
        thresholds=tuple(tier.number("threshold") for tier in tiers),
        frequency=payout.word("frequency", PayoutFrequency),
        aggregate_limit_percent=payout.number("aggregate_limit_percent", "100"),
        day_boundary=payout.word("day_boundary", DayBoundary, DayBoundary.MIDNIGHT_OPENS_DAY),
    )
    for table in (root, product, index, payout, *tiers):
        table.close()
    return terms


def _index(table: _Table) -> IndexDefinition:
    plausible = table.table("plausible")
    definition = IndexDefinition(
        variable=table.text("variable"),
        unit=table.text("unit"),
        kind=table.word("kind", IndexKind),
        plausible_minimum=plausible.number("minimum"),
        plausible_maximum=plausible.number("maximum"),
        window_hours=table.optional("window_hours", table.whole),
        cadence_minutes=table.whole("cadence_minutes", 60),
    )
    plausible.close()
    return definition


def _tier(table: _Table, rank: int) -> Tier:
    return Tier(table.text("level"), rank, table.number("payout_percent"))
