"""Requests: what is stored asks for the work it causes, in the same transaction, whoever stores."""

import asyncio
from dataclasses import dataclass
from datetime import date

import pytest

from claimwright.storage.database import make_engine
from claimwright.storage.requests import (
    PendingRequest,
    RequestKind,
    finish_requests,
    pending_page,
)
from support.databases import Connection, Connections
from support.ordering import blocks, wait_until_blocked

from .guards import Line
from .refusals import outcome, rolled_back
from .world import claim, storing

READINGS = "INSERT INTO readings (region, variable, observed_at, value, restates_id) VALUES "
EVENTS = (
    "INSERT INTO risk_events (product_version_id, region, triggered_at, tier_level, zone,"
    " local_date) VALUES "
)
POLICY = (
    "INSERT INTO policies (id, policy_number, product_version_id, coverage_region, zone,"
    " coverage_minor, limit_minor, currency, first_day, last_day)"
    " VALUES (9, 'P-9', 1, 'JFK', 'UTC', 100000, 300000, 'USD', '2025-01-01', '2025-12-31')"
)
VOID = "UPDATE claims SET status = 'void' WHERE policy_id = 4"
REQUESTS = """
    SELECT concat_ws(' ', kind, policy_id, product_version_id, region, coalesce(subject, '-'), day)
    FROM work_requests WHERE finished_generation < generation ORDER BY 1
    """
FINISH_ALL = "UPDATE work_requests SET finished_generation = generation"


@dataclass(frozen=True, slots=True)
class Asking:
    """A statement and the requests it leaves, as text; a dash for no subject."""

    name: str
    statement: str
    requests: list[str]


ASKING = [
    Asking(
        "readings, by UTC date, whatever the zone they are written in",
        READINGS + "('LGA', 'rain', '2025-03-01T23:30Z', 1, NULL),"
        " ('LGA', 'rain', '2025-03-01T20:30-05', 1, NULL), ('EWR', 'rain', '2025-03-01', 2, NULL)",
        [
            "evaluate EWR rain 2025-03-01",
            "evaluate LGA rain 2025-03-01",
            "evaluate LGA rain 2025-03-02",
        ],
    ),
    Asking(
        "a restatement",
        READINGS + "('JFK', 'precipitation-for-testing', '2025-01-15T12:00Z', 9, 1)",
        [],
    ),
    Asking(
        "an event that somebody stored as such, by UTC date",
        EVENTS + "(1, 'JFK', '2025-03-01T20:00-05', 'tier1', NULL, NULL)",
        ["calculate 1 JFK - 2025-03-02"],
    ),
    Asking(
        "an event made from readings, by its local date",
        EVENTS + "(1, 'JFK', '2025-03-02T01:00Z', 'tier1', 'America/New_York', '2025-03-01')",
        ["calculate 1 JFK America/New_York 2025-03-01"],
    ),
    Asking("a new policy", POLICY, ["policy 9 -"]),
    Asking(
        "an extension",
        "UPDATE policies SET last_day = '2026-12-31' WHERE id = 5",
        ["policy 5 -"],
    ),
    Asking(
        "a reinstatement",
        "UPDATE policies SET cancelled_on = NULL WHERE id IN (4, 5)",
        ["policy 4 -", "policy 5 -"],
    ),
    Asking("a void claim", VOID, ["policy 4 -"]),
    Asking(
        "a withdrawn event",
        "INSERT INTO event_withdrawals VALUES (4, 31, 'a broken gauge', 'somebody')",
        ["policy 4 -"],
    ),
    Asking("an approval", "UPDATE claims SET status = 'approved' WHERE policy_id = 4", []),
    Asking("a claim", storing(claim()), []),
]  # fmt: skip

each_asking = pytest.mark.parametrize("asking", ASKING, ids=lambda asking: asking.name)


@pytest.fixture
async def idle_writers(writers: dict[str, Connection]) -> dict[str, Connection]:
    """The writers on their world, in which nothing asks for work any more."""
    await writers["a superuser"].execute(FINISH_ALL)
    return writers


async def pending(connection: Connection) -> list[str]:
    return [row[0] for row in await connection.fetch(REQUESTS)]


@each_asking
async def test_it_asks_in_its_own_transaction_whoever_stores(
    asking: Asking, idle_writers: dict[str, Connection]
) -> None:
    for connection in idle_writers.values():
        async with rolled_back(connection):
            await connection.execute(asking.statement)
            assert await pending(connection) == asking.requests
        assert await pending(connection) == []


async def test_a_request_that_is_asked_for_again_is_one_with_a_higher_generation(
    idle_writers: dict[str, Connection],
) -> None:
    connection = idle_writers["the application"]
    generation = "SELECT generation FROM work_requests WHERE policy_id = 5"
    async with rolled_back(connection):
        before = await connection.fetchval(generation)
        for _ in range(2):
            await connection.execute("UPDATE policies SET last_day = '2026-12-31' WHERE id = 5")
        assert await connection.fetchval(generation) == before + 2
        assert await pending(connection) == ["policy 5 -"]


