"""Rows named by the values of a unique index, as a plan's condition and a request's values tell."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from contention.model.footprints import Resource
from contention.wire.catalogue import UniqueIndex

_TEXTS: Final = frozenset({25, 1043})
_NAME: Final = r'(?:[a-z_][a-z0-9_$]*|"(?:[^"]|"")+")'
_COLUMN: Final = rf"(?:{_NAME}\.)?(?P<column>{_NAME})"
_PARAMETER: Final = (
    r"(?:\$(?P<bare>\d+)|\(\$(?P<text>\d+)\)::text"
    r"|\(\$(?P<integer>\d+)\)::(?:smallint|integer|bigint))"
)
_LITERAL: Final = r"(?P<literal>-?\d+|true|false|'(?:[^']|'')*'(?=::))(?:::[a-z][a-z ]*[a-z0-9])?"
_RELABELLED: Final = _COLUMN.replace("<column>", "<relabelled>")
_TERM: Final = rf"\((?:{_COLUMN}|\({_RELABELLED}\)::text) = (?:{_PARAMETER}|{_LITERAL})\)"
_ONE_TERM: Final = re.compile(_TERM)
_ANY_TERM: Final = re.sub(r"\?P<\w+>", "?:", _TERM)
_TERMS: Final = re.compile(rf"\({_ANY_TERM}(?: AND {_ANY_TERM})+\)")


@dataclass(frozen=True, slots=True)
class Term:
    """A column's value: a parameter by number from 1, or a literal.

    Attributes:
        type_oid: of the column.
    """

    type_oid: int
    parameter: int | None
    literal: str

    def value(self, parameters: Sequence[str]) -> str | None:
        """The value in the one form that equal values have; `None` when that is not certain."""
        literal = self.literal
        if self.parameter is not None:
            if not 0 < self.parameter <= len(parameters):
                return None
            literal = parameters[self.parameter - 1]
        canonical = _CANONICAL.get(self.type_oid)
        return canonical(literal) if canonical else None


@dataclass(frozen=True, slots=True)
class RowKey:
    """The one row of a table that has these values under a unique index, if there is one."""

    table: str
    index: str
    terms: tuple[Term, ...]

    def resource(self, parameters: Sequence[str]) -> Resource | None:
        """The row with these parameters; `None` when it cannot be named with certainty."""
        values = [term.value(parameters) for term in self.terms]
        if None in values:
            return None
        return Resource(f"table {self.table}", self.index, ", ".join(filter(None, values)))


def row_key(
    table: str, index: UniqueIndex, condition: str, parameter_oids: Sequence[int]
) -> RowKey | None:
    """The row that a plan's index condition names; `None` when it may name several.

    Args:
        table: whose index it is.
        index: the index.
        condition: as EXPLAIN prints it, as in ``((two.a = $1) AND (two.b = 'x'::text))``.
        parameter_oids: types of the parameters, 0 where not known.
    """
    if not (_ONE_TERM.fullmatch(condition) or _TERMS.fullmatch(condition)):
        return None
    found: dict[str, Term] = {}
    types = dict(zip(index.columns, index.type_oids, strict=True))
    for match in _ONE_TERM.finditer(condition):
        column = _unquoted(match["column"] or match["relabelled"])
        if column not in types or column in found:
            return None
        if match["text"] and not _is_text(parameter_oids, int(match["text"])):
            return None
        number = match["bare"] or match["text"] or match["integer"]
        found[column] = Term(types[column], int(number) if number else None, match["literal"] or "")
    if set(found) != set(index.columns):
        return None
    return RowKey(table, index.name, tuple(found[column] for column in index.columns))


def _is_text(parameter_oids: Sequence[int], number: int) -> bool:
    """Whether a parameter's text is the text that it is shown with."""
    return number <= len(parameter_oids) and parameter_oids[number - 1] in _TEXTS


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _integer(literal: str) -> str | None:
    match = re.fullmatch(r"'?([+-]?[0-9]{1,19})'?", literal)
    return str(int(match[1])) if match else None


def _text(literal: str) -> str | None:
    """Text as it is; not what was cut, nor what stands for bytes that could not be read."""
    is_text = re.fullmatch(r"'(?:[^'\\]|'')*'", literal)
    return literal if is_text else None


def _uuid(literal: str) -> str | None:
    match = re.fullmatch(r"'([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})'", literal)
    return str(UUID(match[1])) if match else None


def _boolean(literal: str) -> str | None:
    return {"t": "true", "true": "true", "f": "false", "false": "false"}.get(literal.strip("'"))


def _date(literal: str) -> str | None:
    match = re.fullmatch(r"'([0-9]{4}-[0-9]{2}-[0-9]{2})'", literal)
    return match[1] if match else None


_CANONICAL: Final[dict[int, Callable[[str], str | None]]] = {
    16: _boolean,
    20: _integer,
    21: _integer,
    23: _integer,
    25: _text,
    1043: _text,
    1082: _date,
    2950: _uuid,
}
"""By the column's type: bool, int8, int2, int4, text, varchar, date, uuid."""
