"""What a test gets besides its explorations."""

import pytest

from contention.wire.servers import Servers

from .test_plugin import options

BESIDE = """
import asyncpg
from contention import explore
from redis.asyncio import Redis

async def sell(links):
    db = await asyncpg.connect(links.postgres_url)
    await db.execute("UPDATE stock SET amount = 8")
    await db.close()
    async with Redis.from_url(links.redis_url) as keys:
        await keys.set("sold", 2)

async def stock(links):
    db = await asyncpg.connect(links.postgres_url)
    await db.execute("CREATE TABLE stock AS SELECT 10 AS amount")
    await db.close()

async def test_beside(links):
    db = await asyncpg.connect(links.postgres_url)
    assert await db.fetchval("SELECT 40 + 2") == 42
    assert (await explore(sell, setup=stock)).schedules == 1
    assert await db.fetchval("SELECT 40 + 3") == 43
    await db.close()
"""


def test_links_alone_give_servers_to_a_test_and_to_its_explorations(
    pytester: pytest.Pytester, servers: Servers
) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    pytester.makepyfile(test_beside=BESIDE)
    pytester.runpytest_subprocess(*options(servers)).assert_outcomes(passed=1)
