"""Every example of the repository is used as its comments say, and settles as they say."""

from datetime import date, timedelta
from pathlib import Path

from support.commands import Commands

POLICIES = """policy_number,product,region,coverage_amount,currency,zone,first_day,last_day
DRY,seattle-drought,Seattle,1000.00,USD,America/Los_Angeles,2012-01-01,2012-12-31
COLD,seattle-frost,Seattle,1000.00,USD,America/Los_Angeles,2012-01-01,2012-12-31
"""


def seattle(folder: Path, *, without: date | None = None) -> Path:
    """Daily rows from 2012-06-01 to 2012-08-31: no rain from 07-02 on, one day of frost."""
    lines = ["date,precipitation,temp_max,temp_min,wind,weather"]
    for number in range(92):
        day = date(2012, 6, 1) + timedelta(days=number)
        rain = "3.0" if day < date(2012, 7, 2) else "0.0"
        warmest = "-1.1" if day == date(2012, 8, 5) else "20.0"
        if day != without:
            lines.append(f"{day:%Y/%m/%d},{rain},{warmest},5.0,4.7,sun")
    path = folder / "seattle.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_every_example_of_terms_is_a_product(command: Commands, examples: Path) -> None:
    names = ["nyc-rain", "nyc-rain-24h", "nyc-wind", "seattle-drought", "seattle-frost"]
    for name in names:
        assert command.json("products", "add", examples / f"{name}.toml")["code"] == name
    listed = command.json("products", "list")
    assert [item["terms"]["product"]["code"] for item in listed] == names


def settled(
    command: Commands, examples: Path, folder: Path, *, without: date | None = None
) -> list[tuple[str, str, str, str]]:
    for name in ("seattle-drought", "seattle-frost"):
        assert command("products", "add", examples / f"{name}.toml").code == 0
    (folder / "policies.csv").write_text(POLICIES, encoding="utf-8")
    assert command("policies", "import", "policies.csv").code == 0
    source = seattle(folder, without=without)
    mapping = examples / "seattle-readings.toml"
    assert command("readings", "import", source, "--mapping", mapping).code == 0
    assert command("calculate", "--workers", 1).code == 0
    return [
        (claim["policy_number"], claim["event_date"], claim["tier"], claim["amount"])
        for claim in command.json("claims", "list")["items"]
    ]


def test_the_drought_and_the_frost_of_the_examples_settle_when_their_days_are_complete(
    command: Commands, examples: Path, tmp_path: Path
) -> None:
    assert settled(command, examples, tmp_path) == [
        ("COLD", "2012-08-05", "frost", "400.00"),
        ("DRY", "2012-07-30", "dry", "250.00"),
        ("DRY", "2012-07-31", "no rain", "750.00"),
        ("DRY", "2012-08-01", "no rain", "500.00"),
    ]


def test_a_window_with_a_missing_day_is_not_judged(
    command: Commands, examples: Path, tmp_path: Path
) -> None:
    claims = settled(command, examples, tmp_path, without=date(2012, 7, 20))
    assert [claim[:2] for claim in claims] == [("COLD", "2012-08-05"), ("DRY", "2012-08-20")]
