"""Each way claims can be wrong is made for real, past the guards, and verify has to name it."""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from threading import Thread

import pytest

from claimwright.domain.errors import NotFoundError
from claimwright.domain.index import Comparison, IndexKind
from claimwright.domain.oracle import DifferenceKind
from claimwright.operations.verify import Verdict, Verification, verify
from claimwright.runtime import Runtime, make_runtime
from claimwright.testing import terms_for_testing
from support.databases import Connection, Connections
from support.weather import World

DAY = date(2025, 6, 7)
NEXT_DAY = date(2025, 6, 8)
GUARDED = ("claims", "risk_events", "readings", "policy_accounts", "period_accounts")


@pytest.fixture
def world(fresh_runtime: Runtime) -> World:
    return World(fresh_runtime)


@pytest.fixture
async def superuser(fresh_connections: Connections) -> Connection:
    return await fresh_connections.superuser()


async def store_right_claims(world: World) -> None:
    """P1 and P2, of 100.03 each: 50.02 on the first day, 20.01 on the next."""
    await world.insure({"P1": 10_003, "P2": 10_003})
    await world.rain(DAY, ["1.2", "1.0"])
    await world.rain(NEXT_DAY, ["1.5"])
    await world.calculate()


async def drop_guards(superuser: Connection) -> None:
    for table in GUARDED:
        await superuser.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")


async def forget_requests(superuser: Connection) -> None:
    await superuser.execute("UPDATE work_requests SET finished_generation = generation")


def kinds_of(verification: Verification) -> set[str]:
    return set(verification.differences)


async def test_right_claims_are_clean_and_counted(world: World) -> None:
    await store_right_claims(world)
    verification = await verify(world.runtime)
    assert verification.verdict is Verdict.CLEAN
    assert (verification.policies, verification.periods, verification.claims) == (2, 4, 6)
    assert verification.paid_minor == {"USD": 2 * (5_002 + 2_001)}
    assert verification.pending.requests == 0


async def test_nothing_stored_is_clean(fresh_runtime: Runtime) -> None:
    verification = await verify(fresh_runtime)
    assert (verification.verdict, verification.policies) == (Verdict.CLEAN, 0)


async def test_pages_change_nothing(world: World) -> None:
    await world.insure({f"P{number}": 10_000 + number for number in range(5)})
    await world.rain(DAY, ["2.5"])
    await world.calculate()
    whole = await verify(world.runtime)
    paged = await verify(world.runtime, policies_at_once=2)
    assert (paged.policies, paged.claims, paged.paid_minor) == (5, 5, whole.paid_minor)


@pytest.mark.parametrize("stored_later", ["readings", "policies"])
async def test_work_that_nobody_did_yet_is_pending(world: World, stored_later: str) -> None:
    await store_right_claims(world)
    if stored_later == "readings":
        await world.rain(date(2025, 7, 1), ["2.5"])
        expected = {DifferenceKind.EVENT_MISSING, DifferenceKind.PAID_TOO_LITTLE}
    else:
        await world.insure({"P3": 10_000})
        expected = {DifferenceKind.PAID_TOO_LITTLE}
    verification = await verify(world.runtime)
    assert verification.verdict is Verdict.PENDING
    assert kinds_of(verification) == expected
    assert verification.pending.requests > 0
    assert verification.pending.oldest is not None
    await world.calculate()
    assert (await verify(world.runtime)).verdict is Verdict.CLEAN


async def test_what_is_missing_though_nothing_is_pending_is_a_difference(
    world: World, superuser: Connection
) -> None:
    await store_right_claims(world)
    await world.insure({"P3": 10_000})
    await forget_requests(superuser)
    verification = await verify(world.runtime)
    assert verification.verdict is Verdict.DIFFERENT
    (finding,) = verification.findings
    assert (finding.policy_number, finding.due_minor, finding.paid_minor) == ("P3", 7_000, 0)


async def test_pending_work_of_another_region_excuses_nothing(
    world: World, superuser: Connection
) -> None:
    await store_right_claims(world)
    await world.insure({"P3": 10_000})
    await forget_requests(superuser)
    await World(world.runtime, region="LGA").rain(DAY, ["0.1"])
    verification = await verify(world.runtime)
    assert verification.pending.requests > 0
    assert verification.verdict is Verdict.DIFFERENT


