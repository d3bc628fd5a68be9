"""A statement that is prepared has locked its tables: others may have come before that."""

import asyncio

import pytest

from contention.explore import explore
from contention.model.verdicts import VerdictKind
from contention.wire.servers import Links, Servers

from .programs import READ, accounts_hold, database, two_accounts


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
