"""`claimwright verify` and `claims void`: exit codes that a pipeline can trust."""

import asyncio
from pathlib import Path

import pytest

from claimwright.embedded import ServerAddresses
from support.commands import Commands
from support.databases import Connections

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
def stored(command: Commands, examples: Path, tmp_path: Path) -> None:
    """The policies of the examples, and a day in JFK that reaches tiers 1 and 3."""
    (tmp_path / "rain.csv").write_text(READINGS, encoding="utf-8")
    (tmp_path / "rain.toml").write_text(MAPPING, encoding="utf-8")
    for product in ("nyc-rain", "nyc-wind"):
        command("products", "add", examples / f"{product}.toml")
    command("policies", "import", examples / "policies.csv")
    command("readings", "import", "rain.csv", "--mapping", "rain.toml")


@pytest.mark.usefixtures("stored")
def test_pending_clean_and_pending_again_after_a_void(command: Commands) -> None:
    before = command("verify")
    assert before.code == 6
    assert "PENDING" in before.out
    command("calculate")
    clean = command("verify")
    assert (clean.code, "CLEAN" in clean.out) == (0, True)
    document = command.json("verify")
    assert (document["verdict"], document["differences"]) == ("clean", {})
    assert document["paid_minor"]["USD"] > 0
    reference = command.json("claims", "list")["items"][0]["reference"]
    void = command.json("claims", "void", reference, "--reason", "a leak", "--actor", "an auditor")
    assert void["layers"][-1] == reference
    assert command("verify").code == 6
    command("calculate")
    assert command("verify").code == 0


@pytest.mark.usefixtures("stored")
def test_eighty_columns_break_no_kind_of_difference_and_no_frequency(command: Commands) -> None:
    command.on_a_terminal_of(80)
    found = command("verify").out
    assert "event_missing (pending)" in found
    assert "paid_too_little (pending)" in found
    assert "once_per_month" in command("products", "list").out


@pytest.mark.usefixtures("stored")
def test_a_difference_exits_with_one_and_is_named(
    command: Commands, fresh_database: ServerAddresses
) -> None:
    asyncio.run(_forget_requests(fresh_database))
    found = command("verify", "--limit", 1)
    assert found.code == 1
    assert "DIFFERENT" in found.out
    assert "event_missing" in found.out
    assert "--limit names them" in found.out


@pytest.mark.usefixtures("stored")
def test_one_product_or_region_can_be_verified_alone(command: Commands) -> None:
    assert command.json("verify", "--product", "nyc-rain", code=6)["policies"] > 0
    command("calculate")
    assert command.json("verify", "--region", "EWR")["claims"] == 0
    assert command.json("verify", "--region", "JFK")["claims"] > 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("claims", "void", "nonsense", "--reason", "x", "--actor", "y"), 2),
        (("claims", "void", "1-1", "--reason", " ", "--actor", "y"), 2),
        (("claims", "void", "1-1", "--reason", "x", "--actor", "y"), 3),
        (("claims", "void", "1-1"), 2),
    ],
)
def test_what_cannot_be_void_has_its_exit_code(
    command: Commands, arguments: tuple[str, ...], code: int
) -> None:
    assert command(*arguments).code == code


async def _forget_requests(addresses: ServerAddresses) -> None:
    connections = Connections(addresses)
    superuser = await connections.superuser()
    await superuser.execute("UPDATE work_requests SET finished_generation = generation")
    await superuser.close()
