"""A stored row that cannot be used: each command does the rest, says so, exits by the table."""

import asyncio
from pathlib import Path

import pytest

from claimwright.cli.exits import Exit
from claimwright.embedded import ServerAddresses
from support.commands import Commands
from support.databases import plain_connections

FALLING = """
    INSERT INTO product_versions (id, code, version, terms, terms_sha256)
    SELECT 77, code, 77, falling, sha256(convert_to(falling, 'UTF8'))
    FROM product_versions, replace(terms, '"payout_percent":"50"', '"payout_percent":"15"') falling
    WHERE code = 'nyc-rain'
    """
POLICY = """
    INSERT INTO policies (id, policy_number, product_version_id, coverage_region, zone,
        coverage_minor, limit_minor, currency, first_day, last_day)
    SELECT 7, 'BAD-7', p.id, coverage_region, zone, 100, round(p.aggregate_limit_percent), currency,
        first_day, last_day
    FROM policies, product_versions p WHERE p.id = 77 LIMIT 1
    """
TERMS_FAULT = "payout.tiers[1].payout_percent: 15 is not above 20"
ZONE_FAULT = "'Mars/Base' is not an IANA time zone"


@pytest.fixture
def stored(command: Commands, examples: Path, fresh_database: ServerAddresses) -> None:
    """The policies of the examples, one of them in a zone that nobody knows, and one of bad terms.

    The zone slips past the guards, the terms are well-shaped, so that no guard sees them.
    """
    for product in ("nyc-rain", "nyc-wind"):
        command("products", "add", examples / f"{product}.toml")
    command("policies", "import", examples / "policies.csv")
    asyncio.run(_spoil(fresh_database))


async def _spoil(addresses: ServerAddresses) -> None:
    async with plain_connections(addresses) as connections:
        application = await connections.application()
        await application.execute(FALLING)
        await application.execute(POLICY)
        superuser = await connections.superuser()
        await superuser.execute(
            "ALTER TABLE policies DISABLE TRIGGER policies_immutable;"
            "UPDATE policies SET zone = 'Mars/Base' WHERE id = (SELECT max(id) FROM policies)"
        )


@pytest.mark.usefixtures("stored")
def test_calculate_does_the_rest_names_them_and_is_unfinished(command: Commands) -> None:
    ended = command("calculate", "--from", "2013-06-01", "--to", "2013-06-30")
    assert ended.code == Exit.UNFINISHED
    assert "calculations" in ended.out
    assert f"product nyc-rain version 77 (id 77) cannot be used: {TERMS_FAULT}" in ended.err
    assert ZONE_FAULT in ended.err
    report = command.json(
        "calculate", "--from", "2013-06-01", "--to", "2013-06-30", code=Exit.UNFINISHED
    )
    assert report["failures"] == []
    assert {record["noun"] for record in report["unusable"]} == {"product", "policy"}


@pytest.mark.usefixtures("stored")
def test_verify_names_them_and_is_different(command: Commands) -> None:
    ended = command("verify")
    assert ended.code == Exit.DIFFERENCE
    assert "unverifiable" in ended.out
    assert command.json("verify", code=Exit.DIFFERENCE)["differences"] == {"unverifiable": 2}


@pytest.mark.usefixtures("stored")
def test_lists_show_them_with_the_reason(command: Commands) -> None:
    products = command("products", "list")
    assert (products.code, f"cannot be used: {TERMS_FAULT}" in products.out) == (0, True)
    faults = [product.get("fault") for product in command.json("products", "list")]
    assert sum(fault is not None for fault in faults) == 1
    policies = command("policies", "list")
    assert (policies.code, f"cannot be used: {ZONE_FAULT}." in policies.out) == (0, True)
    of_terms = f"product nyc-rain version 77 cannot be used: {TERMS_FAULT}"
    assert f"Policy BAD-7 cannot be used: {of_terms}" in policies.out
    items = command.json("policies", "list")["items"]
    faults_of_policies = {item["policy_number"]: item["fault"] for item in items if item["fault"]}
    assert faults_of_policies.pop("BAD-7").startswith(of_terms)
    assert list(faults_of_policies.values()) == [ZONE_FAULT]


@pytest.mark.usefixtures("stored")
def test_what_is_named_itself_says_why_not(command: Commands) -> None:
    show = command("products", "show", "nyc-rain")
    assert show.code == Exit.UNFINISHED
    assert TERMS_FAULT in show.err
    explain = command("explain", "--policy", "BAD-7", "--day", "2013-06-07")
    assert explain.code == Exit.UNFINISHED
    assert "policy BAD-7 (id 7) cannot be used" in explain.err
