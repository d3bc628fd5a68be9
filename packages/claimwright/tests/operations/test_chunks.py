"""Chunks pay once: side by side, again, after a lost reply, and while more is asked for.

Each guard is taken away once, with the order forced, to see that the test would notice.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

import pytest

from claimwright.operations.calculate_chunk import ChunkParts, calculate_chunk
from claimwright.operations.calculate_days import calculate_days
from claimwright.operations.plan_work import plan_chunks
from claimwright.operations.run_reports import Scope
from claimwright.operations.settle_policies import settle_policies
from claimwright.operations.verify import Verdict, verify
from claimwright.runtime import Runtime
from claimwright.storage.chunks import Chunk, ChunkKey, finish_if_done
from claimwright.storage.database import Driver, make_engine, make_sessions
from claimwright.storage.standings import Figures, figures_of
from support.databases import Connections
from support.lost_replies import lossy_wire
from support.ordering import PATIENCE_SECONDS, wait_until_blocked_by
from support.weather import World

from .chunking import Held, asked_for, calculate_all, chunks_of, store_event
from .staging import counted

DAY = date(2025, 6, 7)
NOON = f"{DAY} 16:00Z"
YEAR = Scope(date(2025, 1, 1), date(2025, 12, 31))
#: A key that keeps the accounts and refuses nothing.
LENIENT_KEY = """
    CREATE OR REPLACE FUNCTION admit_claims() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    AS $$ BEGIN
        UPDATE policy_accounts a SET paid_minor = a.paid_minor + w.width
        FROM (SELECT policy_id, sum(exhaustion_minor - attachment_minor) AS width
              FROM new_claims GROUP BY policy_id) w WHERE a.policy_id = w.policy_id;
        RETURN NULL;
    END $$
    """


@pytest.fixture
async def world(fresh_runtime: Runtime) -> World:
    """Four policies whose own requests are finished."""
    world = World(fresh_runtime)
    await world.insure({f"P{number}": 10_000 for number in range(1, 5)})
    await calculate_days(fresh_runtime, YEAR)
    return world


async def paid(world: World) -> list[int]:
    return [await world.paid_minor(number) for number in world.ids]


async def test_the_last_chunk_finishes_the_request_and_only_it(
    world: World, fresh_connections: Connections
) -> None:
    await store_event(await fresh_connections.application(), "P1", "tier1", NOON)
    reports = [
        await calculate_chunk(world.runtime, key)
        for key in await chunks_of(world.runtime, policies=3)
    ]
    assert [(one.policies, one.claims, one.request_finished) for one in reports] == [
        (3, 3, False),
        (1, 1, True),
    ]
    assert len({report.calculation_id for report in reports}) == 2
    assert (await verify(world.runtime)).verdict is Verdict.CLEAN


async def mark_without_the_requests_lock(connection: Driver, key: ChunkKey) -> bool:
    await connection.execute(
        "UPDATE work_chunks SET finished_at = now()"
        " WHERE request_id = $1 AND generation = $2 AND number = $3",
        *key,
    )
    return await finish_if_done(connection, key.request_id, key.generation)


async def end_two_chunks_at_once(
    world: World, connections: Connections, parts: ChunkParts, *, blocks: bool
) -> list[bool]:
    """Whether each of two chunks finished the request: the first is held before its COMMIT."""
    await store_event(await connections.application(), "P1", "tier1", NOON)
    one, two = await chunks_of(world.runtime, policies=2)
    watcher, held = await connections.superuser(), Held()
    holding = replace(parts, finish=held.after(parts.finish))
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        first = group.create_task(calculate_chunk(world.runtime, one, parts=holding))
        await held.reached.wait()
        second = group.create_task(calculate_chunk(world.runtime, two, parts=parts))
        if blocks:
            await wait_until_blocked_by(watcher, held.pid)
        else:
            await asyncio.wait([second])
        held.let_go.set()
    assert (first.result().claims, second.result().claims) == (2, 2)
    return [first.result().request_finished, second.result().request_finished]


async def test_of_two_chunks_that_end_at_once_the_second_sees_the_first(
    world: World, fresh_connections: Connections
) -> None:
    ended = await end_two_chunks_at_once(world, fresh_connections, ChunkParts(), blocks=True)
    assert ended == [False, True]
    assert await asked_for(world.runtime) == []


async def test_without_the_requests_lock_each_thinks_the_other_one_is_missing(
    world: World, fresh_connections: Connections
) -> None:
    careless = ChunkParts(finish=mark_without_the_requests_lock)
    ended = await end_two_chunks_at_once(world, fresh_connections, careless, blocks=False)
    assert ended == [False, False]
    assert len(await asked_for(world.runtime)) == 1
    await calculate_days(world.runtime, YEAR)  # whoever plans it next sees that nothing is open
    assert await asked_for(world.runtime) == []


async def finish_whatever_the_generation(connection: Driver, key: ChunkKey) -> bool:
    await connection.execute(
        "UPDATE work_requests SET finished_generation = generation WHERE id = $1", key.request_id
    )
    return True


async def finish_the_generation_that_is_there_now(connection: Driver, key: ChunkKey) -> bool:
    """The generation is read after the data."""
    now = await connection.fetchval(
        "SELECT generation FROM work_requests WHERE id = $1", key.request_id
    )
    await connection.execute(
        "UPDATE work_requests SET finished_generation = generation"
        " WHERE id = $1 AND generation = $2",
        key.request_id,
        now,
    )
    return True


async def calculate_while_an_event_arrives(
    world: World, connections: Connections, parts: ChunkParts
) -> None:
    """An event of the second tier is stored after the chunk has read its day's."""
    application = await connections.application()
    await store_event(application, "P1", "tier1", NOON)
    (key,) = await chunks_of(world.runtime)
    held = Held()
    holding = replace(parts, settle=held.after(parts.settle))
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        group.create_task(calculate_chunk(world.runtime, key, parts=holding))
        await held.reached.wait()
        await store_event(application, "P1", "tier2", NOON)
        held.let_go.set()


