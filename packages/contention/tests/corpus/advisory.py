"""Advisory locks around a read and a write."""

from .drivers import Program
from .machine import Machine
from .scenario import BusyError, Scenario, Truth
from .updates import ACCOUNTS, READ, WRITE, read_and_write


def lock_each(*names: int) -> Program:
    async def work(machine: Machine) -> None:
        async with machine.transaction():
            for name in names:
                await machine.execute("SELECT pg_advisory_xact_lock($1)", name)
            await machine.execute("UPDATE accounts SET amount = amount + 1 WHERE id = 1")

    return work


async def unlock_before_the_commit(machine: Machine) -> None:
    async with machine.transaction():
        await machine.execute("SELECT pg_advisory_lock(7)")
        amount = await machine.value(READ)
        await machine.execute(WRITE, amount + 1)
        await machine.execute("SELECT pg_advisory_unlock(7)")


async def unlock_after_the_commit(machine: Machine) -> None:
    await machine.execute("SELECT pg_advisory_lock(7)")
    async with machine.transaction():
        amount = await machine.value(READ)
        await machine.execute(WRITE, amount + 1)
    await machine.execute("SELECT pg_advisory_unlock(7)")


async def go_on_only_with_the_lock(machine: Machine) -> None:
    async with machine.transaction():
        if not await machine.value("SELECT pg_try_advisory_xact_lock(7)"):
            raise BusyError
        amount = await machine.value(READ)
        await machine.execute(WRITE, amount + 1)


SCENARIOS = (
    Scenario(
        "advisory locks in opposite order",
        Truth.DEADLOCKS,
        "1 2 1* 2",
        (lock_each(7, 8), lock_each(8, 7)),
        ACCOUNTS,
    ),
    Scenario(
        "advisory locks in the same order",
        Truth.HOLDS,
        "1 2* 1 1 1",
        (lock_each(7, 8), lock_each(7, 8)),
        ACCOUNTS,
    ),
    Scenario(
        "a session's advisory lock released before the commit",
        Truth.BREAKS,
        "1 1 1 1 2 2 1 2 2 2",
        (unlock_before_the_commit,) * 2,
        ACCOUNTS,
    ),
    Scenario(
        "a session's advisory lock released after the commit",
        Truth.HOLDS,
        "1 2* 1 1 1 1",
        (unlock_after_the_commit,) * 2,
        ACCOUNTS,
    ),
    Scenario(
        "a transaction's advisory lock",
        Truth.HOLDS,
        "1 2* 1 1 1",
        (read_and_write(READ, "SELECT pg_advisory_xact_lock(7)"),) * 2,
        ACCOUNTS,
    ),
    Scenario(
        "an advisory lock that is tried and ignored",
        Truth.BREAKS,
        "1 2 1 2 1 1 2 2",
        (read_and_write(READ, "SELECT pg_try_advisory_xact_lock(7)"),) * 2,
        ACCOUNTS,
    ),
    Scenario(
        "an advisory lock that is tried and obeyed",
        Truth.HOLDS,
        "1 2 1 1 1",
        (go_on_only_with_the_lock,) * 2,
        ACCOUNTS,
        may_raise=(BusyError,),
    ),
)
