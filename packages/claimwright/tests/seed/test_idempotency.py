"""Concurrent control, section 4: doing it again changes nothing."""

import asyncio

from claimwright import (
    calculate_claims,
    get_claims_for_policy,
    get_session,
    run_claim_calculation_task,
)
from claimwright.embedded import ServerAddresses
from claimwright.runtime import close_current_runtime
from claimwright.testing import (
    create_and_persist_event,
    create_and_persist_policy,
    create_test_policy,
    create_test_risk_event,
    get_claim_count,
)
from support.databases import plain_connections


async def test_calculation_idempotent() -> None:
    policy = await create_test_policy()
    events = [await create_test_risk_event() for _ in range(3)]

    claims1 = await calculate_claims(policy, events)
    claims2 = await calculate_claims(policy, events)

    assert len(claims1) == 1
    assert len(claims1) == len(claims2)
    for first, second in zip(claims1, claims2, strict=True):
        assert first.tier_level == second.tier_level
        assert first.payout_percentage == second.payout_percentage


async def test_no_duplicate_claims_on_retry() -> None:
    async with get_session() as session:
        policy = await create_and_persist_policy(session)
        for _ in range(3):
            await create_and_persist_event(session)
        await session.commit()

        assert await run_claim_calculation_task(policy.id, "2025-01-15") == 1
        claims1 = await get_claims_for_policy(session, policy.id)

        assert await run_claim_calculation_task(policy.id, "2025-01-15") == 0
        claims2 = await get_claims_for_policy(session, policy.id)

    assert len(claims1) == 1
    assert [claim.id for claim in claims1] == [claim.id for claim in claims2]


def test_claims_are_counted_without_an_event_loop_and_nothing_is_left_open(
    session_database: ServerAddresses,
) -> None:
    async def work() -> int:
        policy = await create_test_policy()
        await create_test_risk_event()
        await run_claim_calculation_task(policy.id, "2025-01-15")
        await close_current_runtime()
        return policy.id

    policy_id = asyncio.run(work())
    before = asyncio.run(sessions(session_database))
    assert [get_claim_count(policy_id) for _ in range(3)] == [1, 1, 1]
    assert asyncio.run(sessions(session_database)) == before


async def sessions(database: ServerAddresses) -> int:
    """How many sessions the application has on the server."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'claimwright'"
    async with plain_connections(database) as connections:
        return int(await (await connections.superuser()).fetchval(query))