async def test_readings_that_no_trigger_saw_are_found(world: World, superuser: Connection) -> None:
    await store_right_claims(world)
    await drop_guards(superuser)
    await superuser.execute(
        "INSERT INTO readings (region, variable, observed_at, value)"
        " VALUES ('JFK', 'precipitation-for-testing', '2025-07-01T12:00Z', 2.5)"
    )
    verification = await verify(world.runtime)
    assert verification.verdict is Verdict.DIFFERENT
    missing = next(f for f in verification.findings if f.kind is DifferenceKind.EVENT_MISSING)
    assert (missing.region, missing.day) == ("JFK", date(2025, 7, 1))
    assert "reach tier2 with 2.5 in" in missing.sentence


@dataclass(frozen=True, slots=True)
class Seed:
    """One wrongness: the statement that makes it, and what verify has to call it."""

    kind: DifferenceKind
    sql: str


def _claim(low: int, high: int, *, tier: str = "tier3", day: str = "2025-06-07", event: str) -> str:
    return f"""
        INSERT INTO claims (policy_id, event_id, event_date, period_key, tier_level,
            attachment_minor, exhaustion_minor, payout_percentage, terms_sha256,
            calculation_id, engine_version)
        SELECT p.id, ({event}), '{day}', '{day}', '{tier}', {low}, {high}, 10, v.terms_sha256,
            gen_random_uuid(), 'by hand'
        FROM policies p JOIN product_versions v ON v.id = p.product_version_id
        WHERE policy_number = 'P1'
        """


TIER2 = "SELECT id FROM risk_events WHERE tier_level = 'tier2'"
OF_P1 = "policy_id = (SELECT id FROM policies WHERE policy_number = 'P1')"
TOP = f"{OF_P1} AND exhaustion_minor = 5002"
SEEDS = [
    Seed(DifferenceKind.OVERLAP, _claim(4_000, 5_000, event=TIER2)),
    Seed(DifferenceKind.GAP, _claim(6_000, 7_000, event=TIER2)),
    Seed(DifferenceKind.ABOVE_FULL_AMOUNT, _claim(5_002, 6_000, event=TIER2)),
    Seed(DifferenceKind.PAID_TOO_MUCH, _claim(5_002, 5_003, event=TIER2)),
    Seed(DifferenceKind.ABOVE_LIMIT, _claim(5_002, 9_000, event=TIER2)),
    Seed(DifferenceKind.EVENT_DOES_NOT_PAY, _claim(5_002, 6_000, event=TIER2)),
    Seed(
        DifferenceKind.OUTSIDE_COVERAGE,
        "UPDATE policies SET cancelled_on = '2025-06-08' WHERE policy_number = 'P1'",
    ),
    Seed(DifferenceKind.PAID_TOO_LITTLE, f"UPDATE claims SET status = 'void' WHERE {TOP}"),
    Seed(DifferenceKind.ACCOUNT_DISAGREES, f"UPDATE claims SET status = 'void' WHERE {TOP}"),
    Seed(
        DifferenceKind.ACCOUNT_DISAGREES, f"UPDATE policy_accounts SET paid_minor = 1 WHERE {OF_P1}"
    ),
    Seed(DifferenceKind.ACCOUNT_DISAGREES, f"DELETE FROM policy_accounts WHERE {OF_P1}"),
    Seed(
        DifferenceKind.ACCOUNT_DISAGREES,
        f"UPDATE period_accounts SET exhaustion_minor = exhaustion_minor + 1 WHERE {OF_P1}",
    ),
    Seed(DifferenceKind.CLAIM_DISAGREES, f"UPDATE claims SET payout_percentage = 31 WHERE {TOP}"),
    Seed(DifferenceKind.CLAIM_DISAGREES, f"UPDATE claims SET terms_sha256 = '' WHERE {TOP}"),
    Seed(
        DifferenceKind.CLAIM_DISAGREES, f"UPDATE claims SET event_date = '2025-06-06' WHERE {TOP}"
    ),
    Seed(DifferenceKind.CLAIM_DISAGREES, f"UPDATE claims SET tier_level = 'tier9' WHERE {TOP}"),
    Seed(DifferenceKind.CLAIM_DISAGREES, f"UPDATE claims SET period_key = '2025-06' WHERE {TOP}"),
    Seed(
        DifferenceKind.EVENT_NOT_SUPPORTED,
        "UPDATE risk_events SET tier_level = 'tier3' WHERE tier_level = 'tier2'",
    ),
    Seed(
        DifferenceKind.EVENT_NOT_SUPPORTED,
        "UPDATE risk_events SET value = 1.99 WHERE tier_level = 'tier2'",
    ),
    Seed(
        DifferenceKind.EVENT_NOT_SUPPORTED,
        "UPDATE risk_events SET triggered_at = triggered_at + interval '1 day'"
        " WHERE tier_level = 'tier2'",
    ),
    Seed(
        DifferenceKind.EVENT_NOT_SUPPORTED,
        "INSERT INTO risk_events (product_version_id, region, triggered_at, tier_level, value,"
        " zone, local_date) SELECT product_version_id, region, '2025-08-01T12:00Z', 'tier1', 1.5,"
        " zone, '2025-08-01' FROM risk_events LIMIT 1",
    ),
    Seed(
        DifferenceKind.EVENT_MISSING,
        "UPDATE risk_events SET zone = 'UTC' WHERE tier_level = 'tier2'",
    ),
    Seed(
        DifferenceKind.EVENT_DOES_NOT_PAY,
        f"INSERT INTO event_withdrawals SELECT policy_id, event_id, 'by hand', 'somebody'"
        f" FROM claims WHERE {TOP}",
    ),
]


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.kind)
async def test_verify_names_what_is_wrong(world: World, superuser: Connection, seed: Seed) -> None:
    await store_right_claims(world)
    await drop_guards(superuser)
    await superuser.execute("ALTER TABLE policies DISABLE TRIGGER USER")
    await superuser.execute("ALTER TABLE event_withdrawals DISABLE TRIGGER USER")
    await superuser.execute(seed.sql)
    verification = await verify(world.runtime)
    assert seed.kind in kinds_of(verification)
    assert seed.kind in {finding.kind for finding in verification.findings}
    assert verification.verdict is Verdict.DIFFERENT


