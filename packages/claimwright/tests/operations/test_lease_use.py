"""What the lease changes for a calculation: who does the work, never what is paid."""

import asyncio
from datetime import date

import pytest

from claimwright import CalculationError, LockNotAcquiredError, process_policy_claims
from claimwright.domain.errors import LeaseUnavailableError
from claimwright.locks import lease_key, make_redis_client
from claimwright.operations.calculate import Case, PolicyCalculation, read_case
from claimwright.runtime import Runtime
from claimwright.storage.database import Driver
from claimwright.storage.requests import RequestKind, pending_page
from claimwright.testing import TEST_DATE

from .staging import Hold, calculate, counted, insure, live_amounts


async def test_contention_is_told_at_once_and_loses_nothing(runtime: Runtime) -> None:
    policy = await insure(runtime.sessions)
    held = runtime.redis.lock(lease_key(policy.id, TEST_DATE), timeout=120)
    assert await held.acquire(blocking=False)
    async with counted("leases_contended") as contended:
        with pytest.raises(LockNotAcquiredError):
            await calculate(runtime, policy, blocking_timeout=0)
    assert contended == [1]
    assert await live_amounts(runtime, policy) == []
    async with runtime.engine.connect() as connection:
        asked = await pending_page(
            connection,
            RequestKind.CALCULATE,
            days=(TEST_DATE, TEST_DATE),
            after=None,
            limit=10_000,
        )
    assert policy.coverage_region in [request.region for request in asked]
    await held.release()
    assert len(await calculate(runtime, policy)) == 1


async def test_who_waits_for_the_lease_finds_the_work_done(runtime: Runtime) -> None:
    policy = await insure(runtime.sessions)
    hold = Hold()
    first = asyncio.create_task(
        calculate(runtime, policy, calculation=hold.after_reading(PolicyCalculation()))
    )
    await hold.reached.wait()
    second = asyncio.create_task(calculate(runtime, policy))
    with pytest.raises(LockNotAcquiredError):
        await calculate(runtime, policy, blocking_timeout=0)
    assert not second.done()
    hold.let_go.set()
    assert (len(await first), await second) == (1, [])
    assert await live_amounts(runtime, policy) == [2_000_000]


async def test_a_lease_that_is_lost_in_the_middle_is_counted_and_the_claims_are_right(
    runtime: Runtime,
) -> None:
    policy = await insure(runtime.sessions)

    async def lose(connection: Driver, policy_id: int, day: date) -> Case:
        assert await runtime.redis.delete(lease_key(policy_id, day)) == 1
        return await read_case(connection, policy_id, day)

    async with counted("leases_lost") as lost:
        claims = await calculate(runtime, policy, calculation=PolicyCalculation(read_case=lose))
    assert lost == [1]
    assert [claim.id for claim in claims]
    assert await live_amounts(runtime, policy) == [2_000_000]


async def test_two_workers_whose_lease_was_lost_pay_once(runtime: Runtime) -> None:
    policy = await insure(runtime.sessions)
    hold = Hold()
    first = asyncio.create_task(
        calculate(runtime, policy, calculation=hold.after_reading(PolicyCalculation()))
    )
    await hold.reached.wait()
    await runtime.redis.delete(lease_key(policy.id, TEST_DATE))
    second = asyncio.create_task(calculate(runtime, policy, blocking_timeout=0))
    hold.let_go.set()
    assert sorted([len(await first), len(await second)]) == [0, 1]
    assert await live_amounts(runtime, policy) == [2_000_000]


async def test_without_redis_a_calculation_goes_on_and_is_counted(runtime: Runtime) -> None:
    policy = await insure(runtime.sessions)
    async with (
        make_redis_client("unix:///nowhere/valkey.sock") as away,
        counted("leases_skipped", reason="unreachable") as skipped,
    ):
        claims = await process_policy_claims(
            redis_client=away, policy=policy, target_date=TEST_DATE
        )
    assert skipped == [1]
    assert len(claims) == 1


async def test_without_redis_a_required_lease_is_an_error_and_nothing_is_stored(
    runtime: Runtime,
) -> None:
    policy = await insure(runtime.sessions)
    async with make_redis_client("unix:///nowhere/valkey.sock") as away:
        with pytest.raises(LeaseUnavailableError) as raised:
            await process_policy_claims(
                redis_client=away, policy=policy, target_date=TEST_DATE, require_lease=True
            )
    assert isinstance(raised.value, CalculationError)
    assert await live_amounts(runtime, policy) == []
