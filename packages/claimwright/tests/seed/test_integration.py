"""Concurrent control, section 5: whole scenarios over both servers."""

import asyncio
from dataclasses import replace
from datetime import date

import pytest
from redis.asyncio import Redis

from claimwright import (
    Claim,
    Policy,
    get_claims_for_policy,
    get_session,
    process_policy_claims,
    verify_contiguous_layers,
    verify_no_duplicate_claims,
    verify_period_payout_invariant,
    verify_within_aggregate_limit,
)
from claimwright.operations.calculate import Case, PolicyCalculation
from claimwright.storage.database import Driver
from claimwright.testing import TEST_DATE, create_test_policy, create_test_risk_event
from support.databases import Connections

TIERS = ["tier1", "tier2", "tier1", "tier3", "tier2"]

pytestmark = pytest.mark.integration


async def test_full_concurrent_calculation_scenario(redis_client: Redis) -> None:
    policies = [await create_test_policy() for _ in range(10)]
    for policy in policies:
        for hour, tier in enumerate(TIERS):
            await create_test_risk_event(policy.coverage_region, tier=tier, hour=hour)

    async def worker(policy: Policy) -> list[Claim]:
        return await process_policy_claims(
            redis_client=redis_client, policy=policy, target_date=TEST_DATE
        )

    results = await asyncio.gather(*(worker(policy) for policy in policies for _ in range(3)))

    async with get_session() as session:
        stored = {policy: await get_claims_for_policy(session, policy.id) for policy in policies}
    for policy, claims in stored.items():
        verify_no_duplicate_claims(claims)
        verify_contiguous_layers(claims)
        verify_period_payout_invariant(claims, policy)
        verify_within_aggregate_limit(claims, policy)
        assert [claim.payout_percentage for claim in claims] == [20, 30, 50]
    assert sum(len(created) for created in results) == 30


async def test_concurrent_with_db_failure_recovery(
    redis_client: Redis, connections: Connections
) -> None:
    superuser = await connections.superuser()
    policy = await create_test_policy()
    await create_test_risk_event()
    ended: list[int] = []
    parts = PolicyCalculation()

    async def read_and_be_cut_off(connection: Driver, policy_id: int, target_date: date) -> Case:
        case = await parts.read_case(connection, policy_id, target_date)
        if not ended:
            pid = connection.get_server_pid()
            ended.append(pid)
            await superuser.execute("SELECT pg_terminate_backend($1, 5000)", pid)
        return case

    async def worker() -> list[Claim]:
        return await process_policy_claims(
            redis_client=redis_client,
            policy=policy,
            target_date=TEST_DATE,
            calculation=replace(parts, read_case=read_and_be_cut_off),
        )

    results = await asyncio.gather(*(worker() for _ in range(3)))

    assert len(ended) == 1
    assert sorted(len(created) for created in results) == [0, 0, 1]
    async with get_session() as session:
        claims = await get_claims_for_policy(session, policy.id)
    assert len(claims) == 1
    verify_no_duplicate_claims(claims)
