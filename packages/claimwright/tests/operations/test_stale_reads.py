"""Reads that are older than the row lock, each in a worker that is seen waiting for another.

Worker A calculates the 5th of a month and is held after it has read, with the row lock; worker B
calculates the 20th and comes to wait. A commits the month's layer, B goes on. What B knows of
the claims decides whether the month is paid once.
"""

import asyncio
from datetime import date

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from claimwright import CalculationError, Policy
from claimwright.operations.calculate import Case, PolicyCalculation, read_case
from claimwright.runtime import Runtime
from claimwright.storage.cases import lock_policy
from claimwright.storage.claims import CLAIM_COLUMNS, ClaimRow
from claimwright.storage.database import Driver
from claimwright.storage.policies import PolicyRow
from claimwright.testing import TEST_DATE
from support.databases import Connections
from support.ordering import wait_until_blocked_by

from .staging import FIFTH, TWENTIETH, counted, insure, live_amounts, overlap

COLUMNS = ", ".join(f"c.{column.strip()}" for column in CLAIM_COLUMNS.split(","))
CLAIMS = f"SELECT {CLAIM_COLUMNS} FROM claims WHERE policy_id = $1 ORDER BY id"
LOCK_AND_READ_IN_ONE_CTE = f"""
    WITH locked AS (SELECT id FROM policies WHERE id = $1 FOR NO KEY UPDATE)
    SELECT {COLUMNS} FROM locked JOIN claims c ON c.policy_id = locked.id ORDER BY c.id
    """
LOCK_AND_READ_IN_ONE_JOIN = f"""
    SELECT {COLUMNS} FROM policies p LEFT JOIN claims c ON c.policy_id = p.id
    WHERE p.id = $1 ORDER BY c.id FOR NO KEY UPDATE OF p
    """
STABLE_FUNCTION = """
    CREATE SCHEMA IF NOT EXISTS seeded;
    GRANT USAGE ON SCHEMA seeded TO public;
    CREATE OR REPLACE FUNCTION seeded.claims_of(wanted bigint) RETURNS SETOF claims
    STABLE LANGUAGE plpgsql AS $$ BEGIN
        RETURN QUERY SELECT * FROM claims c WHERE c.policy_id = wanted;
    END $$
    """
LOCK_AND_READ_BY_A_STABLE_FUNCTION = f"""
    WITH locked AS MATERIALIZED
        (SELECT id FROM policies WHERE id = $1 FOR NO KEY UPDATE)
    SELECT {COLUMNS} FROM locked, seeded.claims_of(locked.id) c ORDER BY c.id
    """


async def no_lock(_connection: Driver, _policy_id: int) -> None:
    """Leave the lock to the statement that reads."""


def one_statement(statement: str) -> PolicyCalculation:
    """Lock and read the claims at once: they are those from before the wait."""

    async def read(connection: Driver, policy_id: int, target_date: date) -> Case:
        rows = await connection.fetch(statement, policy_id)
        claims = [ClaimRow(*row) for row in rows if row[0] is not None]
        return (await read_case(connection, policy_id, target_date))._replace(claims=claims)

    return PolicyCalculation(lock_policy=no_lock, read_case=read)


def claims_before_the_lock() -> PolicyCalculation:
    """Read the claims by a statement of its own, but before the lock."""
    known: list[ClaimRow] = []

    async def read_and_lock(connection: Driver, policy_id: int) -> None:
        rows = await connection.fetch(CLAIMS, policy_id)
        known[:] = [ClaimRow(*row) for row in rows]
        await lock_policy(connection, policy_id)

    async def read(connection: Driver, policy_id: int, target_date: date) -> Case:
        return (await read_case(connection, policy_id, target_date))._replace(claims=list(known))

    return PolicyCalculation(lock_policy=read_and_lock, read_case=read)


def repeatable_read() -> PolicyCalculation:
    """Do everything right, in a transaction whose snapshot is from before the wait."""

    async def set_level_and_lock(connection: Driver, policy_id: int) -> None:
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await lock_policy(connection, policy_id)

    return PolicyCalculation(lock_policy=set_level_and_lock)


STALE = {
    "lock and claims in one CTE": (one_statement(LOCK_AND_READ_IN_ONE_CTE), "23P01"),
    "lock and claims in one join": (one_statement(LOCK_AND_READ_IN_ONE_JOIN), "23P01"),
    "lock and claims by a STABLE function": (
        one_statement(LOCK_AND_READ_BY_A_STABLE_FUNCTION),
        "23P01",
    ),
    "claims before the lock": (claims_before_the_lock(), "23P01"),
    "REPEATABLE READ": (repeatable_read(), "40001"),
}
each_stale = pytest.mark.parametrize(("stale", "sqlstate"), list(STALE.values()), ids=list(STALE))


async def insure_a_month(runtime: Runtime) -> Policy:
    return await insure(runtime.sessions, frequency="once_per_month", days=[FIFTH, TWENTIETH])


