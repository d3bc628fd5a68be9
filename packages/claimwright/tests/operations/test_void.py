"""A void claim takes what lies on top with it; what other events are worth comes back."""

import asyncio
from datetime import date
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from claimwright.domain.errors import InvalidInputError, InvalidTransitionError, NotFoundError
from claimwright.embedded import ServerAddresses
from claimwright.operations.verify import Verdict, verify
from claimwright.operations.void import Voided, VoidRequest, void_claim
from claimwright.runtime import Runtime
from claimwright.storage.claims import Claim
from claimwright.storage.database import make_engine, make_sessions, own_transaction
from claimwright.storage.policies import lock_policies
from claimwright.testing import terms_for_testing
from support.databases import Connections
from support.lost_replies import lossy_wire
from support.ordering import wait_until_blocked_by
from support.weather import World

DAY = date(2025, 6, 7)
NEXT_DAY = date(2025, 6, 8)
ALL_TIERS = ["1.0", "1.0", "1.0"]


@pytest.fixture
def world(fresh_runtime: Runtime) -> World:
    return World(fresh_runtime)


def request_of(claim: Claim) -> VoidRequest:
    return VoidRequest(claim.policy_id, claim.id, "the gauge was broken", "an auditor")


async def void(world: World, claim: Claim) -> Voided:
    async with world.runtime.sessions() as session:
        return await void_claim(session, request_of(claim))


async def assert_clean(world: World) -> None:
    verification = await verify(world.runtime)
    assert verification.findings == ()
    assert verification.verdict is Verdict.CLEAN


@pytest.mark.parametrize(
    ("position", "left_minor", "after_minor"),
    [(0, 0, 10_003), (1, 2_001, 10_003), (2, 5_002, 5_002)],
)
async def test_voiding_one_of_three_layers_keeps_what_the_other_events_are_worth(
    world: World, position: int, left_minor: int, after_minor: int
) -> None:
    await world.insure({"P1": 10_003})
    await world.rain(DAY, ALL_TIERS)
    await world.calculate()
    claims = await world.claims("P1")
    voided = await void(world, claims[position])
    assert (
        voided.layers
        == tuple(f"{c.policy_id}-{c.id}" for c in claims[: position - 4 : -1])[: 3 - position]
    )
    assert voided.amount_minor == 10_003 - left_minor
    assert await world.paid_minor("P1") == left_minor
    await world.calculate()
    assert await world.paid_minor("P1") == after_minor
    await assert_clean(world)


async def test_a_day_that_one_reading_took_over_every_tier_is_worth_nothing_after_its_void(
    world: World,
) -> None:
    await world.insure({"P1": 10_000})
    await world.rain(DAY, ["3.5"])
    await world.calculate()
    await void(world, (await world.claims("P1"))[0])
    await world.calculate()
    assert await world.paid_minor("P1") == 0
    await assert_clean(world)


async def test_a_void_concerns_no_other_policy(world: World) -> None:
    await world.insure({"P1": 10_000, "P2": 10_000})
    await world.rain(DAY, ALL_TIERS)
    await world.calculate()
    await void(world, (await world.claims("P1"))[2])
    await world.calculate()
    assert await world.paid_minor("P1") == 5_000
    assert await world.paid_minor("P2") == 10_000
    await assert_clean(world)


async def test_a_layer_that_the_limit_cut_is_topped_up_after_a_void_in_another_period(
    world: World,
) -> None:
    await world.insure({"P1": 10_003})
    await world.rain(DAY, ["2.0"])
    await world.calculate()
    await world.rain(NEXT_DAY, ["3.0"])
    await world.calculate()
    first, cut = await world.claims("P1")
    assert (cut.attachment_minor, cut.exhaustion_minor) == (0, 5_001)
    await void(world, first)
    await world.calculate()
    top = (await world.claims("P1"))[-1]
    assert (top.attachment_minor, top.exhaustion_minor) == (5_001, 10_003)
    await assert_clean(world)


async def test_every_layer_of_a_withdrawn_event_becomes_void(world: World) -> None:
    await world.insure({"P1": 10_003})
    await world.rain(DAY, ["2.0"])
    await world.calculate()
    await world.rain(NEXT_DAY, ["3.0"])
    await world.calculate()
    first, cut = await world.claims("P1")
    await void(world, first)
    await world.calculate()
    top = (await world.claims("P1"))[-1]
    assert top.event_id == cut.event_id
    voided = await void(world, top)
    assert len(voided.layers) == 2
    await world.calculate()
    assert await world.paid_minor("P1") == 0
    await assert_clean(world)


async def test_months_and_terms_come_back_from_the_other_days(fresh_runtime: Runtime) -> None:
    for number, frequency in enumerate(["once_per_month", "once_per_policy"]):
        world = World(fresh_runtime, terms_for_testing(frequency), region=f"R{number}")
        await world.insure({frequency: 10_000})
        await world.rain(DAY, ["2.5"])
        await world.rain(NEXT_DAY, ["1.5"])
        await world.calculate()
        (of_the_first,) = (c for c in await world.claims(frequency) if c.event_date == DAY)
        await void(world, of_the_first)
        await world.calculate()
        assert await world.paid_minor(frequency) == 2_000
        await assert_clean(world)


