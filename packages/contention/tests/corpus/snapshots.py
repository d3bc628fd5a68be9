"""What a transaction sees: isolation levels, and snapshots from before a wait."""

from .drivers import Program
from .machine import Machine, SerializationError
from .scenario import Scenario, Truth, holds
from .updates import ACCOUNTS, READ

DOCTORS = """
    CREATE TABLE doctors (name text PRIMARY KEY, is_on_call bool NOT NULL);
    INSERT INTO doctors VALUES ('Ada', true), ('Bob', true)
    """
SOMEBODY_ON_CALL = holds("SELECT bool_or(is_on_call) FROM doctors")
SEATS = "CREATE TABLE seats (guest text)"
FULL_TABLE = """
    CREATE TABLE policies (id int PRIMARY KEY, cover int NOT NULL);
    INSERT INTO policies VALUES (1, 100);
    CREATE TABLE claims (policy int NOT NULL, amount int NOT NULL)
    """
LEFT = "100 - coalesce((SELECT sum(amount) FROM claims), 0)"
WITH_A_FUNCTION = f"""
    {FULL_TABLE};
    CREATE FUNCTION left_of(int) RETURNS bigint STABLE LANGUAGE sql
    AS 'SELECT $1 - coalesce(sum(amount), 0) FROM claims'
    """
WITHIN_THE_COVER = holds("SELECT sum(amount) = 100 FROM claims")


def tried(program: Program) -> Program:
    """A program that begins again when its transaction cannot be serialised."""

    async def work(machine: Machine) -> object:
        for _ in range(3):
            try:
                return await program(machine)
            except SerializationError:
                continue
        return await program(machine)

    return work


def go_off_call(name: str, isolation: str) -> Program:
    async def work(machine: Machine) -> None:
        async with machine.transaction(isolation):
            if await machine.value("SELECT count(*) FROM doctors WHERE is_on_call") > 1:
                await machine.execute("UPDATE doctors SET is_on_call = false WHERE name = $1", name)

    return work


def take_the_last_seat(guest: str, isolation: str) -> Program:
    async def work(machine: Machine) -> bool:
        async with machine.transaction(isolation):
            is_free = not await machine.value("SELECT count(*) FROM seats")
            if is_free:
                await machine.execute("INSERT INTO seats VALUES ($1)", guest)
        return is_free

    return work


def add_one_at(isolation: str) -> Program:
    async def work(machine: Machine) -> None:
        async with machine.transaction(isolation):
            amount = await machine.value(READ)
            await machine.execute("UPDATE accounts SET amount = $1 WHERE id = 1", amount + 1)

    return work


def report_at(isolation: str) -> Program:
    async def work(machine: Machine) -> int:
        async with machine.transaction(isolation):
            first = await machine.value("SELECT amount FROM accounts WHERE id = 1")
            second = await machine.value("SELECT amount FROM accounts WHERE id = 2")
        return int(first + second)

    return work


async def transfer(machine: Machine) -> None:
    async with machine.transaction():
        await machine.execute("UPDATE accounts SET amount = amount - 10 WHERE id = 1")
        await machine.execute("UPDATE accounts SET amount = amount + 10 WHERE id = 2")


def pay_what_is_left(read: str, before: str = "", isolation: str = "") -> Program:
    async def work(machine: Machine) -> None:
        async with machine.transaction(isolation):
            if before:
                await machine.execute(before)
            left = await machine.value(read)
            if left > 0:
                await machine.execute("INSERT INTO claims VALUES (1, $1)", int(left))

    return work


LOCK = "SELECT id FROM policies WHERE id = 1 FOR NO KEY UPDATE"
LOCK_AND_READ = f"WITH policy AS ({LOCK}) SELECT {LEFT} FROM policy"
LOCK_AND_CALL = "SELECT left_of(cover) FROM policies WHERE id = 1 FOR NO KEY UPDATE"


def both_doctors(isolation: str, *, tries: bool = False) -> tuple[Program, Program]:
    ada, bob = go_off_call("Ada", isolation), go_off_call("Bob", isolation)
    return (tried(ada), tried(bob)) if tries else (ada, bob)


