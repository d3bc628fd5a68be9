"""Mappings: valid at birth with errors that name the key, and what they make of rows."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from claimwright.domain.errors import InvalidInputError
from claimwright.files.mapping import MappedReading, RowMapper
from claimwright.files.mapping_text import mapping_from_toml

BASE = """
[region]
column = "station"
[observed_at]
column = "at"
[[variables]]
name = "rain"
unit = "mm"
"""
COLUMNS = ("station", "at", "rain", "temp", "zone", "fold", "time")
AT = "2013-06-07T14:00:00Z"
INSTANT = datetime(2013, 6, 7, 14, tzinfo=UTC)


def mapped(toml: str, *cells: str | None) -> list[MappedReading]:
    padded = (*cells, *("",) * (len(COLUMNS) - len(cells)))
    return RowMapper(mapping_from_toml(toml), COLUMNS).readings(padded)


def test_a_row_becomes_a_reading_whose_digits_are_kept() -> None:
    (reading,) = mapped(BASE, " JFK ", AT, "0.30")
    assert reading == ("JFK", "rain", INSTANT, Decimal("0.3"))
    assert str(reading.value) == "0.30"


def test_missing_values_make_no_reading() -> None:
    assert mapped(BASE, "JFK", AT, "") == []
    assert mapped(BASE, "JFK", AT, None) == []
    dashes = BASE + '[file]\nmissing = ["--", "NA"]\n'
    assert mapped(dashes, "JFK", AT, " NA ") == []
    with pytest.raises(InvalidInputError, match="rain: '' is not a number"):
        mapped(dashes, "JFK", AT, "")


def test_a_variable_can_have_its_own_column_missing_texts_and_conversion() -> None:
    toml = BASE + (
        '[[variables]]\nname = "t"\nunit = "C"\ncolumn = "temp"\nmissing = ["-999"]\n'
        'convert = { named = "fahrenheit_to_celsius", decimals = 1, rounding = "half_even" }\n'
    )
    assert [reading.value for reading in mapped(toml, "JFK", AT, "1", "40")] == [1, Decimal("4.4")]
    assert [reading.variable for reading in mapped(toml, "JFK", AT, "1", "-999")] == ["rain"]


def test_multiply_and_add_are_exact() -> None:
    toml = BASE + 'convert = { multiply = "25.4", add = 0.1 }\n'
    assert mapped(toml, "JFK", AT, "0.03")[0].value == Decimal("0.862")


def test_a_constant_region_a_decimal_comma_and_two_columns_of_time() -> None:
    toml = """
    [file]
    decimal_mark = ","
    delimiter = ";"
    [region]
    constant = "Zürich"
    [observed_at]
    column = ["at", "time"]
    format = "%d.%m.%Y %H:%M"
    zone_column = "zone"
    fold_column = "fold"
    [[variables]]
    name = "rain"
    unit = "mm"
    """
    at = ("07.06.2013", "1,5", "", "Europe/Zurich", "", "16:00")
    assert mapped(toml, "", *at) == [("Zürich", "rain", INSTANT, Decimal("1.5"))]
    fold = ("27.10.2013", "1", "", "Europe/Zurich", "1", "02:30")
    assert mapped(toml, "", *fold)[0].observed_at == datetime(2013, 10, 27, 1, 30, tzinfo=UTC)
    with pytest.raises(InvalidInputError, match="fold is 0 or 1, not '2'"):
        mapped(toml, "", *fold[:4], "2", "02:30")


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (("", AT, "1"), "station: is empty"),
        (("JFK", "", "1"), "at: is empty"),
        (("JFK", "tomorrow", "1"), "at: 'tomorrow' is not of the form"),
        (("JFK", AT, "1,5"), "rain: '1,5' is not a number"),
        (("JFK", AT, "1e13"), "rain: .* more than 12 digits"),
        (("J\x07K", AT, "1"), "station: .* cannot be printed"),
        (("J" * 201, AT, "1"), "station: has more than 200 characters"),
    ],
)
def test_a_cell_that_is_not_as_mapped_refuses_the_row_and_names_its_column(
    cells: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        mapped(BASE, *cells)


def test_a_mapped_column_that_is_missing_or_there_twice_is_named() -> None:
    mapping = mapping_from_toml(BASE)
    with pytest.raises(InvalidInputError, match="has no column 'at', 'rain'; it has 'station'"):
        RowMapper(mapping, ("station", "other"))
    with pytest.raises(InvalidInputError, match="more than one column 'rain'"):
        RowMapper(mapping, ("station", "at", "rain", "rain"))
    RowMapper(mapping, ("station", "at", "rain", "other", "other"))


@pytest.mark.parametrize(
    ("toml", "reason"),
    [
        ("a = ", "the mapping is not TOML"),
        ("", "variables: is missing"),
        (BASE.replace('[region]\ncolumn = "station"', ""), "region: is missing"),
        (BASE.replace('column = "at"', ""), "observed_at.column|observed_at: give a column"),
        (BASE.replace('"station"', "7"), "region.column: 7 is not text"),
        (BASE.replace('column = "station"', ""), "region: give either a column or a constant"),
        (BASE + "colum = 1\n", r"variables\[0\].colum: is not a key of a readings mapping"),
        (BASE + "convert = { named = 'x' }\n", r"variables\[0\].convert.named: 'x' is not one of"),
        (
            BASE + "convert = { named = 'kelvin_to_celsius', add = 1 }\n",
            "convert.named: stands instead of multiply and add",
        ),
        (BASE + "convert = { decimals = 2 }\n", "convert.rounding: is 'half_even'"),
        (
            BASE + "convert = { decimals = 2, rounding = 'up' }\n",
            "convert.rounding: is 'half_even'",
        ),
        (
            BASE + "convert = { decimals = 99, rounding = 'half_even' }\n",
            r"variables\[0\].convert: a conversion rounds to 0 to 20",
        ),
        (BASE + "convert = { multiply = 0 }\n", "multiplies by 0"),
        (BASE + "convert = { multiply = true }\n", "convert.multiply: True is not a number"),
        (BASE + "convert = 5\n", "convert: is a table"),
        (BASE + BASE[BASE.index("[[") :], "variables: each name is given once"),
        (BASE.replace('"at"', '"at"\nrepeated = "both"'), "observed_at.repeated: 'both' is not"),
        (BASE.replace('"at"', '"at"\nzone = "Mars"'), "observed_at: 'Mars' is not an IANA"),
        (BASE.replace('"at"', '"at"\nformat = "%H"'), "observed_at: '%H' does not name"),
        (BASE.replace('"at"', '"at"\ntime_of_day = "noon"'), "observed_at.time_of_day: 'noon'"),
        (
            BASE.replace('"at"', '"at"\nzone = "UTC"\nzone_column = "z"'),
            "observed_at: give either a zone or a zone_column",
        ),
        (BASE + '[file]\nencoding = "utf-16"\n', "'utf-16' is not a text encoding"),
        (BASE + '[file]\ndecimal_mark = ","\n', "file.decimal_mark: is not also the delimiter"),
        (BASE + '[file]\ndecimal_mark = "\'"\n', "file.decimal_mark: is"),
        (BASE + '[file]\nmissing = "NA"\n', "file.missing: 'NA' is not a list of texts"),
        (BASE + "[files]\n", "files: is not a key of a readings mapping"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_an_error_that_names_the_key(
    toml: str, reason: str
) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        mapping_from_toml(toml)
