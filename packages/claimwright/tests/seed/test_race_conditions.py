"""Concurrent control, section 3: races."""

import asyncio
from itertools import permutations

from redis.asyncio import Redis
from sqlalchemy import select

from claimwright import (
    TIER_PAYOUTS,
    Claim,
    ClaimCalculator,
    get_session,
    process_policy_claims,
    verify_no_duplicate_claims,
)
from claimwright.testing import (
    TEST_DATE,
    create_risk_event,
    create_test_policy,
    create_test_risk_event,
)


async def test_parallel_calculation_no_duplicates(redis_client: Redis) -> None:
    policy = await create_test_policy()
    for _ in range(5):
        await create_test_risk_event()

    async def calculate_worker(_worker_id: int) -> list[Claim]:
        return await process_policy_claims(
            redis_client=redis_client, policy=policy, target_date=TEST_DATE
        )

    results = await asyncio.gather(*(calculate_worker(i) for i in range(5)))

    total_claims = sum(len(created) for created in results)
    async with get_session() as session:
        found = await session.execute(select(Claim).where(Claim.policy_id == policy.id))
        actual_claims = list(found.scalars())
    assert len(actual_claims) == total_claims == 1
    verify_no_duplicate_claims(actual_claims)


async def test_interleaved_events_consistent() -> None:
    policy = create_test_policy()
    calculator = ClaimCalculator(TIER_PAYOUTS, "once_per_day")
    events = [
        create_risk_event(tier="tier1", hour=10),
        create_risk_event(tier="tier2", hour=14),
        create_risk_event(tier="tier3", hour=18),
    ]

    results = []
    for order in permutations(events):
        claims = calculator.calculate(order, policy, [])
        results.append(sum(claim.payout_percentage for claim in claims))

    assert results == [100] * 6


async def test_interleaved_arrival_pays_the_same_whatever_the_order(redis_client: Redis) -> None:
    for order in permutations([("tier1", 10), ("tier2", 14), ("tier3", 18)]):
        policy = await create_test_policy()
        created = []
        for tier, hour in order:
            await create_test_risk_event(policy.coverage_region, tier=tier, hour=hour)
            created += await process_policy_claims(
                redis_client=redis_client, policy=policy, target_date=TEST_DATE
            )
        verify_no_duplicate_claims(created)
        assert sum(claim.payout_percentage for claim in created) == 100
        assert sum(claim.amount_minor for claim in created) == policy.coverage_minor
