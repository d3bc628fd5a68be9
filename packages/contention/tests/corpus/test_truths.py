"""The truth of every scenario, seen without the kit."""

from collections.abc import AsyncIterator
from itertools import permutations

import asyncpg
import pytest
import redis.asyncio

from contention.wire.servers import Servers

from .corpus import CORPUS
from .machine import DeadlockError
from .plain import Stage
from .scenario import Scenario, Truth

each_scenario = pytest.mark.parametrize("scenario", CORPUS, ids=lambda one: one.name)


@pytest.fixture
async def stage(plain_servers: Servers, scenario: Scenario) -> AsyncIterator[Stage]:
    connection = await asyncpg.connect(plain_servers.postgres.url)
    client = redis.asyncio.Redis.from_url(plain_servers.redis.url, decode_responses=True)
    yield Stage(scenario, plain_servers, connection, client)
    await client.aclose()
    await connection.close()


@each_scenario
async def test_an_order_written_down_shows_the_truth(stage: Stage) -> None:
    end = await stage.conducted()
    if stage.scenario.truth is Truth.DEADLOCKS:
        assert any(isinstance(one, DeadlockError) for one in end.results.values())
    else:
        assert await stage.is_right(end) is (stage.scenario.truth is Truth.HOLDS), end


@each_scenario
async def test_one_worker_after_the_other_is_right(stage: Stage) -> None:
    for order in permutations(range(1, len(stage.scenario.workers) + 1)):
        assert await stage.is_right(await stage.serial(order)), order


def test_the_corpus_is_what_it_says() -> None:
    names = [scenario.name for scenario in CORPUS]
    assert len(names) == len(set(names)) >= 30
    assert {scenario.truth for scenario in CORPUS} == set(Truth)
