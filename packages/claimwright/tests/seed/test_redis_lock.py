"""Concurrent control, section 1: the Redis lock."""

from unittest.mock import AsyncMock

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncSession

from claimwright import CalculationError, LockNotAcquiredError, process_policy_claims
from claimwright.testing import (
    TEST_DATE,
    count_claims,
    create_test_policy,
    create_test_risk_event,
    process_policy_claims_with_error,
)


@pytest.fixture
def mock_redis() -> AsyncMock:
    """A client of somebody else's making: what is seen is only what is asked of it."""
    client = AsyncMock(spec=Redis)
    lock = AsyncMock()
    lock.acquire.return_value = True
    lock.release.return_value = None
    client.lock.return_value = lock
    return client


@pytest.mark.parametrize("own_session", [True, False], ids=["a session", "no session"])
async def test_lock_acquired_before_calculation(
    own_session: bool,  # noqa: FBT001 - a parameter of the test
    mock_redis: AsyncMock,
    db_session: AsyncSession,
) -> None:
    lock = mock_redis.lock.return_value
    policy = await create_test_policy()
    await create_test_risk_event()

    claims = await process_policy_claims(
        session=db_session if own_session else None,
        redis_client=mock_redis,
        policy=policy,
        target_date=TEST_DATE,
    )

    assert len(claims) == 1
    mock_redis.lock.assert_called_once_with(f"lock:claim_calc:{policy.id}:2025-01-15", timeout=120)
    lock.acquire.assert_called_once()
    lock.release.assert_called_once()


async def test_nothing_is_calculated_before_the_lock_is_acquired(mock_redis: AsyncMock) -> None:
    lock = mock_redis.lock.return_value
    policy = await create_test_policy()
    await create_test_risk_event()
    seen: list[int] = []

    async def look(**_options: object) -> bool:
        seen.append(await count_claims(policy.id))
        return False

    lock.acquire.side_effect = look
    with pytest.raises(LockNotAcquiredError):
        await process_policy_claims(
            redis_client=mock_redis, policy=policy, target_date=TEST_DATE, blocking_timeout=0
        )
    assert seen == [0]
    assert await count_claims(policy.id) == 0
    lock.release.assert_not_called()


async def test_lock_released_on_error(mock_redis: AsyncMock) -> None:
    lock = mock_redis.lock.return_value
    policy = await create_test_policy()

    with pytest.raises(CalculationError):
        await process_policy_claims_with_error(redis_client=mock_redis, policy=policy)

    lock.release.assert_called_once()


async def test_lock_contention_skips_duplicate(redis_client: Redis) -> None:
    policy = await create_test_policy()
    await create_test_risk_event()
    lock_key = f"lock:claim_calc:{policy.id}:2025-01-15"

    lock1 = redis_client.lock(lock_key, timeout=60)
    assert await lock1.acquire(blocking=False) is True
    try:
        lock2 = redis_client.lock(lock_key, timeout=60)
        assert await lock2.acquire(blocking=False) is False
        with pytest.raises(LockNotAcquiredError):
            await process_policy_claims(
                redis_client=redis_client,
                policy=policy,
                target_date=TEST_DATE,
                blocking_timeout=0,
            )
        assert await count_claims(policy.id) == 0
    finally:
        await lock1.release()


async def test_lock_timeout_recovery(redis_client: Redis) -> None:
    policy = await create_test_policy()
    await create_test_risk_event()
    lock_key = f"lock:claim_calc:{policy.id}:2025-01-15"

    crashed = redis_client.lock(lock_key, timeout=60)
    assert await crashed.acquire(blocking=False) is True
    await age(redis_client, lock_key)

    claims = await process_policy_claims(
        redis_client=redis_client, policy=policy, target_date=TEST_DATE, blocking_timeout=0
    )
    assert len(claims) == 1
    lock2 = redis_client.lock(lock_key, timeout=60)
    assert await lock2.acquire(blocking=False) is True
    await lock2.release()


async def age(redis_client: Redis, key: str) -> None:
    """Let the key's time be up: the server drops it as it does when its time-out fires."""
    assert await redis_client.pexpireat(key, 1) == 1
