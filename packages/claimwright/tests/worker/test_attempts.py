"""Attempts: counted before the work, bounded whoever delivers it, and never in anybody's way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from claimwright.domain.errors import NotFoundError
from claimwright.operations.attempt_chunk import attempt_chunk
from claimwright.operations.attempt_requests import (
    attempt_evaluations,
    attempt_plan,
    attempt_policies,
)
from claimwright.operations.attempts import Attempt, Result
from claimwright.operations.manage_work import list_pending, try_again, try_all_dead_again
from claimwright.operations.verify import Verdict, verify
from claimwright.runtime import Runtime
from claimwright.storage.chunks import ChunkKey
from claimwright.storage.handing_on import CHANNEL
from claimwright.storage.listed_work import ListedWork
from support.databases import Connection, Connections
from support.ordering import PATIENCE_SECONDS, wait_until_blocked_by
from support.weather import World

DAY = date(2025, 1, 15)
RAIN = ["0.6", "0.6", "0.9"]
MOST = 3
#: Whatever is stored for one policy fails, always.
POISON = """
    CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'poison'; END $$;
    CREATE TRIGGER poison BEFORE INSERT ON claims FOR EACH ROW
    WHEN (NEW.policy_id = {}) EXECUTE FUNCTION poison();
    """


@pytest.fixture
async def watcher(fresh_connections: Connections) -> Connection:
    return await fresh_connections.superuser()


@pytest.fixture
async def world(fresh_runtime: Runtime, watcher: Connection) -> World:
    """Policies A, B and C (requests 1 to 3) and their rain, which is evaluated (4, then 5)."""
    settings = fresh_runtime.settings.model_copy(update={"work_attempts": MOST})
    world = World(replace(fresh_runtime, settings=settings))
    await world.insure({"A": 100_000, "B": 100_000, "C": 100_000})
    await world.rain(DAY, RAIN)
    (evaluated,) = await attempt_evaluations(world.runtime, [4])
    assert evaluated.result is Result.FINISHED
    assert await watcher.fetchval("SELECT kind FROM work_requests WHERE id = 5") == "calculate"
    return world


def results(attempts: list[Attempt]) -> dict[int, Result]:
    return {attempt.request_id: attempt.result for attempt in attempts}


async def listed(world: World, request_id: int) -> ListedWork:
    (found,) = await list_pending(world.runtime, dead_only=False, after=request_id - 1, limit=1)
    assert found.id == request_id
    return found


@asynccontextmanager
async def held(
    world: World, connections: Connections, work: Callable[[], Any]
) -> AsyncIterator[tuple[Connection, asyncio.Task[Any]]]:
    """Work that waits in the middle, because somebody holds policy A."""
    holder, watcher = await connections.superuser(), await connections.superuser()
    await holder.execute("BEGIN")
    await holder.execute("SELECT FROM policies WHERE id = $1 FOR UPDATE", world.ids["A"])
    task = asyncio.ensure_future(work())
    await wait_until_blocked_by(watcher, holder.get_server_pid())
    yield holder, task
    if holder.is_in_transaction():
        await holder.execute("ROLLBACK")


async def test_an_attempt_is_counted_and_committed_before_its_work(
    world: World, fresh_connections: Connections, watcher: Connection
) -> None:
    async with held(world, fresh_connections, lambda: attempt_policies(world.runtime, [1])) as (
        holder,
        attempt,
    ):
        assert await watcher.fetchval("SELECT attempts FROM work_requests WHERE id = 1") == 1
        await holder.execute("ROLLBACK")
        assert results(await attempt) == {1: Result.FINISHED}


async def test_an_attempt_says_which_calculation_its_claims_carry(world: World) -> None:
    attempts = await attempt_policies(world.runtime, [1, 2, 3])
    said = {attempt.calculation_id for attempt in attempts}
    claims = [claim for number in world.ids for claim in await world.claims(number)]
    assert claims
    assert said == {claim.calculation_id for claim in claims}


async def test_work_that_ends_its_worker_every_time_is_given_up(
    world: World, fresh_connections: Connections
) -> None:
    """A worker that is gone says nothing; that it had begun is known all the same."""
    for _ in range(MOST):
        async with held(world, fresh_connections, lambda: attempt_policies(world.runtime, [1])) as (
            _,
            attempt,
        ):
            attempt.cancel()
            with suppress(asyncio.CancelledError):
                await attempt
    assert results(await attempt_policies(world.runtime, [1])) == {1: Result.DEAD}
    dead = await listed(world, 1)
    assert (dead.state, dead.attempts) == ("dead", MOST)
    assert "each time its worker ended" in dead.failure
    assert results(await attempt_policies(world.runtime, [1, 2, 3])) == {
        1: Result.NOTHING,
        2: Result.FINISHED,
        3: Result.FINISHED,
    }


async def test_a_chunk_that_ends_its_worker_every_time_is_given_up(
    world: World, fresh_connections: Connections
) -> None:
    _, (key,) = await attempt_plan(world.runtime, 5)
    for _ in range(MOST):
        async with held(world, fresh_connections, lambda: attempt_chunk(world.runtime, key)) as (
            _,
            attempt,
        ):
            attempt.cancel()
            with suppress(asyncio.CancelledError):
                await attempt
    assert (await attempt_chunk(world.runtime, key)).result is Result.DEAD
    dead = await listed(world, 5)
    assert dead.state == "dead"
    assert dead.failure.startswith("chunk 1: begun 3 times")


async def test_one_policy_that_always_fails_is_left_alone_and_the_others_are_paid(
    world: World, watcher: Connection
) -> None:
    """Together at first; then each by itself."""
    await watcher.execute(POISON.format(world.ids["B"]))
    first = await attempt_policies(world.runtime, [1, 2, 3])
    assert results(first) == dict.fromkeys((1, 2, 3), Result.FAILED)
    second = await attempt_policies(world.runtime, [1, 2, 3])
    assert results(second) == {1: Result.FINISHED, 2: Result.FAILED, 3: Result.FINISHED}
    third = await attempt_policies(world.runtime, [2])
    assert results(third) == {2: Result.DEAD}
    dead = await listed(world, 2)
    assert (dead.state, dead.attempts, dead.policy_number) == ("dead", MOST, "B")
    assert "P0001" in dead.failure
    assert await world.paid_minor("A") == await world.paid_minor("C") > 0


async def test_a_chunk_that_always_fails_is_a_dead_letter_of_its_day(
    world: World, watcher: Connection
) -> None:
    await watcher.execute(POISON.format(world.ids["B"]))
    _, (key,) = await attempt_plan(world.runtime, 5)
    seen = [(await attempt_chunk(world.runtime, key)).result for _ in range(MOST)]
    assert seen == [Result.FAILED, Result.FAILED, Result.DEAD]
    dead = await listed(world, 5)
    assert (dead.state, dead.chunks, dead.chunks_finished) == ("dead", 1, 0)
    assert dead.failure.startswith("chunk 1: ")


async def test_what_was_given_up_is_tried_again_when_somebody_says_so(
    world: World, watcher: Connection
) -> None:
    await watcher.execute(POISON.format(world.ids["B"]))
    _, (key,) = await attempt_plan(world.runtime, 5)
    for _ in range(MOST):
        await attempt_chunk(world.runtime, key)
        await attempt_policies(world.runtime, [1, 2, 3])
    assert {one.id for one in await list_pending(
        world.runtime, dead_only=True, after=0, limit=9
    )} == {2, 5}  # fmt: skip
    await watcher.execute("DROP TRIGGER poison ON claims")
    assert await try_all_dead_again(world.runtime) == 2
    revived = await listed(world, 2)
    assert (revived.state, revived.attempts, revived.failure) == ("waiting", 0, "")
    assert results(await attempt_policies(world.runtime, [2])) == {2: Result.FINISHED}
    _, (key,) = await attempt_plan(world.runtime, 5)
    assert (await attempt_chunk(world.runtime, key)).result is Result.FINISHED
    assert (await verify(world.runtime)).verdict is Verdict.CLEAN


async def test_asking_for_a_dead_letter_again_revives_it_by_itself(
    world: World, watcher: Connection
) -> None:
    await watcher.execute(POISON.format(world.ids["B"]))
    for _ in range(MOST):
        await attempt_policies(world.runtime, [2])
    assert (await listed(world, 2)).state == "dead"
    await watcher.execute("UPDATE policies SET last_day = last_day + 1 WHERE policy_number = 'B'")
    revived = await listed(world, 2)
    assert (revived.state, revived.attempts, revived.failure) == ("waiting", 0, "")
    assert results(await attempt_policies(world.runtime, [2])) == {2: Result.FAILED}


async def test_trying_again_what_is_not_pending_touches_nothing(world: World) -> None:
    with pytest.raises(NotFoundError, match="no pending request 4"):
        await try_again(world.runtime, [1, 4])
    assert await try_again(world.runtime, [1]) == [1]


async def test_what_is_asked_for_while_it_is_done_stays_asked_for_and_wakes_the_relay(
    world: World, fresh_connections: Connections, watcher: Connection
) -> None:
    heard = asyncio.Event()
    await watcher.add_listener(CHANNEL, lambda *_: heard.set())
    async with held(world, fresh_connections, lambda: attempt_policies(world.runtime, [1])) as (
        holder,
        attempt,
    ):
        await holder.execute(
            "UPDATE policies SET last_day = last_day + 1 WHERE id = $1", world.ids["A"]
        )
        await holder.execute("COMMIT")
        async with asyncio.timeout(PATIENCE_SECONDS):
            await heard.wait()
        heard.clear()
        assert results(await attempt) == {1: Result.ASKED_AGAIN}
    async with asyncio.timeout(PATIENCE_SECONDS):
        await heard.wait()
    assert (await listed(world, 1)).state == "waiting"


async def test_a_chunk_that_is_delivered_twice_at_once_is_paid_once(
    world: World, fresh_connections: Connections
) -> None:
    _, (key,) = await attempt_plan(world.runtime, 5)
    async with held(world, fresh_connections, lambda: attempt_chunk(world.runtime, key)) as (
        holder,
        first,
    ):
        second = asyncio.ensure_future(attempt_chunk(world.runtime, key))
        watcher = await fresh_connections.superuser()
        (waiting,) = await wait_until_blocked_by(watcher, holder.get_server_pid())
        await wait_until_blocked_by(watcher, waiting.pid)
        await holder.execute("ROLLBACK")
        both = [await first, await second]
    assert sorted(one.claims or 0 for one in both) == [0, 6]
    assert (await attempt_chunk(world.runtime, key)).result is Result.NOTHING
    await attempt_policies(world.runtime, [1, 2, 3])
    assert (await verify(world.runtime)).verdict is Verdict.CLEAN


async def test_being_planned_again_and_again_is_no_failed_attempt(
    world: World, watcher: Connection
) -> None:
    for _ in range(2 * MOST):
        attempt, chunks = await attempt_plan(world.runtime, 5)
        assert (attempt.result, len(chunks)) == (Result.PLANNED, 1)
    assert await watcher.fetchval("SELECT attempts FROM work_requests WHERE id = 5") == 0


async def test_work_that_takes_too_long_is_cancelled_and_failed(
    world: World, fresh_connections: Connections
) -> None:
    settings = world.runtime.settings.model_copy(update={"task_seconds": 1})
    hasty = replace(world.runtime, settings=settings)
    async with held(world, fresh_connections, lambda: attempt_policies(hasty, [1])) as (_, task):
        (attempt,) = await task
    assert attempt.result is Result.FAILED
    assert attempt.reason == "it took longer than the 0.9 s that work may"


async def test_requests_that_are_done_or_of_another_kind_or_unknown_are_left_alone(
    world: World,
) -> None:
    assert results(await attempt_evaluations(world.runtime, [4, 1, 99])) == {
        4: Result.NOTHING,
        1: Result.NOTHING,
        99: Result.UNKNOWN,
    }
    assert (await attempt_chunk(world.runtime, ChunkKey(99, 1, 1))).result is Result.UNKNOWN
    assert (await attempt_chunk(world.runtime, ChunkKey(5, 1, 7))).result is Result.NOTHING