async def test_an_overpayment_is_a_difference_whatever_is_pending(
    world: World, superuser: Connection
) -> None:
    await store_right_claims(world)
    await world.rain(date(2025, 7, 1), ["2.5"])
    await drop_guards(superuser)
    await superuser.execute(_claim(5_002, 6_000, event=TIER2))
    assert (await verify(world.runtime)).verdict is Verdict.DIFFERENT


async def test_all_differences_are_counted_and_few_are_named(
    world: World, superuser: Connection
) -> None:
    await store_right_claims(world)
    await drop_guards(superuser)
    await superuser.execute("UPDATE policy_accounts SET paid_minor = 1")
    verification = await verify(world.runtime, most_findings=1)
    assert verification.differences == {DifferenceKind.ACCOUNT_DISAGREES: 2}
    assert len(verification.findings) == 1


async def test_a_product_or_region_is_verified_alone(world: World, superuser: Connection) -> None:
    await store_right_claims(world)
    other = World(world.runtime, region="LGA")
    await other.insure({"P9": 5_000})
    await other.rain(DAY, ["2.5"])
    await other.calculate()
    await drop_guards(superuser)
    await superuser.execute(f"UPDATE policy_accounts SET paid_minor = 1 WHERE {OF_P1}")
    assert (await verify(world.runtime, region="LGA")).verdict is Verdict.CLEAN
    assert (await verify(world.runtime, region="JFK")).verdict is Verdict.DIFFERENT
    with pytest.raises(NotFoundError, match="there is no product another"):
        await verify(world.runtime, product_code="another")
    product = await verify(world.runtime, product_code="claimwright-testing")
    assert product.policies == 3


