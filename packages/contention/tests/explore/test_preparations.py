"""A statement that is prepared has locked its tables: others may have come before that."""

import asyncio

import pytest

from contention.explore import explore
from contention.model.schedules import Choice, Schedule
from contention.model.verdicts import VerdictKind
from contention.schedulers.replay import ReplayScheduler
from contention.wire.servers import Links, Servers

from .programs import READ, Program, accounts_hold, database, found_by, two_accounts


async def anything(_links: Links) -> None:
    pass


async def lock_the_table(links: Links) -> None:
    async with database(links) as connection, connection.transaction():
        await connection.execute("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE")
        await connection.execute("UPDATE accounts SET amount = 5")


@pytest.mark.parametrize("is_inside", [True, False])
async def test_whoever_locks_a_table_may_come_before_what_another_prepares(
    servers: Servers, *, is_inside: bool
) -> None:
    seen = set()

    async def read(links: Links) -> None:
        async with database(links) as connection:
            if is_inside:
                await connection.execute("BEGIN")
            seen.add(await connection.fetchval(READ))
            if is_inside:
                await connection.execute("COMMIT")

    found = await explore(
        read, lock_the_table, setup=two_accounts, invariant=anything, servers=servers
    )
    assert found.verdict.kind is VerdictKind.LEGAL
    assert seen == {0, 5}


async def test_tasks_of_a_worker_that_use_one_connection_in_turn_are_one_worker(
    servers: Servers,
) -> None:
    async def work(links: Links) -> None:
        turn = asyncio.Lock()
        async with database(links) as connection:

            async def add_to(account: int) -> None:
                async with turn:
                    await connection.execute(
                        "UPDATE accounts SET amount = amount + 1 WHERE id = $1", account
                    )

            await asyncio.gather(add_to(1), add_to(2))

    check = accounts_hold(4)
    found = await explore(work, work, setup=two_accounts, invariant=check, servers=servers)
    assert found.verdict.kind is VerdictKind.LEGAL
    assert found.schedules > 1


def adds_in_turn(*accounts: int) -> Program:
    async def work(links: Links) -> None:
        async with database(links) as connection, connection.transaction():
            for account in accounts:
                await connection.execute(
                    "UPDATE accounts SET amount = amount + 1 WHERE id = $1", account
                )

    return work


async def test_who_waited_while_preparing_waits_anew_where_it_closes_a_circle(
    servers: Servers,
) -> None:
    async def lock_orders_too(links: Links) -> None:
        async with database(links) as connection, connection.transaction():
            await connection.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")

    async def order_and_add(links: Links) -> None:
        async with database(links) as connection, connection.transaction():
            await connection.execute("UPDATE accounts SET amount = 1 WHERE id = $1", 1)
            await connection.execute(
                "UPDATE accounts SET amount = 1 FROM orders RIGHT JOIN (SELECT 1) one ON true"
                " WHERE id = $1",
                2,
            )

    order = [*("w1", "w2", "w1", "w2"), *("w3", "w3", "w1")]
    found = await found_by(
        servers,
        order_and_add,
        lock_orders_too,
        adds_in_turn(2, 1),
        invariant=anything,
        scheduler=ReplayScheduler(Schedule(tuple(map(Choice, order)))),
    )
    assert found.counterexample is not None
    assert "deadlock" in found.verdict.reason
    waits = [step for step in found.counterexample.steps if step.is_blocked]
    assert [step.actor for step in waits] == ["w1", "w3", "w1"]
