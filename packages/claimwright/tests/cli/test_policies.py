"""`claimwright policies` as people use it."""

from pathlib import Path

import pytest

from support.commands import Commands


@pytest.fixture
def products(command: Commands, examples: Path) -> None:
    for name in ("nyc-rain", "nyc-wind"):
        assert command("products", "add", examples / f"{name}.toml").code == 0


@pytest.mark.usefixtures("products")
def test_the_example_is_imported_listed_and_known_the_second_time(
    command: Commands, examples: Path
) -> None:
    first = command("policies", "import", examples / "policies.csv")
    assert (first.code, first.out) == (
        0,
        "3 rows: 3 policies added, 0 known already, 0 refused.\n",
    )
    again = command.json("policies", "import", examples / "policies.csv")
    assert (again["added"], again["known"], again["quarantine"]) == (0, 3, None)
    listed = command.json("policies", "list", "--limit", 2)
    assert [(item["policy_number"], item["coverage_amount"]) for item in listed["items"]] == [
        ("NYC-0001", "100000.00"),
        ("NYC-0002", "25000.50"),
    ]
    rest = command.json("policies", "list", "--after", listed["next_after"])
    assert [item["coverage_amount"] for item in rest["items"]] == ["1000000"]
    assert rest["next_after"] is None
    table = command("policies", "list", "--product", "nyc-rain", "--limit", 1)
    assert "NYC-0001" in table.out
    assert "There is more: --after NYC-0001" in table.err


@pytest.mark.usefixtures("products")
def test_refused_rows_exit_with_7_are_named_and_go_to_a_file(
    command: Commands, examples: Path, tmp_path: Path
) -> None:
    rows = (examples / "policies.csv").read_text(encoding="utf-8").replace("25000.50", "25,000.50")
    (tmp_path / "policies.csv").write_text(rows.replace("USD", "usd", 1), encoding="utf-8")
    finished = command("policies", "import", "policies.csv", "--quarantine", "bad.csv")
    assert finished.code == 7
    assert "1 policy added, 0 known already, 2 refused" in finished.out
    assert "row 2: coverage_amount: 'usd' is not an ISO 4217 currency code" in finished.err
    assert "row 3: it has 10 cells, the header 9" in finished.err
    assert "Refused rows are in bad.csv" in finished.out
    assert len((tmp_path / "bad.csv").read_text(encoding="utf-8").splitlines()) == 3


@pytest.mark.usefixtures("products")
def test_an_import_stops_and_says_where_once_its_quarantine_file_is_full(
    command: Commands, examples: Path, tmp_path: Path
) -> None:
    header, *good = (examples / "policies.csv").read_text(encoding="utf-8").splitlines()
    bad = f"no policy at all,{'x' * 9_000},,,,,,,"
    lines = [header, good[0], *[bad] * 200, good[1]]
    (tmp_path / "policies.csv").write_text("\n".join(lines), encoding="utf-8")
    for options in (["--dry-run"], []):
        finished = command("policies", "import", "policies.csv", "--quarantine-mib", 1, *options)
        assert finished.code == 5
        assert "1 policy" in finished.out
        assert "Stopped before row 119, because so many rows were refused." in finished.err
    assert len(command.json("policies", "list")["items"]) == 1
    quarantined = (tmp_path / "policies.csv.quarantine.csv").read_text("utf-8").splitlines()
    assert (len(quarantined), quarantined[-1][:4]) == (1 + 116, "118,")
    report = command.json("policies", "import", "policies.csv", "--quarantine-mib", 2, code=7)
    assert (report["stopped_before"], report["refused"], report["added"]) == (None, 200, 1)


@pytest.mark.usefixtures("products")
def test_a_dry_run_stores_nothing(command: Commands, examples: Path) -> None:
    finished = command("policies", "import", examples / "policies.csv", "--dry-run")
    assert "3 policies would be added" in finished.out
    assert command.json("policies", "list")["items"] == []


def test_a_file_that_is_no_list_of_policies_exits_with_2(command: Commands, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("policy_number,premium\nP-1,7\n", encoding="utf-8")
    finished = command("policies", "import", "a.csv")
    assert finished.code == 2
    assert "unknown columns 'premium'" in finished.err
    assert command("policies", "import", "a.csv", "--encoding", "utf-16").code == 2
    assert command("policies", "import", "a.csv", "--delimiter", "ab").code == 2
    assert command("policies", "import", "nowhere.csv").code == 2
    assert command("policies", "list", "--limit", "0").code == 2


@pytest.mark.usefixtures("products")
def test_a_number_with_brackets_is_printed_as_it_is(
    command: Commands, examples: Path, tmp_path: Path
) -> None:
    rows = (examples / "policies.csv").read_text(encoding="utf-8").replace("NYC-", "[red]")
    (tmp_path / "a.csv").write_text(rows, encoding="utf-8")
    assert command("policies", "import", "a.csv").code == 0
    assert "[red]0001" in command("policies", "list").out
