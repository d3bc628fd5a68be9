"""A mapping: which cells of a row are the region, the instant and the variables' values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from claimwright.domain.errors import InvalidInputError
from claimwright.domain.names import MOST_NAME_CHARACTERS
from claimwright.files.conversions import Conversion
from claimwright.files.instants import InstantRule
from claimwright.files.numbers import number_of_cell, storable
from claimwright.files.rows import Cell, Dialect, positions_of

MOST_VARIABLES: Final = 100


class MappedReading(NamedTuple):
    """A reading that a row holds; the instant is in UTC."""

    region: str
    variable: str
    observed_at: datetime
    value: Decimal


@dataclass(frozen=True, slots=True)
class RegionRule:
    """The region: a column's text, or one for the whole file."""

    column: str | None = None
    constant: str | None = None

    def __post_init__(self) -> None:
        if (self.column is None) == (self.constant is None):
            raise InvalidInputError("region: give either a column or a constant")
        if self.constant is not None:
            checked_name("region.constant", self.constant)


@dataclass(frozen=True, slots=True)
class ObservedAtRule:
    """The instant: the columns whose texts, joined by a space, the rule reads.

    Attributes:
        zone_column: holds the zone or offset of each row, instead of one for the whole file.
        fold_column: holds 0 or 1: the first or second of two repeated local times.
    """

    columns: tuple[str, ...]
    rule: InstantRule
    zone_column: str | None = None
    fold_column: str | None = None

    def __post_init__(self) -> None:
        if not self.columns:
            raise InvalidInputError("observed_at: give a column")
        if self.zone_column is not None and self.rule.zone is not None:
            raise InvalidInputError("observed_at: give either a zone or a zone_column")


@dataclass(frozen=True, slots=True)
class VariableRule:
    """A variable: its column, its unit after conversion, and the conversion.

    Attributes:
        missing: texts that mean that nothing was measured.
    """

    name: str
    unit: str
    column: str
    missing: frozenset[str]
    conversion: Conversion = field(default_factory=Conversion)

    def __post_init__(self) -> None:
        checked_name("variables.name", self.name)
        checked_name("variables.unit", self.unit)


@dataclass(frozen=True, slots=True)
class ReadingsMapping:
    """How the rows of a file become readings."""

    region: RegionRule
    observed_at: ObservedAtRule
    variables: tuple[VariableRule, ...]
    dialect: Dialect = field(default_factory=Dialect)
    decimal_mark: str = "."

    def __post_init__(self) -> None:
        if not 1 <= len(self.variables) <= MOST_VARIABLES:
            raise InvalidInputError(f"variables: give 1 to {MOST_VARIABLES} of them")
        names = [variable.name for variable in self.variables]
        if len(set(names)) < len(names):
            raise InvalidInputError("variables: each name is given once")
        if self.decimal_mark not in (".", ","):
            raise InvalidInputError("file.decimal_mark: is '.' or ','")
        if self.decimal_mark == self.dialect.delimiter:
            raise InvalidInputError("file.decimal_mark: is not also the delimiter")

    @property
    def wanted_columns(self) -> tuple[str, ...]:
        """Every column the mapping reads, each once."""
        observed = self.observed_at
        some = (self.region.column, *observed.columns, observed.zone_column, observed.fold_column)
        named = [name for name in some if name is not None]
        return tuple(dict.fromkeys([*named, *(variable.column for variable in self.variables)]))


class RowMapper:
    """Reads rows of a file with these columns.

    Raises:
        InvalidInputError: the file lacks a column of the mapping; it names all that are missing.
    """

    def __init__(self, mapping: ReadingsMapping, columns: Sequence[str]) -> None:
        self._mapping = mapping
        self._at: Mapping[str, int] = positions_of(columns, mapping.wanted_columns)

    def readings(self, cells: Sequence[Cell]) -> list[MappedReading]:
        """The readings of a row, in the mapping's order; missing values make none.

        Raises:
            InvalidInputError: a cell is not what the mapping says; it names the column.
        """
        region = self._region(cells)
        observed_at = self._observed_at(cells)
        readings = []
        for variable in self._mapping.variables:
            value = self._value(variable, cells[self._at[variable.column]])
            if value is not None:
                readings.append(MappedReading(region, variable.name, observed_at, value))
        return readings

    def _region(self, cells: Sequence[Cell]) -> str:
        rule = self._mapping.region
        if rule.column is None:
            return rule.constant or ""
        return checked_name(rule.column, self._text(cells, rule.column))

    def _observed_at(self, cells: Sequence[Cell]) -> datetime:
        observed = self._mapping.observed_at
        text = " ".join(self._text(cells, column) for column in observed.columns)
        zone, fold = observed.zone_column, observed.fold_column
        try:
            return observed.rule.read(
                text,
                zone=self._text(cells, zone) if zone is not None else None,
                fold=self._fold(cells, fold) if fold is not None else None,
            )
        except InvalidInputError as error:
            raise InvalidInputError(f"{observed.columns[0]}: {error}") from None

    def _fold(self, cells: Sequence[Cell], column: str) -> int | None:
        text = (cells[self._at[column]] or "").strip()
        if text not in ("", "0", "1"):
            raise InvalidInputError(f"{column} is 0 or 1, not {text[:50]!r}")
        return int(text) if text else None

    def _value(self, variable: VariableRule, cell: Cell) -> Decimal | None:
        if cell is None or cell.strip() in variable.missing:
            return None
        try:
            value = number_of_cell(cell, self._mapping.decimal_mark)
            if not variable.conversion.changes_nothing:
                value = variable.conversion.apply(value)
            return storable(value)
        except InvalidInputError as error:
            raise InvalidInputError(f"{variable.column}: {error}") from None

    def _text(self, cells: Sequence[Cell], column: str) -> str:
        text = (cells[self._at[column]] or "").strip()
        if not text:
            raise InvalidInputError(f"{column}: is empty")
        return text


def checked_name(key: str, text: str) -> str:
    """A name of a region, variable, unit or policy.

    Raises:
        InvalidInputError: empty, with spaces around it, too long, or with unprintable characters.
    """
    if not text or text != text.strip():
        raise InvalidInputError(f"{key}: is empty or has spaces around it")
    if len(text) > MOST_NAME_CHARACTERS:
        raise InvalidInputError(f"{key}: has more than {MOST_NAME_CHARACTERS} characters")
    if not text.isprintable():
        raise InvalidInputError(f"{key}: {text!r} has characters that cannot be printed")
    return text
