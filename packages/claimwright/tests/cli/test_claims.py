"""`claimwright claims` as people use it: from the examples to files that others read."""

import csv
import io
import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from pyarrow import parquet

from claimwright.embedded import ServerAddresses
from claimwright.operations.export_claims import COLUMNS
from support.commands import Commands
from support.databases import environment_of

READINGS = """station,at,rain
EWR,2013-06-07T14:00:00Z,1.20
EWR,2013-06-07T18:00:00Z,2.00
JFK,2013-06-08T03:59:00Z,1.00
JFK,2013-06-08T04:00:00Z,1.50
"""
MAPPING = """
region = { column = "station" }
observed_at = { column = "at" }
variables = [{ name = "precipitation", unit = "in", column = "rain" }]
"""
REFERENCES = ["1001-1", "1001-2", "1002-3", "1002-4"]


@pytest.fixture
def claims(command: Commands, examples: Path, tmp_path: Path) -> None:
    """Two policies; one reaches tiers 1 and 3 on one day, the other tier 1 on two days."""
    (tmp_path / "rain.csv").write_text(READINGS, encoding="utf-8")
    (tmp_path / "rain.toml").write_text(MAPPING, encoding="utf-8")
    command("products", "add", examples / "nyc-rain.toml")
    command("products", "add", examples / "nyc-wind.toml")
    command("policies", "import", examples / "policies.csv")
    command("readings", "import", "rain.csv", "--mapping", "rain.toml")
    assert command("calculate", "--workers", 1).code == 0


@pytest.mark.usefixtures("claims")
def test_claims_are_listed_with_exact_amounts_and_the_policys_own_time(command: Commands) -> None:
    items = command.json("claims", "list")["items"]
    assert [item["reference"] for item in items] == REFERENCES
    first = items[0]
    assert (first["policy_number"], first["tier"], first["amount"]) == (
        "NYC-0001",
        "tier1",
        "20000.00",
    )
    assert first["triggered_at"] == "2013-06-07T10:00:00-04:00"
    assert [(item["event_date"], item["amount"]) for item in items[2:]] == [
        ("2013-06-07", "5000.10"),
        ("2013-06-08", "5000.10"),
    ]
    table = command("claims", "list", "--limit", 1)
    assert "2013-06-07 │ 10:00 -0400" in table.out
    assert f"--after {first['reference']}" in table.err


@pytest.mark.usefixtures("claims")
def test_each_filter_leaves_what_it_names_in_lists_and_exports(command: Commands) -> None:
    for arguments, count in (
        (("--policy", "NYC-0001"), 2),
        (("--region", "JFK"), 2),
        (("--product", "nyc-rain"), 4),
        (("--product", "nyc-wind"), 0),
        (("--period", "2013-06-08"), 1),
        (("--tier", "tier3"), 1),
        (("--status", "calculated"), 4),
        (("--status", "void"), 0),
        (("--from", "2013-06-08"), 1),
        (("--to", "2013-06-07"), 3),
        (("--from", "2013-06-07", "--to", "2013-06-07", "--region", "JFK"), 1),
    ):
        assert len(command.json("claims", "list", *arguments)["items"]) == count, arguments
    assert command.json("claims", "export", "a.json", "--tier", "tier3")["claims"] == 1


@pytest.mark.usefixtures("claims")
def test_pages_follow_one_another_without_loss_or_repetition(command: Commands) -> None:
    found: list[str] = []
    after: list[str] = []
    while True:
        page = command.json("claims", "list", "--limit", 3, *after)
        found += [item["reference"] for item in page["items"]]
        if page["next_after"] is None:
            break
        after = ["--after", page["next_after"]]
    assert found == REFERENCES


@pytest.mark.usefixtures("claims")
def test_every_format_holds_the_same_claims_and_the_documented_columns(
    command: Commands, tmp_path: Path
) -> None:
    names = [column.name for column in COLUMNS]
    for suffix in ("csv", "json", "parquet"):
        finished = command("claims", "export", f"claims.{suffix}")
        assert finished.out == f"4 claims are in claims.{suffix}.\n"
    written = (tmp_path / "claims.csv").read_text(encoding="utf-8")
    from_csv = list(csv.DictReader(io.StringIO(written)))
    from_json = json.loads((tmp_path / "claims.json").read_text(encoding="utf-8"))
    from_parquet = parquet.read_table(tmp_path / "claims.parquet").to_pylist()
    assert list(from_csv[0]) == list(from_json[0]) == list(from_parquet[0]) == names
    amounts = [row["amount"] for row in from_csv]
    assert amounts == [row["amount"] for row in from_json]
    assert [Decimal(amount) for amount in amounts] == [row["amount"] for row in from_parquet]
    assert sorted(map(Decimal, amounts)) == [
        Decimal("5000.10"),
        Decimal("5000.10"),
        Decimal(20_000),
        Decimal(80_000),
    ]
    assert from_parquet[0]["triggered_at"].isoformat() == "2013-06-07T14:00:00+00:00"


