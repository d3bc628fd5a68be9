"""A policy or product that the rules cannot take fails alone: nobody else waits for it."""

import json
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from claimwright import Policy, process_policy_claims
from claimwright.domain.errors import UnusableRecordError
from claimwright.domain.oracle import DifferenceKind
from claimwright.files.tables import TableFormat
from claimwright.operations.calculate_days import calculate_days
from claimwright.operations.doctor import Health, examine
from claimwright.operations.explain import explain_one_claim, explain_policy
from claimwright.operations.export_claims import export_claims
from claimwright.operations.import_policies import import_policies
from claimwright.operations.list_claims import list_claims
from claimwright.operations.list_policies import list_policies
from claimwright.operations.list_products import list_products, show_product
from claimwright.operations.run_reports import RunReport, Scope
from claimwright.operations.verify import Verdict, Verification, verify
from claimwright.runtime import Runtime
from claimwright.storage.listed_claims import ClaimsFilter
from claimwright.storage.products import UnusableVersion
from support.databases import Connection, Connections
from support.weather import World

DAY = date(2025, 6, 7)
LATER = date(2025, 6, 9)
SCOPE = Scope(date(2025, 1, 1), date(2025, 12, 31))
CODE = "claimwright-testing"

POLICY = """
    INSERT INTO policies (id, policy_number, product_version_id, coverage_region, zone,
        coverage_minor, limit_minor, currency, first_day, last_day)
    SELECT 7, 'BAD', {product}, coverage_region, {zone}, 10000, 10000, {currency}, first_day,
        last_day
    FROM policies WHERE policy_number = 'P1'
    """
#: Well-shaped, so that the database takes them; the second tier pays less than the first.
FALLING_TERMS = """
    INSERT INTO product_versions (id, code, version, terms, terms_sha256)
    SELECT 77, code, 77, falling, sha256(convert_to(falling, 'UTF8'))
    FROM product_versions, replace(terms, '"payout_percent":"50"', '"payout_percent":"15"') falling
    """
#: The same terms in another text, whose hash is not that of the terms.
SPACED_TERMS = FALLING_TERMS.replace(
    """replace(terms, '"payout_percent":"50"', '"payout_percent":"15"')""",
    """replace(terms, '{"index"', '{ "index"')""",
)


@dataclass(frozen=True, slots=True)
class Badness:
    """A policy BAD, of id 7, that cannot be used; statements that store it and that mend it."""

    name: str
    store: tuple[str, ...]
    mend: str
    fault: str
    noun: str = "policy"


ZONE = Badness(
    "an unknown zone",
    (POLICY.format(product="product_version_id", zone="'Mars/Base'", currency="currency"),),
    "UPDATE policies SET zone = 'America/New_York' WHERE id = 7",
    "'Mars/Base' is not an IANA time zone",
)
CURRENCY = Badness(
    "an unknown currency",
    (POLICY.format(product="product_version_id", zone="zone", currency="'ZZZ'"),),
    "UPDATE policies SET currency = 'USD' WHERE id = 7",
    "'ZZZ' is not an ISO 4217 currency code",
)
TERMS = Badness(
    "falling payouts",
    (FALLING_TERMS, POLICY.format(product="77", zone="zone", currency="currency")),
    "UPDATE policies SET product_version_id = (SELECT min(id) FROM product_versions"
    " WHERE id <> 77) WHERE id = 7",
    "payout.tiers[1].payout_percent: 15 is not above 20 and at most 100 per cent",
    "product",
)
TEXT = Badness(
    "terms in another text",
    (SPACED_TERMS, POLICY.format(product="77", zone="zone", currency="currency")),
    TERMS.mend,
    "terms: is not the canonical text of its terms",
    "product",
)
each = pytest.mark.parametrize(
    "badness", [ZONE, CURRENCY, TERMS, TEXT], ids=lambda badness: badness.name
)


@pytest.fixture
async def superuser(fresh_connections: Connections) -> Connection:
    """Past the guards, as a restored dump or time zone data that dropped a name would be."""
    connection = await fresh_connections.superuser()
    await connection.execute(
        "ALTER TABLE policies DISABLE TRIGGER policies_names;"
        "ALTER TABLE policies DISABLE TRIGGER policies_immutable"
    )
    return connection


@pytest.fixture
async def world(fresh_runtime: Runtime) -> World:
    """P1 is paid for a first day; a second one is to do."""
    world = World(fresh_runtime)
    await world.insure({"P1": 10_003})
    await world.rain(DAY, ["1.2", "1.0"])
    await world.calculate()
    await world.rain(LATER, ["1.5"])
    return world


