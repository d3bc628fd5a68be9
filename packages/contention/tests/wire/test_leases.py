"""Time-outs of keys stand still, and fire as steps, in the order of their deadlines."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from contention.model.footprints import NOTHING, UNKNOWN, Mode, Resource, reads, writes
from contention.wire.leases import MOST_AGEINGS, Leases, RanOutError

from .wire_servers import ValkeyServer

DEADLINES = "redis deadlines"


def key(name: str) -> Resource:
    return Resource(f"redis key {name}")


@pytest.fixture
async def client(valkey: ValkeyServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(f"redis://127.0.0.1:{valkey.port}") as connected:
        await connected.flushall()
        yield connected


@pytest.fixture
async def leases(client: Redis) -> Leases:
    made = Leases(client)
    await made.begin()
    return made


async def take(client: Redis, leases: Leases, name: str, milliseconds: int) -> None:
    await client.set(name, "mine", px=milliseconds)
    assert await leases.note(writes(f"redis key {name}")) == reads(DEADLINES)


async def test_a_time_out_that_fires_removes_its_key(client: Redis, leases: Leases) -> None:
    await take(client, leases, "lock", 60_000)
    assert leases.options() == ["age lock"]
    aged = await leases.age("age lock")
    assert aged.gone == ("lock",)
    assert aged.seconds == 60
    assert (key("lock"), Mode.WRITE) in aged.footprint.touches
    assert not await client.exists("lock")


async def test_it_fires_once_for_each_time_it_was_set(client: Redis, leases: Leases) -> None:
    await take(client, leases, "lock", 60_000)
    await leases.age("age lock")
    assert leases.options() == []
    with pytest.raises(KeyError):
        await leases.age("age lock")
    await take(client, leases, "lock", 60_000)
    assert leases.options() == ["age lock"]


async def test_the_earlier_deadline_fires_with_the_later_one(client: Redis, leases: Leases) -> None:
    await take(client, leases, "late", 90_000)
    await take(client, leases, "early", 30_000)
    assert (await leases.age("age late")).gone == ("early", "late")
    assert not await client.exists("late", "early")


async def test_the_later_deadline_stays_and_comes_nearer(client: Redis, leases: Leases) -> None:
    await take(client, leases, "late", 90_000)
    await take(client, leases, "early", 30_000)
    aged = await leases.age("age early")
    assert aged.gone == ("early",)
    assert {(key("late"), Mode.WRITE), (Resource(DEADLINES), Mode.WRITE)} <= set(
        aged.footprint.touches
    )
    assert 59_000 < await client.pttl("late") <= 60_000
    assert leases.options() == ["age late"]


async def test_of_equal_time_outs_the_one_set_first_fires_first(
    client: Redis, leases: Leases
) -> None:
    await take(client, leases, "first", 60_000)
    await take(client, leases, "second", 60_000)
    assert (await leases.age("age first")).gone == ("first",)
    assert await client.exists("second")


async def test_using_a_key_does_not_set_its_time_out_anew(client: Redis, leases: Leases) -> None:
    await take(client, leases, "first", 60_000)
    await take(client, leases, "second", 60_000)
    await client.append("first", "!")
    assert await leases.note(writes("redis key first")) == NOTHING
    assert (await leases.age("age first")).gone == ("first",)


async def test_time_outs_from_before_the_run_are_nobodys_choice(client: Redis) -> None:
    await client.set("old", "1", px=30_000)
    leases = Leases(client)
    await leases.begin()
    await take(client, leases, "new", 60_000)
    assert leases.options() == ["age new"]
    assert (await leases.age("age new")).gone == ("new", "old")


async def test_a_step_that_is_not_known_is_looked_at_too(client: Redis, leases: Leases) -> None:
    await client.set("lock", "mine", ex=60)
    assert await leases.note(UNKNOWN) == reads(DEADLINES)
    assert leases.options() == ["age lock"]


async def test_a_released_lock_has_no_time_out_left(client: Redis, leases: Leases) -> None:
    await take(client, leases, "lock", 60_000)
    await client.delete("lock")
    assert await leases.note(writes("redis key lock")) == NOTHING
    assert leases.options() == []


async def test_a_lock_without_a_time_out_never_ages(client: Redis, leases: Leases) -> None:
    await client.set("lock", "mine")
    assert await leases.note(writes("redis key lock")) == NOTHING
    assert leases.options() == []


async def test_keys_of_other_databases_age_too(valkey: ValkeyServer, leases: Leases) -> None:
    async with Redis.from_url(f"redis://127.0.0.1:{valkey.port}/3") as third:
        await third.set("lock", "mine", px=60_000)
        await leases.note(writes("redis key lock in database 3"), [3])
        assert leases.options() == ["age lock in database 3"]
        await leases.age("age lock in database 3")
        assert not await third.exists("lock")


async def test_a_short_time_out_does_not_fire_while_nobody_says_so(
    client: Redis, leases: Leases
) -> None:
    await take(client, leases, "lock", 80)
    assert await client.pttl("lock") > 500
    assert (await leases.age("age lock")).seconds == pytest.approx(0.1)


async def test_a_time_out_that_fired_by_itself_is_told(client: Redis, leases: Leases) -> None:
    await take(client, leases, "lock", 60_000)
    await take(client, leases, "other", 60_000)
    await client.delete("lock")
    with pytest.raises(RanOutError, match="the time-out of lock fired by the real clock"):
        await leases.note(writes("redis key other"))


async def test_a_program_that_acquires_for_ever_is_cut_and_says_so(
    client: Redis, leases: Leases
) -> None:
    for _ in range(MOST_AGEINGS):
        await take(client, leases, "lock", 60_000)
        assert leases.cut_reason == ""
        await leases.age("age lock")
    await take(client, leases, "lock", 60_000)
    assert leases.options() == []
    assert "more than 32 time-outs" in leases.cut_reason
