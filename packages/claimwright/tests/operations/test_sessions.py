"""Whose session a calculation runs on, and what it finds there."""

from datetime import date

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from claimwright import Policy, process_policy_claims
from claimwright.domain.errors import SessionInUseError
from claimwright.locks import lease_key
from claimwright.operations.calculate import Case, PolicyCalculation, read_case
from claimwright.runtime import Runtime
from claimwright.storage.database import Driver
from claimwright.testing import TEST_DATE

from .staging import insure, live_amounts

SETTINGS = (
    "SELECT current_setting('transaction_isolation'), current_setting('statement_timeout'),"
    " current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout')"
)


async def test_a_session_in_a_transaction_is_an_error_and_takes_no_lease(
    runtime: Runtime,
) -> None:
    policy = await insure(runtime.sessions)
    key = lease_key(policy.id, TEST_DATE)
    async with runtime.sessions() as session, session.begin():
        await runtime.redis.set(key, "another worker's, so that trying it would be an error")
        with pytest.raises(SessionInUseError):
            await process_policy_claims(
                session, redis_client=runtime.redis, policy=policy, target_date=TEST_DATE
            )
    await runtime.redis.delete(key)
    assert await live_amounts(runtime, policy) == []


@pytest.mark.parametrize("isolation", [None, "REPEATABLE READ", "SERIALIZABLE", "AUTOCOMMIT"])
async def test_a_session_of_the_users_own_gets_the_level_and_the_limits_for_one_transaction(
    isolation: str | None, runtime: Runtime
) -> None:
    policy = await insure(runtime.sessions)
    seen: list[tuple[str, ...]] = []

    async def look_around(connection: Driver, policy_id: int, day: date) -> Case:
        seen.append(tuple(await connection.fetchrow(SETTINGS)))
        return await read_case(connection, policy_id, day)

    options = {} if isolation is None else {"isolation_level": isolation}
    engine = create_async_engine(runtime.addresses.database_url, pool_size=1, **options)
    async with AsyncSession(engine) as session:
        claims = await process_policy_claims(
            session,
            redis_client=runtime.redis,
            policy=policy,
            target_date=TEST_DATE,
            calculation=PolicyCalculation(read_case=look_around),
        )
        assert [claim.amount_minor for claim in claims] == [2_000_000]
        after = tuple((await session.execute(text(SETTINGS))).one())
    await engine.dispose()
    assert seen == [("read committed", "5s", "4s", "5s")]
    assert after[1:] == ("0", "0", "0")
    assert after[0] == (
        "read committed" if isolation in (None, "AUTOCOMMIT") else str(isolation).lower()
    )


async def test_a_session_can_be_used_again_after_a_calculation(runtime: Runtime) -> None:
    policy = await insure(runtime.sessions, tiers=["tier1", "tier2"])
    async with runtime.sessions() as session:
        for expected in (2, 0):
            claims = await process_policy_claims(
                session, redis_client=runtime.redis, policy=policy, target_date=TEST_DATE
            )
            assert len(claims) == expected
        assert (await session.get_one(Policy, policy.id)).coverage_minor == 10_000_000
    assert await live_amounts(runtime, policy) == [2_000_000, 3_000_000]
