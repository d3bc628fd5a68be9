"""One account, two who add to it."""

from contextlib import suppress

from .drivers import Program
from .machine import LockNotAvailableError, Machine
from .scenario import Scenario, Truth

ACCOUNTS = """
    CREATE TABLE accounts (id int PRIMARY KEY, amount int NOT NULL, version int NOT NULL DEFAULT 0);
    INSERT INTO accounts VALUES (1, 0), (2, 0)
    """
WITH_A_FUNCTION = f"""
    {ACCOUNTS};
    CREATE FUNCTION locked_amount(int) RETURNS int LANGUAGE sql
    AS 'SELECT amount FROM accounts WHERE id = $1 FOR UPDATE'
    """
READ = "SELECT amount FROM accounts WHERE id = 1"
WRITE = "UPDATE accounts SET amount = $1 WHERE id = 1"


def read_and_write(read: str, before: str = "") -> Program:
    """Add one to what is read, in one transaction."""

    async def add_one(machine: Machine) -> None:
        async with machine.transaction():
            if before:
                await machine.execute(before)
            amount = await machine.value(read)
            await machine.execute(WRITE, amount + 1)

    return add_one


def add_to(*accounts: int) -> Program:
    async def add_to_each(machine: Machine) -> None:
        async with machine.transaction():
            for account in accounts:
                await machine.execute(
                    "UPDATE accounts SET amount = amount + 1 WHERE id = $1", account
                )

    return add_to_each


async def try_and_drop(machine: Machine) -> None:
    try:
        await read_and_write(f"{READ} FOR UPDATE NOWAIT")(machine)
    except LockNotAvailableError:
        return


async def skip_and_drop(machine: Machine) -> None:
    async with machine.transaction():
        amount = await machine.value(f"{READ} FOR UPDATE SKIP LOCKED")
        if amount is not None:
            await machine.execute(WRITE, amount + 1)


class DoubtError(Exception):
    """Undoes a savepoint."""


async def lock_in_a_savepoint(machine: Machine) -> None:
    amount = 0
    async with machine.transaction():
        with suppress(DoubtError):
            async with machine.transaction():
                amount = await machine.value(f"{READ} FOR UPDATE")
                raise DoubtError
        await machine.execute(WRITE, amount + 1)


async def write_if_unchanged(machine: Machine) -> bool:
    """Add one if nobody else did; whether it was done."""
    async with machine.transaction():
        ((amount, version),) = await machine.rows("SELECT amount, version FROM accounts LIMIT 1")
        changed = await machine.execute(
            "UPDATE accounts SET amount = $1, version = $2 + 1 WHERE id = 1 AND version = $2",
            amount + 1,
            version,
        )
    return changed == 1


async def trust_the_version(machine: Machine) -> None:
    await write_if_unchanged(machine)


async def try_until_unchanged(machine: Machine) -> None:
    for _ in range(3):
        if await write_if_unchanged(machine):
            return
    raise AssertionError("two others came between")


async def delete_and_insert(machine: Machine) -> None:
    async with machine.transaction():
        await machine.execute("DELETE FROM accounts WHERE id = 1")
        await machine.execute("INSERT INTO accounts VALUES (1, 100)")


async def insert_or_replace(machine: Machine) -> None:
    async with machine.transaction():
        await machine.execute(
            "INSERT INTO accounts VALUES (1, 100) "
            "ON CONFLICT (id) DO UPDATE SET amount = EXCLUDED.amount"
        )


async def add_and_count(machine: Machine) -> int:
    return await machine.execute("UPDATE accounts SET amount = amount + 1 WHERE id = 1")


LOCKED = read_and_write(f"{READ} FOR UPDATE")
ONE_ACCOUNT = ACCOUNTS.replace(", (2, 0)", "")

