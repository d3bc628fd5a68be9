"""The whole demo, as people start it."""

import csv
import json
import os
import subprocess
import sys
from decimal import Decimal

from support.demo import SMALL, EndedDemo, demo_process


def test_every_claim_is_made_by_one_of_the_racing_runs_and_none_by_a_third(
    small_demo: EndedDemo,
) -> None:
    facts = small_demo.facts
    ours, theirs = facts["race"]
    assert ours["claims"] + theirs["claims"] == facts["claims"] > 0
    assert ours["calculations"] + theirs["calculations"] == facts["again"]["calculations"] > 0
    assert facts["again"]["claims"] == facts["duplicates"] == 0
    assert facts["problems"] == facts["violations"] == []


def test_the_verification_of_the_claims_is_clean(small_demo: EndedDemo) -> None:
    verification = small_demo.facts["verification"]
    assert (verification["verdict"], verification["policies"]) == ("clean", SMALL)
    assert verification["claims"] == small_demo.facts["claims"]
    assert verification["paid_minor"] == {"USD": small_demo.facts["paid_minor"]}


def test_the_weather_is_that_of_new_york_in_2013(small_demo: EndedDemo) -> None:
    rain = {found["region"]: found for found in small_demo.facts["rainy_days"]}
    assert {region: found["days"] for region, found in rain.items()} == {
        "EWR": 11,
        "JFK": 6,
        "LGA": 8,
    }
    assert [rain[region]["june_7"] for region in ("EWR", "JFK", "LGA")] == ["3.71", "3.68", "3.15"]


def test_the_wind_of_1048_mph_is_quarantined_and_pays_nothing(small_demo: EndedDemo) -> None:
    (reading,) = small_demo.facts["quarantined"]
    assert (reading["region"], reading["value"]) == ("EWR", "1048.36058")
    assert reading["observed_at"] == "2013-02-12T03:00:00-05:00"
    assert "above the plausible maximum 200" in reading["reason"]
    with (small_demo.output / "claims.csv").open(encoding="utf-8", newline="") as stream:
        paid = {
            (row["product"], row["region"], row["event_date"]) for row in csv.DictReader(stream)
        }
    assert ("nyc-wind", "EWR", "2013-02-12") not in paid
    assert ("nyc-wind", "EWR", "2013-01-31") in paid


def test_events_are_made_of_each_tier_that_a_station_reached(small_demo: EndedDemo) -> None:
    events: dict[tuple[str, str], list[int]] = {}
    for tier in small_demo.facts["tiers"]:
        events.setdefault((tier["product"], tier["region"]), []).append(tier["events"])
    assert events == {
        ("nyc-rain", "EWR"): [11, 1, 1],
        ("nyc-rain", "JFK"): [6, 1, 1],
        ("nyc-rain", "LGA"): [8, 2, 1],
        ("nyc-wind", "EWR"): [4, 0, 1],
        ("nyc-wind", "JFK"): [10, 4, 1],
        ("nyc-wind", "LGA"): [5, 2, 1],
    }


def test_the_claims_file_adds_up_to_the_table(small_demo: EndedDemo) -> None:
    with (small_demo.output / "claims.csv").open(encoding="utf-8", newline="") as stream:
        amounts = [Decimal(row["amount"]) for row in csv.DictReader(stream)]
    assert len(amounts) == small_demo.facts["claims"]
    assert sum(amounts) * 100 == small_demo.facts["paid_minor"]
    assert sum(tier["paid_minor"] for tier in small_demo.facts["tiers"]) == sum(amounts) * 100


def test_the_data_of_a_named_folder_stays_for_other_commands(small_demo: EndedDemo) -> None:
    assert not (small_demo.folder / "postgres" / "postmaster.pid").exists()
    done = subprocess.run(
        [sys.executable, "-c", "from claimwright.cli.app import main; main()", "verify", "--json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CLAIMWRIGHT_DATA_FOLDER": str(small_demo.folder)},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["claims"] == small_demo.facts["claims"]


def test_a_folder_with_files_is_refused(small_demo: EndedDemo) -> None:
    with demo_process("--folder", str(small_demo.folder)) as process:
        _, messages = process.communicate()
    assert process.returncode == 2
    assert "needs a folder of its own" in messages
