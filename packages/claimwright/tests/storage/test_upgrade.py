"""A schema that is upgraded while it is in use, and one with rows of the version before."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from datetime import date
from itertools import count

import pytest
from sqlalchemy import text

from claimwright.embedded import ServerAddresses, create_database, drop_database
from claimwright.operations.calculate import PolicyCalculation
from claimwright.operations.doctor import Health, examine
from claimwright.operations.verify import Verdict, verify
from claimwright.runtime import Runtime, open_runtime, reach_servers
from claimwright.settings import load_settings
from claimwright.storage.schema import current_revision, newest_revision, upgrade
from support.databases import Connections, environment_of, plain_connections
from support.ordering import wait_until_blocked_by
from support.weather import World

FIRST = "0001"
DAY = date(2025, 6, 7)
_numbers = count(1)


@pytest.fixture
def old_database(servers: ServerAddresses) -> Iterator[ServerAddresses]:
    name = f"old_{next(_numbers)}"
    addresses = create_database(servers, name)
    asyncio.run(upgrade(addresses.owner_database_url, revision=FIRST))
    yield addresses
    drop_database(servers, name)


@pytest.fixture
async def old_runtime(old_database: ServerAddresses) -> AsyncIterator[Runtime]:
    settings = load_settings(environment_of(old_database))
    async with open_runtime(settings, reach_servers(settings, ExitStack())) as one:
        yield one


@pytest.fixture
async def old_connections(old_database: ServerAddresses) -> AsyncIterator[Connections]:
    async with plain_connections(old_database) as opened:
        yield opened


async def test_what_was_asked_for_before_an_upgrade_is_done_after_it(old_runtime: Runtime) -> None:
    world = World(old_runtime)
    await world.insure({"P1": 10_000})
    await world.rain(DAY, ["1.2", "1.0"])
    await upgrade(old_runtime.addresses.owner_database_url)
    async with old_runtime.engine.connect() as connection:
        assert await current_revision(connection) == newest_revision()
    await world.calculate()
    assert await world.paid_minor("P1") == 5_000
    assert (await verify(old_runtime)).verdict is Verdict.CLEAN
    failed = [one for one in (await examine(old_runtime)).checks if one.health is Health.FAIL]
    assert failed == []


async def test_a_worker_that_calculates_goes_on_over_an_upgrade(old_runtime: Runtime) -> None:
    world = World(old_runtime)
    await world.insure({"P1": 10_000, "P2": 10_000})
    async with old_runtime.engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO risk_events (product_version_id, region, triggered_at, tier_level)"
                " SELECT product_version_id, coverage_region, '2025-06-07T15:00Z', 'tier1'"
                " FROM policies LIMIT 1"
            )
        )

    async def paid(number: str) -> int:
        claims = await PolicyCalculation().run(
            old_runtime.engine,
            old_runtime.redis,
            world.ids[number],
            DAY,
            old_runtime.lease_options,
        )
        return len(claims)

    assert await paid("P1") == 1
    await upgrade(old_runtime.addresses.owner_database_url)
    assert (await paid("P1"), await paid("P2")) == (0, 1)


async def test_nobody_waits_behind_an_upgrade_that_waits_for_a_transaction(
    old_runtime: Runtime, old_connections: Connections
) -> None:
    worker, watcher = await old_connections.application(), await old_connections.superuser()
    await worker.execute("BEGIN")
    await worker.execute("SELECT FROM work_requests")
    upgrading = asyncio.create_task(upgrade(old_runtime.addresses.owner_database_url, lock_ms=200))
    await wait_until_blocked_by(watcher, worker.get_server_pid())
    await World(old_runtime).insure({"P1": 10_000})  # asks for work, behind the upgrade's back
    assert not upgrading.done()
    await worker.execute("COMMIT")
    await upgrading
    async with old_runtime.engine.connect() as connection:
        assert await current_revision(connection) == newest_revision()
