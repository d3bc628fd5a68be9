"""Whatever a worker does to Redis, the keys are as they were at the start."""

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError

from contention.wire.own_connections import connect_redis
from contention.wire.restore_keys import KeysStart
from contention.wire.servers import RedisServer, Servers, UnusableServerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

LIBRARY = "#!lua name=shop\nredis.register_function('stock', function() return 5 end)"


@pytest.fixture
async def client(servers: Servers) -> "AsyncIterator[Redis]":
    client = connect_redis(servers.redis)
    await client.flushall()
    yield client
    await client.aclose()


async def everything(client: "Redis") -> dict[object, object]:
    return {key: await client.dump(key) for key in await client.keys()}


async def test_keys_of_every_kind_come_back(client: "Redis", servers: Servers) -> None:
    await client.set("text", b"\x00\r\n")
    await client.rpush("list", "a", "b")
    await client.hset("hash", mapping={"a": 1})
    await client.sadd("set", 1, 2)
    await client.zadd("sorted", {"a": 1.5})
    await client.xadd("stream", {"a": 1}, id="1-1")
    before = await everything(client)
    start = await KeysStart.of(servers.redis)
    await client.delete("text", "hash")
    await client.rpush("list", "c")
    await client.set("new", 1)
    await start.restore()
    after = connect_redis(servers.redis)
    assert await everything(after) == before
    await after.aclose()
    await start.close()


async def test_time_outs_begin_anew(client: "Redis", servers: Servers) -> None:
    await client.set("lease", "w1", px=60_000)
    await client.set("kept", 1)
    start = await KeysStart.of(servers.redis)
    await client.pexpire("lease", 5)
    await client.pexpire("kept", 5)
    await start.restore()
    after = connect_redis(servers.redis)
    assert 50_000 < await after.pttl("lease") <= 60_000
    assert await after.pttl("kept") == -1
    await after.aclose()
    await start.close()


async def test_every_database_comes_back(client: "Redis", servers: Servers) -> None:
    third = connect_redis(replace(servers.redis, database=3))
    await third.set("there", 1)
    start = await KeysStart.of(servers.redis)
    await third.flushall()
    await client.set("here", 1)
    await start.restore()
    after = connect_redis(replace(servers.redis, database=3))
    assert await after.get("there") == b"1"
    first = connect_redis(servers.redis)
    assert not await first.keys()
    for one in (third, after, first):
        await one.aclose()
    await start.close()


async def test_scripts_are_forgotten_and_libraries_come_back(
    client: "Redis", servers: Servers
) -> None:
    await client.function_load(LIBRARY)
    start = await KeysStart.of(servers.redis)
    await client.function_flush()
    script = await client.script_load("return 1")
    await start.restore()
    after = connect_redis(servers.redis)
    assert await after.fcall("stock", 0) == 5
    with pytest.raises(NoScriptError):
        await after.evalsha(script, 0)
    await after.function_flush()
    await after.aclose()
    await start.close()


async def test_whoever_is_connected_is_cut_off_first(client: "Redis", servers: Servers) -> None:
    start = await KeysStart.of(servers.redis)
    number = await client.client_id()
    await start.restore()
    assert await client.client_id() != number
    await start.close()


async def test_a_refused_command_is_an_error(client: "Redis", servers: Servers) -> None:
    await client.set("a", 1)
    start = await KeysStart.of(servers.redis)
    await client.config_set("maxmemory", 1)
    try:
        with pytest.raises(UnusableServerError, match=r"Redis refuses to be put back.*memory"):
            await start.restore()
    finally:
        after = connect_redis(servers.redis)
        await after.config_set("maxmemory", 0)
        await after.aclose()
    await start.close()


async def test_a_server_that_left_is_an_error() -> None:
    with pytest.raises((UnusableServerError, RedisConnectionError)):
        await KeysStart.of(RedisServer(host="127.0.0.1", port=1))
