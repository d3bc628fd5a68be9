"""`claimwright explain`: the same facts for people and for machines."""

from pathlib import Path

import pytest

from support.commands import Commands

READINGS = """station,at,rain
JFK,2013-06-07T14:00:00Z,1.20
JFK,2013-06-07T18:00:00Z,2.00
"""
MAPPING = """
region = { column = "station" }
observed_at = { column = "at" }
variables = [{ name = "precipitation", unit = "in", column = "rain" }]
"""


@pytest.fixture
def claim(command: Commands, examples: Path, tmp_path: Path) -> dict[str, str]:
    """The first claim of the examples' policies on a rainy day in JFK."""
    (tmp_path / "rain.csv").write_text(READINGS, encoding="utf-8")
    (tmp_path / "rain.toml").write_text(MAPPING, encoding="utf-8")
    for product in ("nyc-rain", "nyc-wind"):
        command("products", "add", examples / f"{product}.toml")
    command("policies", "import", examples / "policies.csv")
    command("readings", "import", "rain.csv", "--mapping", "rain.toml")
    command("calculate")
    first: dict[str, str] = command.json("claims", "list")["items"][0]
    return first


def test_a_claim_is_explained_by_its_reference(command: Commands, claim: dict[str, str]) -> None:
    found = command("explain", claim["reference"])
    assert found.code == 0
    assert f"Claim {claim['reference']} pays" in found.out
    assert "2013-06-07 10:00-04:00" in found.out
    assert "rounded half up" in found.out
    document = command.json("explain", claim["reference"])
    assert document["claim"] == claim["reference"]
    assert document["readings"][0]["index"] == "1.20"
    assert {step["name"] for step in document["steps"]} >= {"index", "tier", "layer", "limit"}


def test_a_day_on_which_nothing_was_paid_says_why(command: Commands, claim: dict[str, str]) -> None:
    found = command("explain", "--policy", claim["policy_number"], "--day", "2013-06-09")
    assert "is paid nothing for 2013-06-09" in found.out
    period = command.json("explain", "--policy", claim["policy_number"], "--period", "2013-06-07")
    assert period["paid_minor"] > 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), 2),
        (("1-1", "--policy", "P"), 2),
        (("1-1", "--day", "2025-01-01"), 2),
        (("nonsense",), 2),
        (("--policy", "P"), 2),
        (("--policy", "P", "--day", "2025-01-01", "--period", "term"), 2),
        (("--policy", "P", "--day", "2025-01-01"), 3),
        (("4711-1",), 3),
    ],
)
def test_what_cannot_be_explained_has_its_exit_code(
    command: Commands, arguments: tuple[str, ...], code: int
) -> None:
    finished = command("explain", *arguments)
    assert (finished.code, finished.out) == (code, "")