async def test_the_row_lock_alone_pays_the_month_once(
    runtime_without_key: Runtime, fresh_connections: Connections
) -> None:
    policy = await insure_a_month(runtime_without_key)
    a, b, waits = await overlap(
        runtime_without_key,
        await fresh_connections.superuser(),
        policy,
        first=PolicyCalculation(),
        second=PolicyCalculation(),
    )
    assert (len(a), b) == (1, [])
    assert ["FOR NO KEY UPDATE" in statement for statement in waits] == [True]
    assert await live_amounts(runtime_without_key, policy) == [2_000_000]


async def test_whoever_waited_for_the_row_lock_has_nothing_to_retry(
    runtime: Runtime, connections: Connections
) -> None:
    policy = await insure_a_month(runtime)
    async with counted("transactions_retried", sqlstate="23P01") as retried:
        await overlap(
            runtime,
            await connections.superuser(),
            policy,
            first=PolicyCalculation(),
            second=PolicyCalculation(),
        )
    assert retried == [0]
    assert await live_amounts(runtime, policy) == [2_000_000]


@each_stale
async def test_a_stale_read_pays_the_month_twice_without_the_key(
    stale: PolicyCalculation,
    sqlstate: str,
    runtime_without_key: Runtime,
    fresh_connections: Connections,
) -> None:
    del sqlstate
    policy = await insure_a_month(runtime_without_key)
    superuser = await fresh_connections.superuser()
    await superuser.execute(STABLE_FUNCTION)
    a, b, waits = await overlap(
        runtime_without_key,
        superuser,
        policy,
        first=PolicyCalculation(),
        second=stale,
    )
    assert ["FOR NO KEY UPDATE" in statement for statement in waits] == [True]
    assert (len(a), len(b)) == (1, 1)
    assert await live_amounts(runtime_without_key, policy) == [2_000_000, 2_000_000]


@each_stale
async def test_the_key_refuses_a_stale_read_and_the_retry_repairs_it(
    stale: PolicyCalculation, sqlstate: str, runtime: Runtime, connections: Connections
) -> None:
    policy = await insure_a_month(runtime)
    superuser = await connections.superuser()
    await superuser.execute(STABLE_FUNCTION)
    async with counted("transactions_retried", sqlstate=sqlstate) as retried:
        a, b, waits = await overlap(
            runtime,
            superuser,
            policy,
            first=PolicyCalculation(),
            second=stale,
        )
    assert (len(a), len(b), len(waits)) == (1, 0, 1)
    assert retried == [1]
    assert await live_amounts(runtime, policy) == [2_000_000]


async def pay_while_the_policy_is_cancelled(
    runtime: Runtime, connections: Connections, *, remembering: bool
) -> list[int]:
    """Calculate on a session that knows the policy while somebody ends it; what was paid.

    Args:
        remembering: take the policy from the session instead of reading it under the lock.
    """
    policy = await insure(runtime.sessions)
    canceller, watcher = await connections.application(), await connections.superuser()
    await canceller.execute("BEGIN")
    await canceller.execute(
        "UPDATE policies SET cancelled_on = $2 WHERE id = $1", policy.id, TEST_DATE
    )
    async with runtime.sessions() as session:
        async with session.begin():
            known = await session.get_one(Policy, policy.id)
        parts = remembers(session) if remembering else PolicyCalculation()
        running = asyncio.create_task(
            parts.run(session, runtime.redis, known.id, TEST_DATE, runtime.lease_options)
        )
        await wait_until_blocked_by(watcher, canceller.get_server_pid())
        await canceller.execute("COMMIT")
        await running
    return await live_amounts(runtime, policy)


def remembers(session: AsyncSession) -> PolicyCalculation:
    """Take the policy from the session, which has loaded it before it waited."""

    async def read(connection: Driver, policy_id: int, target_date: date) -> Case:
        known = await session.get_one(Policy, policy_id)
        row = PolicyRow(*(getattr(known, name) for name in PolicyRow.__dataclass_fields__))
        return (await read_case(connection, policy_id, target_date))._replace(policy=row)

    return PolicyCalculation(read_case=read)


async def test_a_policy_that_is_cancelled_meanwhile_pays_nothing(
    runtime: Runtime, connections: Connections
) -> None:
    paid = await pay_while_the_policy_is_cancelled(runtime, connections, remembering=False)
    assert paid == []


async def test_a_policy_that_a_session_remembers_is_refused_by_the_key(
    runtime: Runtime, connections: Connections
) -> None:
    with pytest.raises(CalculationError, match="23514"):
        await pay_while_the_policy_is_cancelled(runtime, connections, remembering=True)


async def test_a_policy_that_a_session_remembers_pays_after_its_end_without_the_key(
    runtime_without_key: Runtime, fresh_connections: Connections
) -> None:
    paid = await pay_while_the_policy_is_cancelled(
        runtime_without_key, fresh_connections, remembering=True
    )
    assert paid == [2_000_000]
