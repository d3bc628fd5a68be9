"""Policies with events on any database, and workers that are held between two statements."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from claimwright import Claim, Policy, process_policy_claims
from claimwright.metrics import REGISTRY
from claimwright.operations.calculate import Case, PolicyCalculation
from claimwright.runtime import Runtime
from claimwright.storage.database import Driver
from claimwright.testing import TEST_DATE, create_and_persist_event, create_test_policy
from support.databases import Connection
from support.ordering import PATIENCE_SECONDS

FIFTH = date(2025, 1, 5)
TWENTIETH = date(2025, 1, 20)


async def insure(
    sessions: async_sessionmaker[AsyncSession],
    *,
    frequency: str = "once_per_day",
    tiers: Iterable[str] = ("tier1",),
    days: Iterable[date] = (TEST_DATE,),
) -> Policy:
    """Store a policy over 100,000.00 and, on each of the days, an event of each tier."""
    async with sessions() as session, session.begin():
        policy = await create_test_policy(frequency=frequency).persist(session)
        for day in days:
            for hour, tier in enumerate(tiers):
                await create_and_persist_event(
                    session, tier=tier, hour=hour, day=day, frequency=frequency
                )
    return policy


async def calculate(
    runtime: Runtime,
    policy: Policy,
    target_date: date = TEST_DATE,
    calculation: PolicyCalculation | None = None,
    *,
    sessions: async_sessionmaker[AsyncSession] | None = None,
    blocking_timeout: float = 10.0,
) -> list[Claim]:
    """`process_policy_claims` on a runtime, or with other sessions."""
    async with (sessions or runtime.sessions)() as session:
        return await process_policy_claims(
            session,
            redis_client=runtime.redis,
            policy=policy,
            target_date=target_date,
            calculation=calculation,
            blocking_timeout=blocking_timeout,
        )


async def live_amounts(runtime: Runtime, policy: Policy) -> list[int]:
    """What each live claim of the policy pays, in minor units, in order of id."""
    async with runtime.sessions() as session:
        found = await session.scalars(
            select(Claim.amount_minor)
            .where(Claim.policy_id == policy.id, Claim.status != "void")
            .order_by(Claim.id)
        )
        return list(found)


@dataclass(slots=True)
class Hold:
    """Stops the first calculation that comes by, after it has read and before it writes."""

    pid: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    def after_reading(self, parts: PolicyCalculation) -> PolicyCalculation:
        """The same calculation, held once."""

        async def read_and_hold(connection: Driver, policy_id: int, target_date: date) -> Case:
            case = await parts.read_case(connection, policy_id, target_date)
            if not self.reached.is_set():
                self.pid = connection.get_server_pid()
                self.reached.set()
                await self.let_go.wait()
            return case

        return replace(parts, read_case=read_and_hold)


async def overlap(
    runtime: Runtime,
    watcher: Connection,
    policy: Policy,
    *,
    first: PolicyCalculation,
    second: PolicyCalculation,
    sessions_of_second: async_sessionmaker[AsyncSession] | None = None,
) -> tuple[list[Claim], list[Claim], list[str]]:
    """Two workers, two dates: A has read when B begins, and goes on when B waits or is done.

    Returns:
        What A and B created, and the statements in which B was seen to wait for A.
    """
    hold = Hold()
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        worker_a = group.create_task(calculate(runtime, policy, FIFTH, hold.after_reading(first)))
        await hold.reached.wait()
        worker_b = group.create_task(
            calculate(runtime, policy, TWENTIETH, second, sessions=sessions_of_second)
        )
        waits = await waits_for(watcher, hold.pid, worker_b)
        hold.let_go.set()
    return worker_a.result(), worker_b.result(), waits


async def waits_for(watcher: Connection, pid: int, task: "asyncio.Task[list[Claim]]") -> list[str]:
    """The statements that wait for a session, once there is one or the task is done."""
    query = """
        SELECT query FROM pg_stat_activity
        WHERE datname = current_database() AND $1 = ANY (pg_blocking_pids(pid))
        """
    while not task.done():
        if rows := await watcher.fetch(query, pid):
            return [row[0] for row in rows]
    return []


@asynccontextmanager
async def counted(name: str, **labels: str) -> AsyncIterator[list[float]]:
    """How much a counter of the engine rises in the block, in the list when it is done."""

    def value() -> float:
        return REGISTRY.get_sample_value(f"claimwright_{name}_total", labels) or 0.0

    risen: list[float] = []
    before = value()
    yield risen
    risen.append(value() - before)
