"""Every example program runs as it stands and prints what it is meant to show."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[3] / "examples"


def output_of(name: str) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / name], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_example_program_is_without_a_test() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {"settle_a_day.py"}


def test_a_wet_day_in_two_halves_pays_each_tier_once_and_verifies() -> None:
    lines = output_of("settle_a_day.py").splitlines()
    assert lines[0].startswith("1 new claim(s)")
    assert lines[1].startswith("1 new claim(s)")
    assert lines[2].strip() == "2025-06-07 tier1: +20 % = 2,000.01 USD"
    assert lines[3].strip() == "2025-06-07 tier2: +30 % = 3,000.01 USD"
    assert lines[4] == "verified against the readings: clean"
