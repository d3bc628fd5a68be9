"""Two dates of one month under once_per_month, at the same time: the month is paid once."""

import pytest

from claimwright import process_policy_claims
from claimwright.operations.calculate import PolicyCalculation
from claimwright.runtime import Runtime
from claimwright.storage.database import Driver
from support.databases import Connections

from .staging import FIFTH, TWENTIETH, insure, live_amounts, overlap


async def no_lock(_connection: Driver, _policy_id: int) -> None:
    """Seeded: nobody waits for anybody."""


@pytest.mark.parametrize("key", [True, False], ids=["key", "no key"])
@pytest.mark.parametrize("row_lock", [True, False], ids=["row lock", "no row lock"])
async def test_two_dates_of_one_month_pay_the_month_once_unless_lock_and_key_are_gone(
    row_lock: bool,  # noqa: FBT001 - a parameter of the test
    key: bool,  # noqa: FBT001 - a parameter of the test
    fresh_runtime: Runtime,
    fresh_connections: Connections,
) -> None:
    superuser = await fresh_connections.superuser()
    if not key:
        await superuser.execute("DROP TRIGGER claims_admitted ON claims")
    parts = PolicyCalculation() if row_lock else PolicyCalculation(lock_policy=no_lock)
    policy = await insure(
        fresh_runtime.sessions, frequency="once_per_month", days=[FIFTH, TWENTIETH]
    )
    a, b, waits = await overlap(fresh_runtime, superuser, policy, first=parts, second=parts)
    amounts = await live_amounts(fresh_runtime, policy)
    assert len(amounts) == len(a) + len(b)
    assert amounts == ([2_000_000] if row_lock or key else [2_000_000, 2_000_000])
    assert bool(waits) is row_lock


async def test_the_later_date_tops_the_month_up_to_its_tier(runtime: Runtime) -> None:
    policy = await insure(
        runtime.sessions,
        frequency="once_per_month",
        tiers=["tier1", "tier2"],
        days=[FIFTH, TWENTIETH],
    )
    for day in (TWENTIETH, FIFTH):
        await process_policy_claims(redis_client=runtime.redis, policy=policy, target_date=day)
    assert await live_amounts(runtime, policy) == [2_000_000, 3_000_000]
