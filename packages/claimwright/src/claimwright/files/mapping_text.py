"""Mappings of readings from TOML, with errors that name the key."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import time
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Final, TypeVar

from claimwright.domain.errors import InvalidInputError
from claimwright.files.conversions import NAMED_CONVERSIONS, Conversion
from claimwright.files.instants import ISO_FORMAT, InstantRule, Repeated, Skipped
from claimwright.files.mapping import (
    MOST_VARIABLES,
    ObservedAtRule,
    ReadingsMapping,
    RegionRule,
    VariableRule,
)
from claimwright.files.numbers import number_of_cell
from claimwright.files.rows import Dialect

HALF_EVEN: Final = "half_even"
Word = TypeVar("Word", bound=StrEnum)
Made = TypeVar("Made")


def mapping_from_toml(text: str) -> ReadingsMapping:
    """The mapping a TOML document describes.

    Raises:
        InvalidInputError: not TOML, or a key is missing, unknown or wrong; it names the key.
    """
    try:
        values = tomllib.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:  # an endless number, endless brackets
        raise InvalidInputError(f"the mapping is not TOML: {error}") from None
    root = _Keys(values, "")
    file = root.keys("file", {})
    variables = root.tables("variables")
    missing = file.texts("missing", [""])
    mapping = ReadingsMapping(
        region=_region(root.keys("region")),
        observed_at=_observed_at(root.keys("observed_at")),
        variables=tuple(_variable(variable, missing) for variable in variables),
        dialect=Dialect(file.text("encoding", "utf-8"), file.text("delimiter", ",")),
        decimal_mark=file.text("decimal_mark", "."),
    )
    file.close()
    root.close()
    return mapping


def _region(keys: "_Keys") -> RegionRule:
    rule = RegionRule(keys.optional_text("column"), keys.optional_text("constant"))
    keys.close()
    return rule


def _observed_at(keys: "_Keys") -> ObservedAtRule:
    rule = keys.located(
        lambda: ObservedAtRule(
            columns=tuple(keys.one_or_more_texts("column")),
            rule=InstantRule(
                form=keys.text("format", ISO_FORMAT),
                zone=keys.optional_text("zone"),
                repeated=keys.word("repeated", Repeated, Repeated.REFUSE),
                skipped=keys.word("skipped", Skipped, Skipped.REFUSE),
                time_of_day=keys.time_of_day("time_of_day"),
            ),
            zone_column=keys.optional_text("zone_column"),
            fold_column=keys.optional_text("fold_column"),
        )
    )
    keys.close()
    return rule


def _variable(keys: "_Keys", missing: list[str]) -> VariableRule:
    name = keys.text("name")
    rule = VariableRule(
        name=name,
        unit=keys.text("unit"),
        column=keys.text("column", name),
        missing=frozenset(text.strip() for text in keys.texts("missing", missing)),
        conversion=_conversion(keys.keys("convert", {})),
    )
    keys.close()
    return rule


def _conversion(keys: "_Keys") -> Conversion:
    name = keys.optional_text("named")
    multiply, add = keys.optional_number("multiply"), keys.optional_number("add")
    decimals, rounding = keys.optional_whole("decimals"), keys.optional_text("rounding")
    if name is not None and not (multiply is None and add is None):
        raise keys.wrong("named", "stands instead of multiply and add")
    if name is not None and name not in NAMED_CONVERSIONS:
        raise keys.wrong("named", f"{name!r} is not one of {', '.join(NAMED_CONVERSIONS)}")
    if (decimals is None) != (rounding is None) or rounding not in (None, HALF_EVEN):
        raise keys.wrong("rounding", f"is {HALF_EVEN!r}, and goes with decimals")
    keys.close()
    linear = Conversion(
        Fraction(1) if multiply is None else Fraction(multiply),
        Fraction(0) if add is None else Fraction(add),
    )
    named = NAMED_CONVERSIONS[name] if name is not None else linear
    return keys.located(lambda: replace(named, decimals=decimals))


class _Keys:
    """A TOML table that remembers where it stands and which of its keys were read."""

    def __init__(self, values: object, path: str) -> None:
        if not isinstance(values, Mapping):
            raise InvalidInputError(f"{path}: is a table of keys and values")
        self._values = dict(values)
        self._path = path

    def wrong(self, name: str, reason: str) -> InvalidInputError:
        path = f"{self._path}.{name}" if self._path else name
        return InvalidInputError(f"{path}: {reason}")

    def located(self, make: Callable[[], Made]) -> Made:
        """What is made, or its error with this table's name before it."""
        try:
            return make()
        except InvalidInputError as error:
            if str(error).startswith(self._path):
                raise
            raise InvalidInputError(f"{self._path}: {error}") from None

    def take(self, name: str, default: object = None) -> object:
        value = self._values.pop(name, default)
        if value is None:
            raise self.wrong(name, "is missing")
        return value

    def keys(self, name: str, default: object = None) -> "_Keys":
        return _Keys(self.take(name, default), f"{self._path}.{name}" if self._path else name)

    def tables(self, name: str) -> list["_Keys"]:
        value = self.take(name)
        if not isinstance(value, list) or not 1 <= len(value) <= MOST_VARIABLES:
            raise self.wrong(name, f"is a list of 1 to {MOST_VARIABLES} tables")
        return [_Keys(item, f"{name}[{position}]") for position, item in enumerate(value)]

    def text(self, name: str, default: str | None = None) -> str:
        value = self.take(name, default)
        if not isinstance(value, str):
            raise self.wrong(name, f"{value!r} is not text")
        return value

    def optional_text(self, name: str) -> str | None:
        return self.text(name) if name in self._values else None

    def texts(self, name: str, default: list[str]) -> list[str]:
        value = self.take(name, default)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(name, f"{value!r} is not a list of texts")
        return list(value)

    def one_or_more_texts(self, name: str) -> list[str]:
        if isinstance(self._values.get(name), str):
            return [self.text(name)]
        return self.texts(name, [])

    def word(self, name: str, words: type[Word], default: Word) -> Word:
        value = self.text(name, default)
        try:
            return words(value)
        except ValueError:
            raise self.wrong(name, f"{value!r} is not one of {', '.join(words)}") from None

    def optional_number(self, name: str) -> Decimal | None:
        if name not in self._values:
            return None
        value = self.take(name)
        if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
            raise self.wrong(name, f"{value!r} is not a number")
        try:
            return number_of_cell(str(value))
        except InvalidInputError as error:
            raise self.wrong(name, str(error)) from None

    def optional_whole(self, name: str) -> int | None:
        value = self._values.pop(name, None)
        if isinstance(value, bool) or not isinstance(value, int | None):
            raise self.wrong(name, f"{value!r} is not a whole number")
        return value

    def time_of_day(self, name: str) -> time | None:
        value = self._values.pop(name, None)
        if isinstance(value, str):
            try:
                value = time.fromisoformat(value)
            except ValueError:
                raise self.wrong(name, f"{value!r} is not a time such as 12:00") from None
        if value is not None and (not isinstance(value, time) or value.tzinfo is not None):
            raise self.wrong(name, f"{value!r} is not a local time such as 12:00")
        return value

    def close(self) -> None:
        for name in self._values:
            raise self.wrong(name, "is not a key of a readings mapping")