async def test_directly_stored_events_are_due_too(
    world: World, fresh_connections: Connections
) -> None:
    await world.insure({"P1": 10_000})
    application = await fresh_connections.application()
    await application.execute(
        "INSERT INTO risk_events (product_version_id, region, triggered_at, tier_level)"
        " SELECT product_version_id, 'JFK', $1, 'tier3' FROM policies",
        datetime(2025, 6, 7, 12, tzinfo=UTC),
    )
    before = await verify(world.runtime)
    assert (before.verdict, before.findings[0].due_minor) == (Verdict.PENDING, 10_000)
    await world.calculate()
    assert (await verify(world.runtime)).verdict is Verdict.CLEAN


@pytest.mark.parametrize("frequency", ["once_per_month", "once_per_policy"])
async def test_months_and_terms_are_clean_in_whatever_order_their_days_came(
    fresh_runtime: Runtime, frequency: str
) -> None:
    world = World(fresh_runtime, terms_for_testing(frequency, 70))
    await world.insure({"P1": 10_003})
    for day, value in [(NEXT_DAY, "1.0"), (DAY, "3.0"), (date(2025, 7, 1), "2.0")]:
        await world.rain(day, [value])
        await world.calculate()
    assert await world.paid_minor("P1") == 7_002
    assert (await verify(world.runtime)).verdict is Verdict.CLEAN


async def test_a_day_that_settles_at_its_close_is_due_once_it_is_complete(
    fresh_runtime: Runtime,
) -> None:
    terms = terms_for_testing()
    index = replace(terms.index, kind=IndexKind.DAILY_SUM, cadence_minutes=720)
    drought = replace(
        terms,
        index=index,
        comparison=Comparison.AT_MOST,
        thresholds=(Decimal(3), Decimal(2), Decimal(1)),
    )
    world = World(fresh_runtime, drought)
    await world.insure({"P1": 10_000})
    await world.rain(DAY, ["0.5"])
    await world.calculate()
    assert (await verify(fresh_runtime)).verdict is Verdict.CLEAN
    assert await world.paid_minor("P1") == 0
    await world.rain(DAY, ["1.0"], from_hour=20)
    assert (await verify(fresh_runtime)).verdict is Verdict.PENDING
    await world.calculate()
    assert await world.paid_minor("P1") == 5_000
    assert (await verify(fresh_runtime)).verdict is Verdict.CLEAN


async def test_a_rolling_sum_over_midnight_is_due_on_each_day_it_reaches(
    fresh_runtime: Runtime,
) -> None:
    terms = terms_for_testing()
    index = replace(terms.index, kind=IndexKind.ROLLING_SUM, window_hours=24)
    world = World(fresh_runtime, replace(terms, index=index))
    await world.insure({"P1": 10_000})
    await world.rain(DAY, ["1.2"] + ["0"] * 20, from_hour=12)
    await world.calculate()
    assert await world.paid_minor("P1") == 4_000
    assert (await verify(fresh_runtime)).verdict is Verdict.CLEAN


async def test_claims_that_commit_meanwhile_are_not_seen_by_halves(
    world: World,
) -> None:
    """A calculation of all policies commits when verify has read the weather and no policy."""
    await world.insure({f"P{number}": 10_000 for number in range(4)})
    await world.rain(DAY, ["2.5"])
    commits: list[int] = []

    def commit_between_the_pages(stage: str, done: int, _total: int) -> None:
        if stage == "Verifying policies" and done == 1:
            writer = Thread(target=lambda: commits.append(asyncio.run(_calculate_apart(world))))
            writer.start()
            writer.join()

    verification = await verify(world.runtime, policies_at_once=1, notify=commit_between_the_pages)
    assert commits == [4]
    assert verification.claims == 0
    assert verification.differences[DifferenceKind.PAID_TOO_LITTLE] == 4
    assert verification.verdict is Verdict.PENDING
    after = await verify(world.runtime)
    assert (after.claims, after.verdict) == (4, Verdict.CLEAN)


async def _calculate_apart(world: World) -> int:
    """Calculate with connections of another event loop; how many claims it made."""
    runtime = make_runtime(world.runtime.settings, world.runtime.addresses)
    try:
        return (await World(runtime).calculate()).claims
    finally:
        await runtime.close()