async def test_an_event_that_arrives_while_its_day_is_calculated_is_not_lost(
    world: World, fresh_connections: Connections
) -> None:
    await calculate_while_an_event_arrives(world, fresh_connections, ChunkParts())
    assert await paid(world) == [2_000] * 4
    assert (await verify(world.runtime)).verdict is Verdict.PENDING
    await calculate_days(world.runtime, YEAR)
    assert await paid(world) == [5_000] * 4
    assert (await verify(world.runtime)).verdict is Verdict.CLEAN


@pytest.mark.parametrize(
    "finish", [finish_whatever_the_generation, finish_the_generation_that_is_there_now]
)
async def test_a_request_finished_beyond_what_was_read_loses_the_event(
    world: World, fresh_connections: Connections, finish: object
) -> None:
    parts = ChunkParts(finish=finish)  # type: ignore[arg-type]
    await calculate_while_an_event_arrives(world, fresh_connections, parts)
    assert await asked_for(world.runtime) == []
    assert (await verify(world.runtime)).verdict is Verdict.DIFFERENT


def stale() -> ChunkParts:
    """Lock and read what was paid by one statement, and believe what it saw."""
    seen: dict[int, int] = {}

    async def figures_then(connection: Driver, ids: Sequence[int]) -> list[Figures]:
        return [one._replace(paid_minor=seen[one.id]) for one in await figures_of(connection, ids)]

    async def lock_and_read(
        connection: Driver, chunk: Chunk, _days: tuple[date, date]
    ) -> list[int]:
        rows = await connection.fetch(
            "SELECT p.id, a.paid_minor FROM policies p"
            " JOIN policy_accounts a ON a.policy_id = p.id"
            " WHERE p.coverage_region = $1 ORDER BY p.id FOR NO KEY UPDATE OF p",
            chunk.group.region,
        )
        seen.clear()
        seen.update((row[0], row[1]) for row in rows)
        return list(seen)

    return ChunkParts(lock=lock_and_read, settle=partial(settle_policies, figures_of=figures_then))


