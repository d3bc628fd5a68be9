"""Two halves of an inch and more, stored by two transactions at once: the day still pays.

Each transaction sees its own half alone, so that nothing may be decided from what it sees.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.operations.evaluate import evaluate_days
from claimwright.operations.verify import Verdict, verify
from claimwright.runtime import Runtime
from claimwright.storage.database import own_transaction
from claimwright.storage.groups import groups_of_policies
from claimwright.storage.readings import NewReading, insert_readings
from support.databases import Connections
from support.weather import World

DAY = date(2025, 1, 16)
#: Of that day in New York, and of two dates in UTC: what they ask for is not one request, on which
#: the second transaction would wait for the first.
INSTANTS = (datetime(2025, 1, 16, 18, tzinfo=UTC), datetime(2025, 1, 17, 3, tzinfo=UTC))


@pytest.fixture
async def world(fresh_runtime: Runtime) -> World:
    world = World(fresh_runtime)
    await world.insure({"P1": 10_000})
    return world


@asynccontextmanager
async def storing(world: World, at: datetime) -> AsyncIterator[AsyncConnection]:
    """A transaction that has stored 0.6 in; it commits at the end of the block."""
    reading = NewReading(world.region, world.terms.index.variable, at, Decimal("0.6"))
    async with world.runtime.sessions() as session, own_transaction(session) as connection:
        await insert_readings(connection, [reading], "a test")
        yield connection


async def store_both_at_once(world: World, *, deciding: bool) -> None:
    """Both have stored before either commits.

    Args:
        deciding: let each evaluate the day from what it sees, before it commits.
    """
    async with AsyncExitStack() as stack:
        both = [await stack.enter_async_context(storing(world, at)) for at in INSTANTS]
        for connection in both if deciding else []:
            (group,) = await groups_of_policies(connection)
            await evaluate_days(connection, group, [DAY])


async def test_the_day_is_decided_later_and_pays(world: World) -> None:
    await store_both_at_once(world, deciding=False)
    assert (await verify(world.runtime)).verdict is Verdict.PENDING
    await world.calculate()
    assert await world.paid_minor("P1") == 2_000
    assert (await verify(world.runtime)).verdict is Verdict.CLEAN


async def test_a_decision_while_storing_loses_the_day(
    world: World, fresh_connections: Connections
) -> None:
    await store_both_at_once(world, deciding=True)
    application = await fresh_connections.application()
    assert await application.fetchval("SELECT count(*) FROM risk_events") == 0
    assert await world.claims("P1") == []
