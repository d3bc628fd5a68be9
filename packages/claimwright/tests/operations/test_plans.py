"""How a calculation is cut into chunks, and that it is cut once."""

import asyncio
from datetime import date

import pytest

from claimwright.operations.calculate_chunk import calculate_chunk
from claimwright.operations.calculate_days import calculate_days
from claimwright.operations.plan_work import plan, plan_chunks
from claimwright.operations.run_reports import Scope
from claimwright.runtime import Runtime
from claimwright.storage.chunks import PlannedChunk
from support.databases import Connections
from support.weather import World

from .chunking import asked_for, only_request, store_event

DAY = date(2025, 6, 7)
NOON = f"{DAY} 16:00Z"


@pytest.fixture
async def world(fresh_runtime: Runtime) -> World:
    """Five policies that cover the day, and one on either side that does not."""
    world = World(fresh_runtime)
    await world.insure({"OVER": 10_000}, last=date(2025, 6, 6))
    await world.insure({f"P{number}": 10_000 + number for number in range(1, 6)})
    await world.insure({"LATER": 10_000}, first=date(2025, 6, 8))
    return world


async def stretches_of(connections: Connections) -> list[tuple[int, int, str, int, int, int]]:
    rows = await (await connections.superuser()).fetch(
        "SELECT number, generation, zone, after_id, up_to_id, policies FROM work_chunks"
        " ORDER BY number"
    )
    return [tuple(row) for row in rows]


async def test_who_covers_the_day_is_cut_by_rising_id(
    world: World, fresh_connections: Connections
) -> None:
    await store_event(await fresh_connections.application(), "P1", "tier1", NOON, zone=True)
    request = await only_request(world.runtime)
    planned = (await plan(world.runtime, request, policies_per_chunk=2)).chunks
    assert [chunk.policies for chunk in planned] == [2, 2, 1]
    ids = [world.ids[f"P{number}"] for number in range(1, 6)]
    assert await stretches_of(fresh_connections) == [
        (1, 1, world.zone, ids[0] - 1, ids[1], 2),
        (2, 1, world.zone, ids[2] - 1, ids[3], 2),
        (3, 1, world.zone, ids[4] - 1, ids[4], 1),
    ]


async def test_an_event_of_no_zone_is_planned_for_every_zone_of_its_terms_and_region(
    world: World, fresh_connections: Connections
) -> None:
    for zone, region in (("Europe/London", "JFK"), ("Asia/Tokyo", "LGA")):
        await World(world.runtime, region=region, zone=zone).insure({zone: 10_000})
    await store_event(await fresh_connections.application(), "P1", "tier1", NOON)
    assert len(await plan_chunks(world.runtime, await only_request(world.runtime))) == 2
    zones = {row[2] for row in await stretches_of(fresh_connections)}
    assert zones == {"America/New_York", "Europe/London"}


async def test_a_generation_is_cut_once_and_a_newer_plan_is_written_over_it(
    world: World, fresh_connections: Connections
) -> None:
    application = await fresh_connections.application()
    await store_event(application, "P1", "tier1", NOON, zone=True)
    first = await only_request(world.runtime)
    keys = [chunk.key for chunk in (await plan(world.runtime, first, policies_per_chunk=2)).chunks]
    await calculate_chunk(world.runtime, keys[0])
    assert await plan_chunks(world.runtime, first) == keys[1:]
    await store_event(application, "P1", "tier2", NOON, zone=True)
    assert await plan_chunks(world.runtime, first) == keys[1:]
    second = await only_request(world.runtime)
    (whole,) = await plan_chunks(world.runtime, second)
    assert (whole.generation, whole.number) == (first.generation + 1, 1)
    of_second = [row for row in await stretches_of(fresh_connections) if row[1] == 2]
    assert [row[5] for row in of_second] == [5]
    overtaken = await calculate_chunk(world.runtime, keys[0])
    assert (overtaken.policies, overtaken.request_finished) == (0, False)


async def test_what_was_asked_for_again_is_not_planned_as_it_was_read_before(
    world: World, fresh_connections: Connections
) -> None:
    application = await fresh_connections.application()
    await store_event(application, "P1", "tier1", NOON)
    read_before = await only_request(world.runtime)
    await store_event(application, "P1", "tier2", NOON)
    assert await plan_chunks(world.runtime, read_before) == []
    assert await stretches_of(fresh_connections) == []
    assert (await only_request(world.runtime)).generation == read_before.generation + 1


async def test_two_who_plan_at_once_get_the_same_chunks(
    world: World, fresh_connections: Connections
) -> None:
    await store_event(await fresh_connections.application(), "P1", "tier1", NOON)
    request = await only_request(world.runtime)
    one, two = await asyncio.gather(
        plan(world.runtime, request, policies_per_chunk=2),
        plan(world.runtime, request, policies_per_chunk=3),
    )
    assert one == two
    assert [type(chunk) for chunk in one.chunks] == [PlannedChunk] * len(one.chunks)


async def test_an_event_that_concerns_nobody_is_finished_by_its_plan(
    world: World, fresh_connections: Connections
) -> None:
    await store_event(await fresh_connections.application(), "P1", "tier1", "2024-01-01 16:00Z")
    planned = await plan(world.runtime, await only_request(world.runtime))
    assert (planned.chunks, planned.is_finished) == ([], True)
    assert await asked_for(world.runtime) == []


async def test_a_run_that_was_stopped_is_gone_on_with(
    world: World, fresh_connections: Connections
) -> None:
    """The first chunk is done, as by a run that was killed; its policies are not done again."""
    await calculate_days(world.runtime, Scope(DAY, DAY))
    await calculate_days(world.runtime, Scope(date(2025, 1, 1), date(2025, 12, 31)))
    await store_event(await fresh_connections.application(), "P1", "tier1", NOON, zone=True)
    planned = await plan(world.runtime, await only_request(world.runtime), policies_per_chunk=2)
    await calculate_chunk(world.runtime, planned.chunks[0].key)
    told: list[tuple[str, int, int]] = []
    report = await calculate_days(
        world.runtime, Scope(DAY, DAY), notify=lambda *progress: told.append(progress)
    )
    assert (report.chunks, report.claims, report.requests_finished) == (2, 3, 1)
    calculations = [progress for progress in told if progress[0] == "Calculating claims"]
    assert max(done for _, done, _ in calculations) == 5
    assert all(done > 2 and total == 5 for _, done, total in calculations)