async def test_what_is_void_stays_void(world: World) -> None:
    await world.insure({"P1": 10_000})
    await world.rain(DAY, ALL_TIERS)
    await world.calculate()
    for _ in count():
        live = [claim for claim in await world.claims("P1") if claim.status != "void"]
        if not live:
            break
        await void(world, live[-1])
        await world.calculate()
    await world.calculate()
    statuses = {claim.status for claim in await world.claims("P1")}
    assert statuses == {"void"}
    await assert_clean(world)


async def test_a_void_leaves_the_request_for_what_comes_back(world: World) -> None:
    await world.insure({"P1": 10_000})
    await world.rain(DAY, ALL_TIERS)
    await world.calculate()
    await void(world, (await world.claims("P1"))[0])
    verification = await verify(world.runtime)
    assert verification.verdict is Verdict.PENDING
    assert [finding.due_minor for finding in verification.findings] == [10_000]


async def test_a_void_that_waits_for_a_calculation_takes_its_new_layer_too(
    world: World, fresh_connections: Connections
) -> None:
    await world.insure({"P1": 10_000})
    await world.rain(DAY, ["1.0"])
    await world.calculate()
    (claim,) = await world.claims("P1")
    holder = await fresh_connections.application()
    watcher = await fresh_connections.superuser()
    blocker = await holder.fetchval("SELECT pg_backend_pid()")
    await holder.execute("BEGIN; SELECT FROM policies FOR NO KEY UPDATE")
    waiting = asyncio.create_task(void(world, claim))
    await wait_until_blocked_by(watcher, blocker)
    await holder.execute(
        """
        INSERT INTO risk_events (product_version_id, region, triggered_at, tier_level)
        SELECT product_version_id, region, triggered_at + interval '1 hour', 'tier2'
        FROM risk_events;
        INSERT INTO claims (policy_id, event_id, event_date, period_key, tier_level,
            attachment_minor, exhaustion_minor, payout_percentage, terms_sha256,
            calculation_id, engine_version)
        SELECT c.policy_id, e.id, event_date, period_key, 'tier2', 2000, 5000, 30,
            terms_sha256, calculation_id, engine_version
        FROM claims c, risk_events e WHERE e.tier_level = 'tier2';
        COMMIT
        """
    )
    assert len((await waiting).layers) == 2
    await world.calculate()
    assert await world.paid_minor("P1") == 5_000
    await assert_clean(world)


async def test_a_void_whose_commit_lost_its_reply_is_done_once(
    world: World, fresh_database: ServerAddresses
) -> None:
    await world.insure({"P1": 10_000})
    await world.rain(DAY, ALL_TIERS)
    await world.calculate()
    claims = await world.claims("P1")
    with TemporaryDirectory() as folder:
        async with lossy_wire(fresh_database.database_url, Path(folder)) as wire:
            engine = make_engine(wire.database_url)
            async with make_sessions(engine)() as session:
                wire.lose_next = True
                voided = await void_claim(session, request_of(claims[1]))
            await engine.dispose()
    assert wire.lost == 1
    assert len(voided.layers) == 2
    statuses = [claim.status for claim in await world.claims("P1")]
    assert statuses == ["calculated", "void", "void"]


async def test_what_cannot_become_void_is_an_error_that_says_why(world: World) -> None:
    await world.insure({"P1": 10_000})
    await world.rain(DAY, ["1.0"])
    await world.calculate()
    (claim,) = await world.claims("P1")
    async with world.runtime.sessions() as session:
        with pytest.raises(NotFoundError, match=f"no claim {claim.policy_id}-4711"):
            await void_claim(session, VoidRequest(claim.policy_id, 4711, "a reason", "an actor"))
    await void(world, claim)
    with pytest.raises(InvalidTransitionError, match="void cannot become void"):
        await void(world, claim)


@pytest.mark.parametrize(("reason", "actor"), [("", "somebody"), ("why", " "), ("x" * 1001, "y")])
def test_a_void_has_a_reason_and_an_actor(reason: str, actor: str) -> None:
    with pytest.raises(InvalidInputError):
        VoidRequest(1, 1, reason, actor)


async def test_a_policy_is_locked_before_its_claims_are_read(
    world: World, fresh_connections: Connections
) -> None:
    """Without the row lock the void goes past a writer that holds the policy, and is too early."""
    await world.insure({"P1": 10_000})
    await world.rain(DAY, ["1.0"])
    await world.calculate()
    (claim,) = await world.claims("P1")
    watcher = await fresh_connections.superuser()
    async with world.runtime.sessions() as session, own_transaction(session) as connection:
        await lock_policies(connection, [claim.policy_id])
        raw = await connection.get_raw_connection()
        driver = raw.driver_connection
        assert driver is not None
        waiting = asyncio.create_task(void(world, claim))
        (blocked,) = await wait_until_blocked_by(watcher, driver.get_server_pid())
        assert "FOR NO KEY UPDATE" in blocked.statement
    await waiting
