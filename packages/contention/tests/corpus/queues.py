"""Jobs that are done once, requests that are not lost, messages that leave in order."""

from .drivers import Program
from .machine import Machine
from .scenario import Scenario, Truth, holds

JOBS = """
    CREATE TABLE jobs (id int PRIMARY KEY, is_done bool NOT NULL DEFAULT false);
    INSERT INTO jobs VALUES (1), (2);
    CREATE TABLE ledger (job int NOT NULL)
    """
EACH_ONCE = holds("SELECT count(*) = 2 AND count(DISTINCT job) = 2 FROM ledger")
NEXT = "SELECT id FROM jobs WHERE NOT is_done ORDER BY id"
REQUESTS = """
    CREATE TABLE events (name text PRIMARY KEY);
    CREATE TABLE requests (name text PRIMARY KEY, generation int NOT NULL);
    INSERT INTO requests VALUES ('day', 1);
    CREATE TABLE results (name text PRIMARY KEY, events int NOT NULL);
    INSERT INTO results VALUES ('day', 0)
    """
NOTHING_FORGOTTEN = holds(
    "SELECT EXISTS (SELECT FROM requests) "
    "OR (SELECT count(*) FROM events) = (SELECT events FROM results)"
)
GOODS = """
    CREATE TABLE goods (id int PRIMARY KEY, price int NOT NULL);
    INSERT INTO goods VALUES (1, 0);
    CREATE TABLE outbox (
        number int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, price int NOT NULL
    )
    """
LAST_MESSAGE_IS_RIGHT = holds(
    "SELECT (SELECT price FROM outbox ORDER BY number DESC LIMIT 1) = (SELECT price FROM goods)"
)


def take_a_job(lock: str) -> Program:
    async def work(machine: Machine) -> None:
        async with machine.transaction():
            job = await machine.value(f"{NEXT} {lock} LIMIT 1" if lock else f"{NEXT} LIMIT 1")
            if job is not None:
                await machine.execute("UPDATE jobs SET is_done = true WHERE id = $1", job)
                await machine.execute("INSERT INTO ledger VALUES ($1)", job)

    return work


async def take_a_job_in_one_statement(machine: Machine) -> None:
    async with machine.transaction():
        job = await machine.value(
            f"UPDATE jobs SET is_done = true WHERE id = ({NEXT} LIMIT 1) RETURNING id"
        )
        if job is not None:
            await machine.execute("INSERT INTO ledger VALUES ($1)", job)


def work_off(*, generation_comes_first: bool = True, compares: bool = True) -> Program:
    async def work(machine: Machine) -> None:
        ask = "SELECT generation FROM requests WHERE name = 'day'"
        async with machine.transaction():
            generation = await machine.value(ask) if generation_comes_first else None
            events = await machine.value("SELECT count(*) FROM events")
            generation = generation or await machine.value(ask)
            await machine.execute("UPDATE results SET events = $1 WHERE name = 'day'", events)
            if compares:
                await machine.execute("DELETE FROM requests WHERE generation = $1", generation)
            else:
                await machine.execute("DELETE FROM requests WHERE name = 'day'")

    return work


def request(on_conflict: str) -> Program:
    async def work(machine: Machine) -> None:
        async with machine.transaction():
            await machine.execute("INSERT INTO events VALUES ('rain')")
            await machine.execute(
                f"INSERT INTO requests VALUES ('day', 1) ON CONFLICT {on_conflict}"
            )

    return work


MERGE = "(name) DO UPDATE SET generation = requests.generation + 1"


def change_price(price: int, *, is_split: bool) -> Program:
    async def work(machine: Machine) -> None:
        message = "INSERT INTO outbox (price) VALUES ($1)"
        async with machine.transaction():
            await machine.execute("UPDATE goods SET price = $1 WHERE id = 1", price)
            if not is_split:
                await machine.execute(message, price)
        if is_split:
            await machine.execute(message, price)

    return work


SCENARIOS = (
    Scenario(
        "a queue read without locks",
        Truth.BREAKS,
        "1 2 1 1 1 2 2 2",
        (take_a_job(""),) * 2,
        JOBS,
        invariant=EACH_ONCE,
    ),
    Scenario(
        "a queue read FOR UPDATE SKIP LOCKED",
        Truth.HOLDS,
        "1 2 1 2 1 1 2 2",
        (take_a_job("FOR UPDATE SKIP LOCKED"),) * 2,
        JOBS,
        invariant=EACH_ONCE,
    ),
    Scenario(
        "a queue read FOR UPDATE",
        Truth.HOLDS,
        "1 2* 1 1 1",
        (take_a_job("FOR UPDATE"),) * 2,
        JOBS,
        invariant=EACH_ONCE,
    ),
    Scenario(
        "a queue whose job is chosen inside the update",
        Truth.BREAKS,
        "1 2* 1 1",
        (take_a_job_in_one_statement,) * 2,
        JOBS,
        invariant=EACH_ONCE,
    ),
    Scenario(
        "a request merged by DO NOTHING",
        Truth.BREAKS,
        "1 1 2 2 2 1 1 1",
        (work_off(compares=False), request("DO NOTHING")),
        REQUESTS,
        invariant=NOTHING_FORGOTTEN,
    ),
    Scenario(
        "a request merged by its generation",
        Truth.HOLDS,
        "1 1 1 1 2 2* 1",
        (work_off(), request(MERGE)),
        REQUESTS,
        invariant=NOTHING_FORGOTTEN,
    ),
    Scenario(
        "a request whose generation is read after its data",
        Truth.BREAKS,
        "1 2 2 2 1 1 1 1",
        (work_off(generation_comes_first=False), request(MERGE)),
        REQUESTS,
        invariant=NOTHING_FORGOTTEN,
    ),
    Scenario(
        "an outbox split from its transaction",
        Truth.BREAKS,
        "1 1 2 2 2 1",
        (change_price(1, is_split=True), change_price(2, is_split=True)),
        GOODS,
        invariant=LAST_MESSAGE_IS_RIGHT,
    ),
    Scenario(
        "an outbox in the transaction",
        Truth.HOLDS,
        "1 2* 1 1",
        (change_price(1, is_split=False), change_price(2, is_split=False)),
        GOODS,
        invariant=LAST_MESSAGE_IS_RIGHT,
    ),
)