async def pay_a_limit_from_two_days(
    world: World, connections: Connections, second: ChunkParts
) -> None:
    """Each of two days pays all that the limit allows; the second waits for the first's locks."""
    application, watcher = await connections.application(), await connections.superuser()
    await store_event(application, "P1", "tier3", NOON)
    (one,) = await chunks_of(world.runtime)
    held = Held()
    parts = ChunkParts()
    holding = replace(parts, settle=held.after(parts.settle))
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        group.create_task(calculate_chunk(world.runtime, one, parts=holding))
        await held.reached.wait()
        await store_event(application, "P1", "tier3", "2025-06-09 16:00Z")
        (other,) = [ask for ask in await asked_for(world.runtime) if ask.id != one.request_id]
        (key,) = await plan_chunks(world.runtime, other)
        group.create_task(calculate_chunk(world.runtime, key, parts=second))
        await wait_until_blocked_by(watcher, held.pid)
        held.let_go.set()


async def test_a_chunk_that_waited_for_another_reads_what_that_one_paid(
    world: World, fresh_connections: Connections
) -> None:
    async with counted("transactions_retried", sqlstate="23P01") as retried:
        await pay_a_limit_from_two_days(world, fresh_connections, ChunkParts())
    assert await paid(world) == [10_000] * 4
    assert retried == [0]


async def test_what_the_locks_own_statement_read_is_refused_by_the_key_and_read_again(
    world: World, fresh_connections: Connections
) -> None:
    async with counted("transactions_retried", sqlstate="23P01") as retried:
        await pay_a_limit_from_two_days(world, fresh_connections, stale())
    assert await paid(world) == [10_000] * 4
    assert retried == [1]


async def test_what_the_locks_own_statement_read_would_pay_twice(
    world: World, fresh_connections: Connections
) -> None:
    await (await fresh_connections.superuser()).execute(LENIENT_KEY)
    await pay_a_limit_from_two_days(world, fresh_connections, stale())
    assert await paid(world) == [20_000] * 4


async def lock_nothing(connection: Driver, chunk: Chunk, _days: tuple[date, date]) -> list[int]:
    rows = await connection.fetch(
        "SELECT id FROM policies WHERE coverage_region = $1 ORDER BY id", chunk.group.region
    )
    return [row[0] for row in rows]


async def test_without_the_row_locks_the_key_refuses_what_would_pay_twice(
    world: World, fresh_connections: Connections
) -> None:
    async with counted("transactions_retried", sqlstate="23P01") as retried:
        await pay_a_limit_from_two_days(world, fresh_connections, ChunkParts(lock=lock_nothing))
    assert await paid(world) == [10_000] * 4
    assert retried == [1]
    assert (await verify(world.runtime)).verdict is Verdict.CLEAN


async def test_without_the_row_locks_and_without_the_key_everything_is_paid_twice(
    world: World, fresh_connections: Connections
) -> None:
    await (await fresh_connections.superuser()).execute(LENIENT_KEY)
    await pay_a_limit_from_two_days(world, fresh_connections, ChunkParts(lock=lock_nothing))
    assert await paid(world) == [20_000] * 4
    assert (await verify(world.runtime)).verdict is Verdict.DIFFERENT


async def test_a_chunk_that_is_delivered_twice_at_once_is_paid_once(
    world: World, fresh_connections: Connections
) -> None:
    await store_event(await fresh_connections.application(), "P1", "tier1", NOON)
    (key,) = await chunks_of(world.runtime)
    watcher, held = await fresh_connections.superuser(), Held()
    holding = ChunkParts(settle=held.after(settle_policies))
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        first = group.create_task(calculate_chunk(world.runtime, key, parts=holding))
        await held.reached.wait()
        assert (await calculate_chunk(world.runtime, key, give_way=True)).gave_way
        second = group.create_task(calculate_chunk(world.runtime, key))
        await wait_until_blocked_by(watcher, held.pid)
        held.let_go.set()
    assert (first.result().claims, second.result().claims) == (4, 0)
    assert second.result().request_finished
    assert (await calculate_chunk(world.runtime, key)).claims == 0
    assert await paid(world) == [2_000] * 4