SCENARIOS = (
    Scenario(
        "write skew at REPEATABLE READ",
        Truth.BREAKS,
        "1 2 1 1 2 2",
        both_doctors("REPEATABLE READ"),
        DOCTORS,
        invariant=SOMEBODY_ON_CALL,
    ),
    Scenario(
        "write skew at SERIALIZABLE, tried again",
        Truth.HOLDS,
        "1 2 1 1 2",
        both_doctors("SERIALIZABLE", tries=True),
        DOCTORS,
        invariant=SOMEBODY_ON_CALL,
    ),
    Scenario(
        "write skew at SERIALIZABLE, not tried again",
        Truth.BREAKS,
        "1 2 1 1 2",
        both_doctors("SERIALIZABLE"),
        DOCTORS,
        invariant=SOMEBODY_ON_CALL,
    ),
    Scenario(
        "write skew at SERIALIZABLE, whose error reaches the caller",
        Truth.HOLDS,
        "1 2 1 1 2",
        both_doctors("SERIALIZABLE"),
        DOCTORS,
        may_raise=(SerializationError,),
    ),
    Scenario(
        "a row that is not there at REPEATABLE READ",
        Truth.BREAKS,
        "1 2 1 1 2 2",
        (
            take_the_last_seat("Ada", "REPEATABLE READ"),
            take_the_last_seat("Bob", "REPEATABLE READ"),
        ),
        SEATS,
    ),
    Scenario(
        "a row that is not there at SERIALIZABLE, tried again",
        Truth.HOLDS,
        "1 2 1 1 2",
        (
            tried(take_the_last_seat("Ada", "SERIALIZABLE")),
            tried(take_the_last_seat("Bob", "SERIALIZABLE")),
        ),
        SEATS,
    ),
    Scenario(
        "an update at REPEATABLE READ, tried again",
        Truth.HOLDS,
        "1 2 1 2* 1",
        (tried(add_one_at("REPEATABLE READ")),) * 2,
        ACCOUNTS,
    ),
    Scenario(
        "an update at REPEATABLE READ, not tried again",
        Truth.BREAKS,
        "1 2 1 2* 1",
        (add_one_at("REPEATABLE READ"),) * 2,
        ACCOUNTS,
    ),
    Scenario(
        "two reads at READ COMMITTED around a transfer",
        Truth.BREAKS,
        "1 2 2 2 1 1",
        (report_at("READ COMMITTED"), transfer),
        ACCOUNTS,
    ),
    Scenario(
        "two reads at REPEATABLE READ around a transfer",
        Truth.HOLDS,
        "1 2 2 2 1 1",
        (report_at("REPEATABLE READ"), transfer),
        ACCOUNTS,
    ),
    Scenario(
        "the row lock and what it protects in one statement",
        Truth.BREAKS,
        "1 2* 1 1",
        (pay_what_is_left(LOCK_AND_READ),) * 2,
        FULL_TABLE,
        invariant=WITHIN_THE_COVER,
    ),
    Scenario(
        "the row lock, and a stable function that reads what it protects",
        Truth.BREAKS,
        "1 2* 1 1",
        (pay_what_is_left(LOCK_AND_CALL),) * 2,
        WITH_A_FUNCTION,
        invariant=WITHIN_THE_COVER,
    ),
    Scenario(
        "the row lock, then what it protects, at REPEATABLE READ",
        Truth.BREAKS,
        "1 2* 1 1 1",
        (pay_what_is_left(f"SELECT {LEFT}", LOCK, "REPEATABLE READ"),) * 2,
        FULL_TABLE,
        invariant=WITHIN_THE_COVER,
    ),
    Scenario(
        "the row lock, then what it protects",
        Truth.HOLDS,
        "1 2* 1 1 1",
        (pay_what_is_left(f"SELECT {LEFT}", LOCK),) * 2,
        FULL_TABLE,
        invariant=WITHIN_THE_COVER,
    ),
)