@pytest.mark.usefixtures("claims")
def test_standard_output_holds_the_claims_and_nothing_else(command: Commands) -> None:
    finished = command("claims", "export", "-")
    assert len(list(csv.DictReader(io.StringIO(finished.out)))) == 4
    assert "4 claims written" in finished.err
    assert len(json.loads(command("claims", "export", "-", "--format", "json").out)) == 4


@pytest.mark.usefixtures("claims")
def test_a_reader_that_goes_away_ends_an_export_quietly(fresh_database: ServerAddresses) -> None:
    program = "import sys; sys.argv[1:] = ['claims', 'export', '-']; "
    with subprocess.Popen(
        [sys.executable, "-c", program + "from claimwright.cli.app import main; main()"],
        env={
            **os.environ,
            **environment_of(fresh_database),
            "PYTHONPATH": ":".join(sys.path),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        message = process.stderr.read()
        assert process.wait() == 141, message
    assert message == ""


@pytest.mark.usefixtures("claims")
def test_a_claim_is_named_by_its_policy_and_itself_everywhere(command: Commands) -> None:
    assert "1001-2" in command("claims", "list").out
    assert "\n1001-2," in command("claims", "export", "-").out


@pytest.mark.usefixtures("claims")
def test_eighty_columns_hold_each_claim_on_one_line(command: Commands) -> None:
    command.on_a_terminal_of(80)
    table = command("claims", "list")
    lines = [line for line in table.out.splitlines() if line.startswith("│")]
    assert len(lines) == len(REFERENCES)
    assert all(len(line) <= 80 for line in table.out.splitlines())
    for line, reference in zip(lines, REFERENCES, strict=True):
        assert f"│ {reference} " in line
        assert "│ USD │ calculated │" in line
    assert "20000.00" in lines[0]
    assert "Not shown on 80 columns: product, region, %, time." in table.err
    assert "--json" in table.err
    assert all(item["product"] for item in command.json("claims", "list")["items"])


@pytest.mark.usefixtures("claims")
def test_columns_leave_one_by_one_and_only_where_there_is_no_room(command: Commands) -> None:
    command.on_a_terminal_of(200)
    wide = command("claims", "list")
    width = max(map(len, wide.out.splitlines()))
    assert wide.err == ""
    for columns, left in ((width, ""), (width - 1, "product."), (width - 12, "product, region.")):
        command.on_a_terminal_of(columns)
        narrow = command("claims", "list")
        assert narrow.err.partition(": ")[2].partition(" A wider")[0] == left, columns
        assert max(map(len, narrow.out.splitlines())) <= columns


def test_an_export_that_fails_leaves_the_old_file_and_no_other(
    command: Commands, tmp_path: Path
) -> None:
    (tmp_path / "claims.csv").write_text("old", encoding="utf-8")
    finished = command("claims", "export", "claims.csv", "--status", "lost")
    assert finished.code == 2
    assert "'lost' is not a status of a claim: calculated, approved" in finished.err
    assert (tmp_path / "claims.csv").read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["claims.csv"]


def test_what_cannot_be_meant_exits_with_2(command: Commands) -> None:
    for arguments in (
        ("list", "--after", "seven"),
        ("list", "--from", "2013-02-02", "--to", "2013-02-01"),
        ("export", "claims.xlsx"),
        ("export", "none/claims.csv"),
        ("export", "."),
        ("export", "-", "--json"),
    ):
        finished = command("claims", *arguments)
        assert finished.code == 2, finished
        assert "Error" in finished.err


def test_no_claims_are_an_empty_table_and_an_empty_page(command: Commands) -> None:
    assert command.json("claims", "list") == {"items": [], "next_after": None}
    assert command.json("claims", "export", "claims.csv")["claims"] == 0