async def test_a_request_is_finished_only_as_far_as_it_was_read(
    fresh_world: Connections,
) -> None:
    assert await finish_while_asked_again(fresh_world) == 0
    assert "calculate 1 LGA - 2025-01-16" in await pending(await fresh_world.superuser())


async def test_merging_requests_without_a_new_generation_loses_one(
    fresh_world: Connections,
) -> None:
    merging = Line(
        "request_calculations",
        "DO UPDATE SET generation = r.generation + 1, requested_at = now()",
        "DO NOTHING",
    )
    await merging.remove(await fresh_world.superuser())
    assert await finish_while_asked_again(fresh_world, second_blocks=False) == 1
    assert "calculate 1 LGA - 2025-01-16" not in await pending(await fresh_world.superuser())


async def test_finishing_whatever_the_generation_loses_a_request(
    fresh_world: Connections,
) -> None:
    storer, worker, watcher, known = await a_read_request(fresh_world)
    careless = f"UPDATE work_requests SET finished_generation = generation WHERE id = {known.id}"
    finishing = asyncio.create_task(outcome(worker, careless))
    await wait_until_blocked(watcher, worker.get_server_pid())
    await storer.execute("COMMIT")
    assert await finishing == "stored"
    assert "calculate 1 LGA - 2025-01-16" not in await pending(watcher)


async def a_read_request(
    connections: Connections,
) -> tuple[Connection, Connection, Connection, PendingRequest]:
    """A request that a worker has read, and that another transaction is asking for again."""
    storer, worker = await connections.application(), await connections.application()
    watcher = await connections.superuser()
    engine = make_engine(connections.addresses.database_url, pool_size=1)
    async with engine.connect() as connection:
        days = (date(2025, 1, 1), date(2025, 12, 31))
        found = await pending_page(
            connection, RequestKind.CALCULATE, days=days, after=None, limit=100
        )
    await engine.dispose()
    known = next(request for request in found if request.region == "LGA")
    await storer.execute("BEGIN")
    await storer.execute(EVENTS + "(1, 'LGA', '2025-01-16T18:00Z', 'tier2', NULL, NULL)")
    return storer, worker, watcher, known


async def finish_while_asked_again(connections: Connections, *, second_blocks: bool = True) -> int:
    """How many requests a worker finishes that began to, while somebody asked again."""
    storer, worker, watcher, known = await a_read_request(connections)
    async with worker.transaction():
        finishing = asyncio.create_task(finish_requests(worker, [known]))
        assert await blocks(watcher, worker.get_server_pid(), finishing) is second_blocks
        await storer.execute("COMMIT")
        return await finishing


OPPOSITE = [
    (
        "request_evaluations",
        "ORDER BY region, variable, day",
        READINGS + "({}, 'rain', '2025-03-01T{:02}:00Z', 1, NULL),"
        " ({}, 'rain', '2025-03-01T{:02}:00Z', 1, NULL)",
    ),
    (
        "request_calculations",
        "ORDER BY product_version_id, region, zone, day",
        EVENTS + "(1, {}, '2025-03-01T{:02}:00Z', 'tier1', NULL, NULL),"
        " (1, {}, '2025-03-01T{:02}:00Z', 'tier1', NULL, NULL)",
    ),
]  # fmt: skip
each_opposite = pytest.mark.parametrize(
    ("function", "order", "statement"), OPPOSITE, ids=["readings", "events"]
)


async def store_in_opposite_orders(connections: Connections, statement: str) -> list[str]:
    """What two writers are told who store keys A, B and B, A, and both met a third one at A."""
    third, one, two = [await connections.application() for _ in range(3)]
    watcher = await connections.superuser()
    await third.execute(statement.format("'A'", 1, "'A'", 2))  # a request for A is there
    await third.execute("BEGIN")
    await third.execute("SELECT FROM work_requests WHERE region = 'A' FOR UPDATE")
    stored = []
    for connection, keys in ((one, ("'A'", 3, "'B'", 4)), (two, ("'B'", 5, "'A'", 6))):
        stored.append(asyncio.create_task(outcome(connection, statement.format(*keys))))
        await wait_until_blocked(watcher, connection.get_server_pid())
    await third.execute("COMMIT")
    return [(await said)[:6] for said in stored]


@each_opposite
async def test_storing_in_opposite_orders_does_not_deadlock(
    function: str, order: str, statement: str, fresh_world: Connections
) -> None:
    del function, order
    assert await store_in_opposite_orders(fresh_world, statement) == ["stored", "stored"]


@each_opposite
async def test_storing_in_the_order_of_arrival_deadlocks(
    function: str, order: str, statement: str, fresh_world: Connections
) -> None:
    await Line(function, order, "ORDER BY min(id)").remove(await fresh_world.superuser())
    said = await store_in_opposite_orders(fresh_world, statement)
    assert sorted(said) == ["40P01 ", "stored"]
