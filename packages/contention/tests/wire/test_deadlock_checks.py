"""Whoever closes a circle is its victim, once the server has looked at the waits before."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
import pytest

from contention.wire.blocking import LockWaits, Wait
from contention.wire.deadlock_checks import DeadlockChecks, look_at

from .wire_servers import PostgresServer

if TYPE_CHECKING:
    Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

ROUNDS = 10
SURELY_SECONDS = 0.1
"""After so long the server is asked even if it was missed that it looked."""
ADD_ONE = "UPDATE numbers SET amount = amount + 1 WHERE id = {}"


@pytest.fixture
async def connections(postgres: PostgresServer) -> AsyncIterator[list["Connection"]]:
    opened = [await asyncpg.connect(postgres.uri) for _ in range(3)]
    for connection in opened:
        await connection.execute("SET deadlock_timeout = '20ms'")
    await opened[0].execute(
        """
        DROP TABLE IF EXISTS numbers;
        CREATE TABLE numbers (id int PRIMARY KEY, amount int);
        INSERT INTO numbers VALUES (1, 0), (2, 0);
        """
    )
    yield opened
    for connection in opened:
        await connection.close()


async def is_checked(looking: "Connection", checks: DeadlockChecks, pid: int) -> None:
    """Wait until a backend's wait has been looked at."""
    locks, began = LockWaits(looking), time.monotonic()
    while True:
        if checks.watch([pid]) or time.monotonic() > began + SURELY_SECONDS:
            waits = await locks.of([pid])
            if waits and checks.are_made(waits.values(), time.monotonic()):
                return
        await asyncio.sleep(0)


async def test_after_a_look_the_one_who_closes_the_circle_is_the_victim(
    connections: "list[Connection]",
) -> None:
    looking, first, second = connections
    for _ in range(ROUNDS):
        for connection, own in ((first, 1), (second, 2)):
            await connection.execute("BEGIN")
            await connection.execute(ADD_ONE.format(own))
        waiting = asyncio.create_task(first.execute(ADD_ONE.format(2)))
        checks = DeadlockChecks()
        await asyncio.wait_for(is_checked(looking, checks, first.get_server_pid()), 30)
        with pytest.raises(asyncpg.DeadlockDetectedError):
            await second.execute(ADD_ONE.format(1))
        await second.execute("ROLLBACK")
        await waiting
        await first.execute("ROLLBACK")


async def test_a_backend_that_sleeps_before_it_waits_does_not_count_as_looked_at(
    connections: "list[Connection]",
) -> None:
    _, first, _ = connections
    pid = first.get_server_pid()
    checks = DeadlockChecks()
    assert not checks.watch([pid])
    while not checks.watch([pid]):
        await first.execute("SELECT 1")
    just_begun = Wait(pid, frozenset({1}), "transactionid", waited_ms=0.5, deadlock_timeout_ms=1)
    assert not checks.are_made([just_begun], time.monotonic())


async def test_what_was_looked_at_stays_so_for_as_long_as_it_waits() -> None:
    long = Wait(1, frozenset({2}), "tuple", waited_ms=5_000, deadlock_timeout_ms=1, began_at=7)
    checks = DeadlockChecks()
    assert checks.are_made([long], time.monotonic())
    again = Wait(1, frozenset({2}), "tuple", waited_ms=1, deadlock_timeout_ms=1, began_at=7)
    assert checks.are_made([again], time.monotonic())
    another = Wait(1, frozenset({2}), "tuple", waited_ms=1, deadlock_timeout_ms=1, began_at=8)
    assert not checks.are_made([another], time.monotonic())


async def test_how_a_backend_is_can_be_seen_and_nobody_else(
    connections: "list[Connection]",
) -> None:
    assert look_at(connections[0].get_server_pid()) is not None
    assert look_at(1) is None