async def store(superuser: Connection, badness: Badness) -> None:
    for statement in badness.store:
        await superuser.execute(statement)


async def calculate(world: World) -> RunReport:
    return await calculate_days(world.runtime, SCOPE, workers=2)


async def pending_kinds(superuser: Connection) -> set[str]:
    rows = await superuser.fetch(
        "SELECT DISTINCT kind FROM work_requests WHERE finished_generation < generation"
    )
    return {row[0] for row in rows}


def sentences(verification: Verification) -> list[str]:
    return [finding.sentence for finding in verification.findings]


@each
async def test_everybody_else_is_calculated_and_it_is_named(
    world: World, superuser: Connection, badness: Badness
) -> None:
    await store(superuser, badness)
    report = await calculate(world)
    assert (report.claims, report.failures, report.is_complete) == (1, [], False)
    assert await world.paid_minor("P1") == 5_002 + 2_001
    (record,) = report.unusable
    assert (record.noun, record.fault) == (badness.noun, badness.fault)
    assert record.id == (7 if badness.noun == "policy" else 77)
    assert record.policies == 1


@each
async def test_nothing_of_it_is_lost_until_it_can_be_used(
    world: World, superuser: Connection, badness: Badness
) -> None:
    await store(superuser, badness)
    await calculate(world)
    assert "policy" in await pending_kinds(superuser)
    await world.rain(date(2025, 6, 11), ["1.5"])
    assert (await calculate(world)).claims == 1
    await superuser.execute(badness.mend)
    report = await calculate(world)
    assert (report.claims, report.is_complete) == (4, True)
    assert await pending_kinds(superuser) == set()
    assert (await verify(world.runtime)).verdict is Verdict.CLEAN


@each
async def test_readings_and_events_that_concern_it_stay_asked_for(
    world: World, superuser: Connection, badness: Badness
) -> None:
    """Its own request aside: readings that nobody evaluates, events that nobody calculates."""
    await store(superuser, badness)
    await calculate(world)
    await superuser.execute(
        "UPDATE work_requests SET finished_generation = generation WHERE kind = 'policy'"
    )
    of_its_own = "calculate" if badness is CURRENCY else "evaluate"
    assert await pending_kinds(superuser) == {of_its_own}


@each
async def test_requests_of_others_are_finished(
    world: World, superuser: Connection, badness: Badness
) -> None:
    await store(superuser, badness)
    elsewhere = World(world.runtime, region="LGA")
    await elsewhere.insure({"P2": 10_003})
    await elsewhere.rain(LATER, ["1.5"])
    await calculate(world)
    pending = await superuser.fetch(
        "SELECT policy_id, region FROM work_requests WHERE finished_generation < generation"
    )
    assert {(row[0], row[1]) for row in pending} <= {(7, None), (None, "JFK")}
    assert await elsewhere.paid_minor("P2") == 2_001


@each
async def test_a_run_over_another_region_neither_names_nor_forgets_it(
    world: World, superuser: Connection, badness: Badness
) -> None:
    await store(superuser, badness)
    elsewhere = World(world.runtime, region="LGA")
    await elsewhere.insure({"P2": 10_003})
    before = await pending_kinds(superuser)
    report = await calculate_days(world.runtime, Scope(SCOPE.first, SCOPE.last, region="LGA"))
    assert report.is_complete
    assert await pending_kinds(superuser) == before


@each
async def test_it_is_unverifiable_and_everybody_else_is_verified(
    world: World, superuser: Connection, badness: Badness
) -> None:
    await world.calculate()
    await store(superuser, badness)
    verification = await verify(world.runtime)
    assert verification.verdict is Verdict.DIFFERENT
    assert verification.differences == {DifferenceKind.UNVERIFIABLE: 1}
    assert (verification.policies, verification.claims) == (1, 3)
    assert badness.fault in sentences(verification)[0]
    assert "(id 7)" in sentences(verification)[0] or "(id 77)" in sentences(verification)[0]


@each
async def test_differences_of_others_are_named_beside_it(
    world: World, superuser: Connection, badness: Badness
) -> None:
    await world.calculate()
    await store(superuser, badness)
    await superuser.execute(
        "ALTER TABLE policy_accounts DISABLE TRIGGER USER;"
        "UPDATE policy_accounts SET paid_minor = 1 WHERE policy_id <> 7"
    )
    kinds = set((await verify(world.runtime)).differences)
    assert kinds == {DifferenceKind.UNVERIFIABLE, DifferenceKind.ACCOUNT_DISAGREES}