SCENARIOS = (
    Scenario("a lost update", Truth.BREAKS, "1 2 1 1 2 2", (read_and_write(READ),) * 2, ACCOUNTS),
    Scenario("a row lock before the read", Truth.HOLDS, "1 2* 1 1", (LOCKED,) * 2, ACCOUNTS),
    Scenario(
        "a row lock before the read of three", Truth.HOLDS, "1 2* 3* 1 1", (LOCKED,) * 3, ACCOUNTS
    ),
    Scenario(
        "a row lock of one worker alone",
        Truth.BREAKS,
        "1 2 2 2 1 1",
        (read_and_write(READ), LOCKED),
        ACCOUNTS,
    ),
    Scenario(
        "an addition in one statement", Truth.HOLDS, "1 2* 1", (add_to(1), add_to(1)), ACCOUNTS
    ),
    Scenario(
        "rows in opposite order",
        Truth.DEADLOCKS,
        "1 2 1* 2",
        (add_to(1, 2), add_to(2, 1)),
        ACCOUNTS,
    ),
    Scenario(
        "rows in the same order", Truth.HOLDS, "1 2* 1 1", (add_to(1, 2), add_to(1, 2)), ACCOUNTS
    ),
    Scenario(
        "a shared row lock that is to become an exclusive one",
        Truth.DEADLOCKS,
        "1 2 1* 2",
        (read_and_write(f"{READ} FOR SHARE"),) * 2,
        ACCOUNTS,
    ),
    Scenario(
        "a row lock taken inside an SQL function",
        Truth.HOLDS,
        "1 2* 1 1",
        (read_and_write("SELECT locked_amount(1)"),) * 2,
        WITH_A_FUNCTION,
    ),
    Scenario(
        "a table locked against every writer",
        Truth.HOLDS,
        "1 2* 1 1 1",
        (read_and_write(READ, "LOCK TABLE accounts IN EXCLUSIVE MODE"),) * 2,
        ACCOUNTS,
    ),
    Scenario(
        "a table locked in a mode that two can have",
        Truth.DEADLOCKS,
        "1 2 1 2 1* 2",
        (read_and_write(READ, "LOCK TABLE accounts IN SHARE MODE"),) * 2,
        ACCOUNTS,
    ),
    Scenario(
        "NOWAIT whose error path drops the update",
        Truth.BREAKS,
        "1 2 1 1",
        (try_and_drop,) * 2,
        ACCOUNTS,
    ),
    Scenario(
        "NOWAIT whose error reaches the caller",
        Truth.HOLDS,
        "1 2 1 1",
        (read_and_write(f"{READ} FOR UPDATE NOWAIT"),) * 2,
        ACCOUNTS,
        may_raise=(LockNotAvailableError,),
    ),
    Scenario(
        "SKIP LOCKED whose skipped work is lost",
        Truth.BREAKS,
        "1 2 1 1",
        (skip_and_drop,) * 2,
        ACCOUNTS,
    ),
    Scenario(
        "a row lock that a rolled back savepoint gives up",
        Truth.BREAKS,
        "1 2 1 1 2 2",
        (lock_in_a_savepoint,) * 2,
        ACCOUNTS,
    ),
    Scenario(
        "a version whose change nobody looks at",
        Truth.BREAKS,
        "1 2 1 1 2 2",
        (trust_the_version,) * 2,
        ONE_ACCOUNT,
    ),
    Scenario(
        "a version that is tried until it fits",
        Truth.HOLDS,
        "1 2 1 2* 1",
        (try_until_unchanged,) * 2,
        ONE_ACCOUNT,
    ),
    Scenario(
        "a row deleted and made again under an update",
        Truth.BREAKS,
        "1 2* 1 1",
        (delete_and_insert, add_and_count),
        ACCOUNTS,
    ),
    Scenario(
        "a row replaced in place under an update",
        Truth.HOLDS,
        "1 2* 1",
        (insert_or_replace, add_and_count),
        ACCOUNTS,
    ),
)
