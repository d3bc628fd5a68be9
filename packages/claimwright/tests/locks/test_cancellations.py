"""The lease when a cancellation comes at any moment: it arrives, and no key is left behind.

Tests named after redis-py show its defect first, so that the cure beside them proves something.
"""

import asyncio
import sys

import pytest
from redis.asyncio import Redis

from claimwright.locks import LeaseOptions, lease
from support.leases import KEY, Relayed, hold

RELEASE = b"\r\nEVAL\r\n"


async def steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def hold_plainly(redis_client: Redis) -> None:
    async with redis_client.lock(KEY, timeout=120):
        await asyncio.sleep(0)


async def cancelled_after(count: int, task: asyncio.Task[None]) -> BaseException | None:
    await steps(count)
    task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    return outcome


@pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="asyncio.wait_for keeps cancellations since Python 3.12"
)
async def test_redis_py_swallows_a_cancellation_at_some_moment(client: Redis) -> None:
    await client.ping()
    outcomes = [
        await cancelled_after(count, asyncio.create_task(hold_plainly(client)))
        for count in range(1, 6)
    ]
    assert None in outcomes


async def test_a_cancellation_at_any_moment_arrives_and_leaves_no_key(client: Redis) -> None:
    tasks = asyncio.all_tasks()
    for count in range(40):
        outcome = await cancelled_after(count, asyncio.create_task(hold(client)))
        assert isinstance(outcome, asyncio.CancelledError), f"swallowed after {count} steps"
        assert await client.exists(KEY) == 0, f"left behind after {count} steps"
    assert asyncio.all_tasks() == tasks


async def test_redis_py_leaves_its_key_when_cancelled_before_the_reply(
    relayed: Relayed, client: Redis
) -> None:
    async with relayed("hold_reply") as (relay, through):
        task = asyncio.create_task(hold_plainly(through))
        await relay.caught.wait()
        assert isinstance(await cancelled_after(0, task), asyncio.CancelledError)
    assert await client.exists(KEY) == 1


@pytest.mark.parametrize("fault", ["hold_reply", "hold_request"])
async def test_a_cancellation_between_the_command_and_its_reply_leaves_no_key(
    relayed: Relayed, client: Redis, fault: str
) -> None:
    async with relayed(fault) as (relay, through):
        task = asyncio.create_task(hold(through, LeaseOptions(patience_ms=5_000)))
        await relay.caught.wait()
        task.cancel()
        await steps(20)
        relay.let_go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        if fault == "hold_request":
            await relay.answered.wait()
        assert await client.exists(KEY) == 0


async def test_a_key_whose_reply_never_comes_is_taken_back_by_another_connection(
    relayed: Relayed, client: Redis
) -> None:
    async with relayed("hold_reply") as (relay, through):
        task = asyncio.create_task(hold(through))
        await relay.caught.wait()
        assert await client.exists(KEY) == 1
        assert isinstance(await cancelled_after(0, task), asyncio.CancelledError)
        assert await client.exists(KEY) == 0


async def test_a_clean_up_without_a_reply_leaves_another_workers_key_alone(
    relayed: Relayed, client: Redis
) -> None:
    await client.set(KEY, "another worker")
    async with relayed("hold_reply") as (relay, through):
        task = asyncio.create_task(hold(through))
        await relay.caught.wait()
        assert isinstance(await cancelled_after(0, task), asyncio.CancelledError)
    assert await client.get(KEY) == b"another worker"


async def test_a_cancelled_attempt_sends_nothing_after_the_reply_it_waited_for(
    relayed: Relayed, client: Redis
) -> None:
    await client.set(KEY, "another worker")
    async with relayed("hold_reply") as (relay, through):
        task = asyncio.create_task(hold(through, LeaseOptions(patience_ms=5_000)))
        await relay.caught.wait()
        task.cancel()
        await steps(20)
        relay.let_go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert relay.sets() == 1
    assert await client.get(KEY) == b"another worker"


async def test_more_cancellations_during_the_clean_up_leave_no_key_either(
    relayed: Relayed, client: Redis
) -> None:
    async with relayed("hold_reply") as (relay, through):
        task = asyncio.create_task(hold(through, LeaseOptions(patience_ms=5_000)))
        await relay.caught.wait()
        for count in range(10):
            task.cancel()
            await steps(count)
        relay.let_go.set()
        assert isinstance(await cancelled_after(0, task), asyncio.CancelledError)
    assert await client.exists(KEY) == 0


async def test_cancellations_during_the_release_wait_for_it(
    relayed: Relayed, client: Redis
) -> None:
    async def work(redis_client: Redis) -> None:
        async with lease(redis_client, KEY, LeaseOptions(patience_ms=5_000)):
            pass

    async with relayed("hold_request", RELEASE) as (relay, through):
        task = asyncio.create_task(work(through))
        await relay.caught.wait()
        for count in range(10):
            task.cancel()
            await steps(count)
        assert not task.done()
        relay.let_go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await client.exists(KEY) == 0


async def test_a_cancellation_while_waiting_for_a_held_key_ends_at_once(
    relayed: Relayed, client: Redis
) -> None:
    await client.set(KEY, "another worker")
    async with relayed() as (relay, through):
        await through.ping()
        tasks = asyncio.all_tasks()
        task = asyncio.create_task(hold(through))
        await relay.saw(lambda: relay.sets() >= 2)
        assert isinstance(await cancelled_after(0, task), asyncio.CancelledError)
        assert asyncio.all_tasks() == tasks
        sets = relay.sets()
        await through.ping()
        assert relay.sets() == sets
    assert await client.get(KEY) == b"another worker"