@each
async def test_lists_show_it_with_the_reason(
    world: World, superuser: Connection, badness: Badness
) -> None:
    await store(superuser, badness)
    policies = (await list_policies(world.runtime, limit=10)).items
    assert [policy.policy_number for policy in policies] == ["BAD", "P1"]
    products = await list_products(world.runtime)
    if badness.noun == "policy":
        assert [policy.fault for policy in policies] == [badness.fault, None]
        assert len(products) == 1
    else:
        (faulty,) = [product for product in products if isinstance(product, UnusableVersion)]
        assert (faulty.id, faulty.code, faulty.version) == (77, CODE, 77)
        assert faulty.fault == badness.fault
        assert len(products) == 2
        with pytest.raises(UnusableRecordError, match=f"{CODE} version 77 cannot be used"):
            await show_product(world.runtime, CODE)
        assert (await show_product(world.runtime, CODE, 1)).version == 1


@each
async def test_other_claims_are_explained_and_its_own_policy_says_why_not(
    world: World, superuser: Connection, badness: Badness
) -> None:
    (claim, *_) = await world.claims("P1")
    await store(superuser, badness)
    explanation = await explain_one_claim(world.runtime, claim.policy_id, claim.id)
    assert explanation.paid_minor == claim.amount_minor
    with pytest.raises(UnusableRecordError, match=r"policy BAD \(id 7\) cannot be used"):
        await explain_policy(world.runtime, "BAD", day=DAY)


@each
async def test_the_doctor_names_it(world: World, superuser: Connection, badness: Badness) -> None:
    await store(superuser, badness)
    checks = {check.name: check for check in (await examine(world.runtime)).checks}
    assert checks["records"].health is Health.FAIL
    assert badness.fault in checks["records"].detail


async def test_the_doctor_says_when_the_rules_know_more_than_the_database(
    fresh_runtime: Runtime, superuser: Connection
) -> None:
    """As when newer time zone data were installed and nobody ran `claimwright init`."""
    checks = {check.name: check for check in (await examine(fresh_runtime)).checks}
    assert checks["names"].health is Health.OK
    await superuser.execute(
        "ALTER TABLE known_zones DISABLE TRIGGER USER;"
        "ALTER TABLE known_currencies DISABLE TRIGGER USER;"
        "DELETE FROM known_zones WHERE name = 'Europe/Paris';"
        "DELETE FROM known_currencies WHERE code = 'EUR'"
    )
    checks = {check.name: check for check in (await examine(fresh_runtime)).checks}
    assert checks["names"].health is Health.FAIL
    assert "EUR, Europe/Paris: run `claimwright init`" in checks["names"].detail


@pytest.mark.parametrize("badness", [ZONE, CURRENCY], ids=lambda badness: badness.name)
async def test_claims_of_a_policy_that_became_unusable_are_listed_and_exported(
    world: World, superuser: Connection, badness: Badness, tmp_path: Path
) -> None:
    """As when time zone data or ISO 4217 drop a name that policies have."""
    changed = badness.mend.replace("'America/New_York'", "'Mars/Base'").replace("'USD'", "'ZZZ'")
    await superuser.execute(changed.replace("id = 7", "policy_number = 'P1'"))
    first, *_ = (await list_claims(world.runtime, ClaimsFilter(), limit=10)).items
    assert first.fault == badness.fault
    assert (first.amount is None) == (badness is CURRENCY)
    assert str(first.triggered_at.utcoffset()) == (
        "0:00:00" if badness is ZONE else "-1 day, 20:00:00"
    )
    target = tmp_path / "claims.json"
    assert (
        await export_claims(world.runtime, ClaimsFilter(), target, TableFormat.JSON)
    ).claims == 2
    rows = json.loads(target.read_text(encoding="utf-8"))
    assert [row["policy_number"] for row in rows] == ["P1", "P1"]


@pytest.mark.parametrize("badness", [ZONE, TERMS], ids=lambda badness: badness.name)
async def test_an_import_refuses_rows_that_name_it_and_stores_the_others(
    world: World, superuser: Connection, badness: Badness, tmp_path: Path
) -> None:
    await store(superuser, badness)
    source = tmp_path / "policies.csv"
    source.write_text(
        "policy_number,product,version,region,coverage_amount,currency,zone,first_day,last_day\n"
        f"BAD,{CODE},1,JFK,100.00,USD,America/New_York,2025-01-01,2025-12-31\n"
        f"NEW,{CODE},,JFK,100.00,USD,America/New_York,2025-01-01,2025-12-31\n"
        f"P3,{CODE},1,JFK,100.00,USD,America/New_York,2025-01-01,2025-12-31\n",
        encoding="utf-8",
    )
    report = await import_policies(world.runtime, source)
    assert report.added == (2 if badness is ZONE else 1)
    reasons = {refusal.row: refusal.reason for refusal in report.refusals}
    assert set(reasons) == ({2} if badness is ZONE else {2, 3})
    refused = reasons[2 if badness is ZONE else 3]
    assert badness.fault in refused