async def test_a_lost_reply_to_commit_is_answered_with_what_was_stored(
    world: World, fresh_connections: Connections, tmp_path: Path
) -> None:
    await store_event(await fresh_connections.application(), "P1", "tier1", NOON)
    (key,) = await chunks_of(world.runtime)
    async with lossy_wire(world.runtime.addresses.database_url, tmp_path) as wire:
        engine = make_engine(wire.database_url)
        lossy = replace(world.runtime, engine=engine, sessions=make_sessions(engine))
        wire.lose_next = True
        try:
            report = await calculate_chunk(lossy, key)
        finally:
            await engine.dispose()
    assert wire.lost == 1
    assert (report.claims, report.request_finished) == (4, True)
    stored = {claim.calculation_id for number in world.ids for claim in await world.claims(number)}
    assert stored == {report.calculation_id}
    assert (await verify(world.runtime)).verdict is Verdict.CLEAN


async def test_a_policy_and_an_event_that_are_stored_at_once_meet(
    world: World, fresh_connections: Connections
) -> None:
    """The event's calculation sees no policy, and the policy's own comes after both."""
    policies, events = (
        await fresh_connections.application(),
        await fresh_connections.application(),
    )
    await policies.execute("BEGIN")
    await policies.execute(
        "INSERT INTO policies (policy_number, product_version_id, coverage_region, zone,"
        " coverage_minor, limit_minor, currency, first_day, last_day)"
        " SELECT 'NEW', product_version_id, coverage_region, zone, 10000, 10000, currency,"
        " first_day, last_day FROM policies WHERE policy_number = 'P1'"
    )
    await store_event(events, "P1", "tier1", NOON)
    assert [report.claims for report in await calculate_all(world.runtime)] == [4]
    await policies.execute("COMMIT")
    assert (await verify(world.runtime)).verdict is Verdict.PENDING
    await calculate_days(world.runtime, YEAR)
    assert (await verify(world.runtime)).verdict is Verdict.CLEAN
    assert (await verify(world.runtime)).claims == 5


async def test_without_a_policys_own_request_it_and_an_event_miss_each_other(
    world: World, fresh_connections: Connections
) -> None:
    await (await fresh_connections.superuser()).execute(
        "DROP TRIGGER policies_requests ON policies"
    )
    await store_event(await fresh_connections.application(), "P1", "tier1", NOON)
    await calculate_days(world.runtime, YEAR)
    await world.insure({"NEW": 10_000})
    await calculate_days(world.runtime, YEAR)
    assert (await verify(world.runtime)).verdict is Verdict.DIFFERENT


async def test_readings_that_were_there_before_a_group_are_evaluated_for_its_first_policy(
    world: World,
) -> None:
    await world.rain(DAY, ["1.5"])
    await calculate_days(world.runtime, YEAR)
    elsewhere = World(world.runtime, zone="Europe/London")
    await elsewhere.insure({"L1": 10_000})
    report = await calculate_days(world.runtime, YEAR)
    assert (report.claims, report.terms) == (1, 1)
    assert (await verify(world.runtime)).verdict is Verdict.CLEAN


async def test_a_group_taken_for_evaluated_loses_what_was_read_before_it(
    world: World, fresh_connections: Connections
) -> None:
    await world.rain(DAY, ["1.5"])
    await calculate_days(world.runtime, YEAR)
    elsewhere = World(world.runtime, zone="Europe/London")
    await elsewhere.insure({"L1": 10_000})
    await (await fresh_connections.application()).execute(
        "INSERT INTO evaluated_groups SELECT product_version_id, coverage_region, zone, first_day,"
        " last_day FROM policies WHERE policy_number = 'L1'"
    )
    await calculate_days(world.runtime, YEAR)
    assert (await verify(world.runtime)).verdict is Verdict.DIFFERENT


async def test_two_runs_share_the_chunks_and_each_is_done_once(
    world: World, fresh_connections: Connections
) -> None:
    application = await fresh_connections.application()
    for day in range(1, 9):
        await store_event(application, "P1", "tier1", f"2025-07-0{day} 16:00Z")
    one, two = await asyncio.gather(
        calculate_days(world.runtime, YEAR), calculate_days(world.runtime, YEAR)
    )
    assert one.calculations + two.calculations == 8 * 4
    assert one.requests_finished + two.requests_finished == 8
    assert (await verify(world.runtime)).verdict is Verdict.CLEAN
    assert await asked_for(world.runtime) == []
