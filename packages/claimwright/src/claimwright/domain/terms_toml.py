"""Product terms as the TOML file that describes them."""

import json
from collections.abc import Iterator, Mapping
from typing import Final

from claimwright.domain.terms import ProductTerms

# Keys whose text is a number in plain digits; all other text is quoted.
_NUMBERS: Final = frozenset(
    {"threshold", "payout_percent", "aggregate_limit_percent", "minimum", "maximum"}
)


def terms_to_toml(terms: ProductTerms) -> str:
    """A TOML document of the terms; reading it gives the same terms and the same hash."""
    return "\n".join(_lines("", terms.as_mapping())).lstrip("\n") + "\n"


def _lines(path: str, table: Mapping[str, object]) -> Iterator[str]:
    """The table's own keys, then its tables, then its lists of tables."""
    for key, value in table.items():
        if isinstance(value, str | int):
            yield f"{key} = {_text(key, value)}"
    for key, value in table.items():
        inner = f"{path}.{key}" if path else key
        if isinstance(value, Mapping):
            yield from ("", f"[{inner}]", *_lines(inner, value))
        if isinstance(value, list):
            for item in value:
                yield from ("", f"[[{inner}]]", *_lines(inner, item))


def _text(key: str, value: str | int) -> str:
    if isinstance(value, int) or key in _NUMBERS:
        return str(value)
    # A TOML basic string has JSON's escapes.
    return json.dumps(value, ensure_ascii=False)