@each
async def test_one_policy_that_is_calculated_by_itself_says_why_not(
    world: World, superuser: Connection, badness: Badness
) -> None:
    await store(superuser, badness)
    async with world.runtime.sessions() as session:
        policy = await session.get_one(Policy, 7)
        await session.commit()
        with pytest.raises(UnusableRecordError, match=re.escape(badness.fault)):
            await process_policy_claims(
                session, redis_client=world.runtime.redis, policy=policy, target_date=DAY
            )


async def test_an_event_that_slipped_past_the_guards_stops_its_own_group_alone(
    world: World, superuser: Connection
) -> None:
    elsewhere = World(world.runtime, region="LGA")
    await elsewhere.insure({"P2": 10_003})
    await world.insure({"P3": 10_003})
    await elsewhere.rain(DAY, ["1.5"])
    await superuser.execute(
        "ALTER TABLE risk_events DISABLE TRIGGER risk_events_tier;"
        "INSERT INTO risk_events (product_version_id, region, triggered_at, tier_level)"
        " SELECT product_version_id, 'JFK', '2025-06-07T18:00Z', 'tier9' FROM policies LIMIT 1"
    )
    report = await calculate(world)
    assert await elsewhere.paid_minor("P2") == 2_001
    assert await world.paid_minor("P1") == 5_002 + 2_001
    of_policy, of_event = report.failures
    assert of_event.work.endswith(f"JFK, any zone, {DAY} UTC")
    assert of_policy.work == f"policy {world.ids['P3']}, its whole term"
    for failure in report.failures:
        assert failure.reason.startswith(f"{DAY}: tier: 'tier9' is not one of")
    pending = await superuser.fetch(
        "SELECT DISTINCT kind, region, policy_id FROM work_requests"
        " WHERE finished_generation < generation"
    )
    assert set(map(tuple, pending)) == {
        ("calculate", "JFK", None),
        ("policy", None, world.ids["P3"]),
    }
    verification = await verify(world.runtime)
    assert verification.verdict is Verdict.DIFFERENT
    assert verification.differences == {DifferenceKind.UNVERIFIABLE: 2}
    assert (verification.policies, verification.claims) == (1, 1)


async def test_an_index_that_is_no_number_stops_its_own_group_alone(
    world: World, superuser: Connection
) -> None:
    await world.calculate()
    elsewhere = World(world.runtime, region="LGA")
    await elsewhere.insure({"P2": 10_003})
    await elsewhere.rain(DAY, ["1.5"])
    await elsewhere.calculate()
    await superuser.execute(
        "ALTER TABLE risk_events DROP CONSTRAINT risk_events_value_bounded;"
        "ALTER TABLE risk_events DISABLE TRIGGER USER;"
        f"UPDATE risk_events SET value = 'NaN' WHERE region = 'JFK' AND local_date = '{DAY}'"
    )
    verification = await verify(world.runtime)
    assert verification.verdict is Verdict.DIFFERENT
    assert verification.differences == {DifferenceKind.UNVERIFIABLE: 1}
    assert (verification.policies, verification.claims) == (1, 1)
    assert "InvalidOperation" in sentences(verification)[0]


async def test_a_reading_that_cannot_be_added_up_stops_its_own_group_alone(
    world: World, superuser: Connection
) -> None:
    elsewhere = World(world.runtime, region="LGA")
    await elsewhere.insure({"P2": 10_003})
    await elsewhere.rain(DAY, ["1.5"])
    await world.insure({"P3": 10_003})
    await superuser.execute("ALTER TABLE readings DROP CONSTRAINT readings_value_bounded")
    await world.rain(LATER, ["1.5", "1e-70"])
    report = await calculate(world)
    assert (await elsewhere.paid_minor("P2"), report.failures) == (2_001, [])
    (record,) = report.unusable
    assert (record.noun, record.name) == ("group", f"{CODE}, JFK, America/New_York")
    assert "Inexact" in record.fault
    pending = await superuser.fetch(
        "SELECT DISTINCT kind, region, policy_id FROM work_requests"
        " WHERE finished_generation < generation"
    )
    assert set(map(tuple, pending)) == {("evaluate", "JFK", None)}
    verification = await verify(world.runtime)
    assert verification.differences == {DifferenceKind.UNVERIFIABLE: 1}
    assert (verification.policies, verification.claims) == (1, 1)
