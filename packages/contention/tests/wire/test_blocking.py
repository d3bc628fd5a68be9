"""Who waits for whom, and for what, is what the server says."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
import pytest

from contention.wire.blocking import LockWaits, Wait, conflict, cycle_among, lock_name

from .wire_servers import PostgresServer

if TYPE_CHECKING:
    Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture
async def connections(postgres: PostgresServer) -> AsyncIterator[list["Connection"]]:
    opened = [await asyncpg.connect(postgres.uri) for _ in range(3)]
    await opened[0].execute(
        """
        DROP TABLE IF EXISTS children, parents;
        CREATE TABLE parents (id int PRIMARY KEY, amount int);
        INSERT INTO parents VALUES (1, 1);
        CREATE TABLE children (parent int REFERENCES parents);
        """
    )
    yield opened
    for connection in opened:
        await connection.close()


async def wait_of(connections: "list[Connection]", held: str, wanted: str) -> tuple[Wait, bool]:
    """The wait of the second connection for the first, and whether it waits for that one."""
    looking, holder, waiter = connections
    locks = LockWaits(looking)
    await holder.execute("BEGIN")
    await waiter.execute("BEGIN")
    await holder.execute(held)
    waiting = asyncio.create_task(waiter.execute(wanted))
    pid = waiter.get_server_pid()
    while not (waits := await locks.of([pid])):
        assert not waiting.done(), "it does not wait"
    await holder.execute("ROLLBACK")
    await waiting
    await waiter.execute("ROLLBACK")
    return waits[pid], waits[pid].blockers == {holder.get_server_pid()}


@pytest.mark.parametrize(
    ("held", "wanted", "what"),
    [
        (
            "UPDATE parents SET amount = 2 WHERE id = 1",
            "UPDATE parents SET amount = 3 WHERE id = 1",
            "row of parents",
        ),
        ("SELECT FROM parents FOR UPDATE", "INSERT INTO children VALUES (1)", "row of parents"),
        (
            "INSERT INTO parents VALUES (2, 2)",
            "INSERT INTO parents VALUES (2, 3)",
            "unique key of parents",
        ),
        ("SELECT FROM parents", "LOCK TABLE parents", "table parents"),
        (
            "SELECT pg_advisory_xact_lock(-7)",
            "SELECT pg_advisory_xact_lock(-7)",
            "advisory lock -7",
        ),
        (
            "SELECT pg_advisory_xact_lock(3, -7)",
            "SELECT pg_advisory_xact_lock(3, -7)",
            "advisory lock (3, -7)",
        ),
        ("CREATE TYPE one AS ENUM ()", "CREATE TYPE one AS ENUM ()", ""),
    ],
)
async def test_a_lock_has_a_name_that_people_know(
    connections: "list[Connection]", held: str, wanted: str, what: str
) -> None:
    wait, is_for_the_holder = await wait_of(connections, held, wanted)
    assert is_for_the_holder
    assert wait.what(wanted) == what


async def test_who_holds_it_is_told_from_who_only_stands_before(
    connections: "list[Connection]", postgres: PostgresServer
) -> None:
    looking, holder, first = connections
    second = await asyncpg.connect(postgres.uri)
    await holder.execute("BEGIN; SELECT FROM parents")
    tasks = []
    for waiter, wanted in ((first, "LOCK TABLE parents"), (second, "SELECT FROM parents")):
        tasks.append(asyncio.create_task(waiter.execute(f"BEGIN; {wanted}; COMMIT")))
        while not await LockWaits(looking).of([waiter.get_server_pid()]):
            assert not tasks[-1].done()
    pids = [first.get_server_pid(), second.get_server_pid()]
    waits = await LockWaits(looking).of(pids)
    assert waits[pids[1]].blockers == {pids[0]}
    holders = await LockWaits(looking).holders(pids)
    assert holders == {pids[0]: {holder.get_server_pid()}, pids[1]: frozenset()}
    await holder.execute("COMMIT")
    await asyncio.gather(*tasks)
    await second.close()


async def test_a_backend_that_nobody_knows_is_described(
    connections: "list[Connection]",
) -> None:
    looking, stranger, _ = connections
    await stranger.execute("SET application_name = 'nightly job'")
    pid = stranger.get_server_pid()
    told = await LockWaits(looking).described(pid)
    assert told == f"backend {pid} (nightly job: SET application_name = 'nightly job')"
    assert await LockWaits(looking).described(0) == "a prepared transaction"


def test_whoever_is_the_next_to_have_a_row_does_not_hold_it() -> None:
    first = Wait(1, frozenset({9}), "transactionid", row_of="parents")
    second = Wait(2, frozenset({1}), "tuple", relation="parents")
    assert second.is_behind(first)
    assert not first.is_behind(second)
    assert not second.is_behind(None)


def test_whoever_waits_for_the_same_lock_stands_before_and_for_another_holds_it() -> None:
    one = Wait(1, frozenset({9}), "advisory", name="advisory lock 7")
    same = Wait(2, frozenset({1}), "advisory", name="advisory lock 7")
    other = Wait(3, frozenset({1}), "advisory", name="advisory lock 8")
    assert same.is_behind(one)
    assert not other.is_behind(one)


def test_a_circle_is_found_wherever_it_is() -> None:
    waits = {"w1": ["w2"], "w2": ["w3"], "w3": ["w2"], "w4": ["w1"]}
    assert cycle_among(waits) == ("w2", "w3")
    assert cycle_among({"w1": ["w1"]}) == ("w1",)


def test_a_queue_is_no_circle() -> None:
    assert cycle_among({"w1": ["w2"], "w2": ["w3"], "w4": ["w2", "w3"]}) == ()


def test_locks_conflict_as_the_table_of_the_manual_says() -> None:
    assert conflict("AccessShareLock", "AccessExclusiveLock")
    assert not conflict("AccessShareLock", "ExclusiveLock")
    assert conflict("RowExclusiveLock", "ShareLock")
    assert not conflict("RowExclusiveLock", "RowExclusiveLock")
    assert not conflict("ShareLock", "ShareLock")
    assert conflict("ShareUpdateExclusiveLock", "ShareUpdateExclusiveLock")


def test_an_advisory_lock_is_called_by_its_key() -> None:
    assert lock_name("advisory", 0, 7, 1) == "advisory lock 7"
    assert lock_name("advisory", 2**32 - 1, 2**32 - 7, 1) == "advisory lock -7"
    assert lock_name("advisory", 1, 2, 2) == "advisory lock (1, 2)"
    assert lock_name("spectoken", 1, 2, 2) == ""
