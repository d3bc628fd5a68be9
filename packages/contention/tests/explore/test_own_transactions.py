"""What overlaps inside the server although each request was sent as one: it is tried too."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import asyncpg
import psycopg
import psycopg2
import pytest

from contention.explore import explore
from contention.model.schedules import Choice, Schedule
from contention.model.verdicts import VerdictKind
from contention.schedulers.replay import ReplayScheduler
from contention.wire.own_connections import connect_postgres
from contention.wire.request_parts import END_TEXT
from contention.wire.servers import Links, Servers

from .programs import database, found_by

LEGAL, ILLEGAL = VerdictKind.LEGAL, VerdictKind.ILLEGAL
TABLES = """
    CREATE TABLE accounts (id int PRIMARY KEY, amount int NOT NULL);
    INSERT INTO accounts VALUES (1, 0), (2, 0);
    CREATE TABLE jobs (id int PRIMARY KEY, is_done bool DEFAULT false, runs int DEFAULT 0);
    INSERT INTO jobs VALUES (1), (2);
    CREATE TABLE orders (item text);
    CREATE TABLE once (item text PRIMARY KEY);
    CREATE TABLE seen (first int, second int);
    CREATE FUNCTION add_one() RETURNS void LANGUAGE plpgsql AS $$
        DECLARE found int;
        BEGIN
            SELECT amount INTO found FROM accounts WHERE id = 1;
            UPDATE accounts SET amount = found + 1 WHERE id = 1;
        END $$;
    CREATE FUNCTION add_one_safely() RETURNS void LANGUAGE sql
        AS 'UPDATE accounts SET amount = amount + 1 WHERE id = 1';
    """
ADD = "UPDATE accounts SET amount = amount + 1 WHERE id = "
ORDER = "INSERT INTO orders SELECT 'tea' WHERE NOT EXISTS (SELECT FROM orders)"
DO_A_JOB = """
    UPDATE jobs SET is_done = true, runs = runs + 1
    WHERE id = (SELECT id FROM jobs WHERE NOT is_done ORDER BY id LIMIT 1{})
    """
AMOUNT = "(SELECT amount FROM accounts WHERE id = 1)"
FREE = "SELECT id FROM accounts FOR UPDATE SKIP LOCKED"
TRUTHS = {
    "an order unless there is one": (ILLEGAL, (ORDER,), (ORDER,)),
    "an order once, by its key": (
        LEGAL,
        ("INSERT INTO once SELECT 'tea' ON CONFLICT DO NOTHING",),
        ("INSERT INTO once SELECT 'tea' ON CONFLICT DO NOTHING",),
    ),
    "the next job": (ILLEGAL, (DO_A_JOB.format(""),), (DO_A_JOB.format(""),)),
    "the next job, by whoever is first": (
        LEGAL,
        (DO_A_JOB.format(" FOR UPDATE SKIP LOCKED"),),
        (DO_A_JOB.format(" FOR UPDATE SKIP LOCKED"),),
    ),
    "a function that reads and writes": (ILLEGAL, ("SELECT add_one()",), ("SELECT add_one()",)),
    "a function that adds": (
        LEGAL,
        ("SELECT add_one_safely()",),
        ("SELECT add_one_safely()",),
    ),
    "a block that reads and writes": (
        ILLEGAL,
        ("DO 'BEGIN PERFORM add_one(); END'",),
        ("DO 'BEGIN PERFORM add_one(); END'",),
    ),
    "a table unless there is one": (
        ILLEGAL,
        ("CREATE TABLE IF NOT EXISTS made (id int)",),
        ("CREATE TABLE IF NOT EXISTS made (id int)",),
    ),
    "two looks in one text": (
        ILLEGAL,
        (f"INSERT INTO seen SELECT {AMOUNT}, 0; UPDATE seen SET second = {AMOUNT}",),
        (ADD + "1",),
    ),
    "two rows in one text, in either order": (
        ILLEGAL,
        (f"{ADD}1; {ADD}2",),
        (f"{ADD}2; {ADD}1",),
    ),
    "two rows in one text, in one order": (LEGAL, (f"{ADD}1; {ADD}2",), (f"{ADD}1; {ADD}2",)),
    "a job that is locked only for a moment": (
        ILLEGAL,
        (ADD + "1",),
        (f"UPDATE accounts SET amount = 9 WHERE id IN ({FREE})",),
    ),
    "one row each": (LEGAL, (ADD + "1", ADD + "2"), (ADD + "2", ADD + "1")),
}  # fmt: skip


async def on_asyncpg(statements: Sequence[str], links: Links) -> None:
    async with database(links) as connection:
        for statement in statements:
            await connection.execute(statement)


def on_psycopg2(statements: Sequence[str], links: Links) -> None:
    connection = psycopg2.connect(links.postgres_url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    connection.close()


async def on_psycopg(statements: Sequence[str], links: Links) -> None:
    url = links.postgres_url
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for statement in statements:
            await connection.execute(statement)


DRIVERS: dict[str, Callable[[Sequence[str], Links], object]] = {
    "asyncpg": on_asyncpg,
    "psycopg": on_psycopg,
    "psycopg2": on_psycopg2,
}


async def tables(links: Links) -> None:
    async with database(links) as connection:
        await connection.execute(TABLES)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("name", TRUTHS)
async def test_what_is_its_own_transaction_is_judged_by_what_overlaps(
    servers: Servers, name: str, driver: str
) -> None:
    truth, *scripts = TRUTHS[name]
    workers = [partial(DRIVERS[driver], script) for script in scripts]
    found = await found_by(servers, *workers, setup=tables)
    assert found.verdict.kind is truth, str(found)


async def test_the_end_of_a_statement_is_told_as_a_step(servers: Servers) -> None:
    work = partial(on_asyncpg, [ORDER])
    found = await found_by(servers, work, work, setup=tables)
    assert found.counterexample is not None
    texts = [step.text for step in found.counterexample.steps]
    assert texts == [ORDER, ORDER, END_TEXT, END_TEXT]
    token = found.counterexample.schedule.token()
    replay = ReplayScheduler(Schedule.from_token(token))
    again = await found_by(servers, work, work, setup=tables, scheduler=replay)
    assert again.verdict == found.verdict


@pytest.mark.parametrize(
    ("statement", "is_noted"),
    [("SELECT add_one_safely()", True), ("DO 'BEGIN END'", True), (ADD + "length('a')", False)],
)
async def test_that_a_body_is_one_step_is_noted(
    servers: Servers, statement: str, *, is_noted: bool
) -> None:
    found = await found_by(servers, partial(on_asyncpg, [statement]), setup=tables)
    assert any("inside one statement" in note for note in found.notes) is is_noted


async def test_a_pipeline_is_tried_between_its_statements(servers: Servers) -> None:
    async def look_twice(links: Links) -> tuple[object, ...]:
        url = links.postgres_url
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            async with connection.pipeline():
                looks = [
                    await connection.execute("SELECT amount FROM accounts WHERE id = 1")
                    for _ in range(2)
                ]
                first, second = [await look.fetchone() for look in looks]
            assert first == second
        return ()

    found = await found_by(servers, look_twice, partial(on_asyncpg, [ADD + "1"]), setup=tables)
    assert "w1 raised AssertionError" in found.verdict.reason


@pytest.mark.parametrize("block", [False, True])
async def test_executemany_is_tried_between_its_rows(servers: Servers, *, block: bool) -> None:
    async def add(order: Sequence[int], links: Links) -> None:
        async with database(links) as connection:
            if block:
                await connection.execute("BEGIN")
            await connection.executemany(ADD + "$1", [(number,) for number in order])
            if block:
                await connection.execute("COMMIT")

    found = await found_by(servers, partial(add, [1, 2]), partial(add, [2, 1]), setup=tables)
    assert "DeadlockDetectedError" in found.verdict.reason
    found = await found_by(servers, partial(add, [1, 2]), partial(add, [1, 2]), setup=tables)
    assert found.verdict.kind is LEGAL


async def test_statements_about_one_row_stay_one_step(servers: Servers) -> None:
    statements = [ADD + "1", "INSERT INTO once VALUES ('w' || random())"]
    work = partial(on_asyncpg, statements)
    order = ReplayScheduler(Schedule(tuple(map(Choice, ("w1", "w2", "w1", "w2")))))
    found = await found_by(
        servers, work, work, setup=tables, invariant=at_most_one, scheduler=order
    )
    assert (found.schedules, found.verdict.kind) == (1, VerdictKind.UNKNOWN)
    assert "replay" in found.verdict.reason, "four choices were all that there were"


async def test_what_is_asked_only_in_some_orders_is_learnt_late(servers: Servers) -> None:
    """That a statement hangs on when others end may be seen first in the midst of a search."""

    async def orders_if_empty(links: Links) -> None:
        async with database(links) as connection:
            if await connection.fetchval("SELECT amount FROM accounts WHERE id = 1") == 1:
                await connection.execute(ORDER)

    async def adds_twice(links: Links) -> None:
        async with database(links) as connection:
            await connection.execute(ADD + "1")
            await connection.execute(ADD + "1")

    found = await found_by(
        servers, adds_twice, orders_if_empty, orders_if_empty, setup=tables, invariant=at_most_one
    )
    assert found.verdict.kind is ILLEGAL


async def at_most_one(links: Links) -> None:
    async with database(links) as connection:
        assert await connection.fetchval("SELECT count(*) FROM orders") < 2


async def test_a_refusal_at_the_end_reaches_its_worker(servers: Servers) -> None:
    async def late(links: Links) -> None:
        async with database(links) as connection:
            await connection.execute(
                "CREATE TABLE late (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)"
            )

    async def insert(links: Links) -> str:
        async with database(links) as connection:
            try:
                await connection.execute("INSERT INTO late SELECT 1 FROM generate_series(1, 2)")
            except asyncpg.UniqueViolationError:
                return "refused"
            return "inserted"

    seen: list[object] = []

    async def work(links: Links) -> None:
        seen.append(await insert(links))

    found = await explore(work, work, setup=late, invariant=nothing_is_left, servers=servers)
    assert found.verdict.kind is LEGAL
    assert set(seen) == {"refused"}


async def nothing_is_left(links: Links) -> None:
    async with database(links) as connection:
        assert not await connection.fetchval("SELECT count(*) FROM late")


GATE = """
    CREATE FUNCTION waits() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END $$;
    CREATE TRIGGER waits AFTER INSERT OR UPDATE ON {} FOR EACH STATEMENT EXECUTE FUNCTION waits();
    """
WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
    """


@pytest.mark.parametrize(
    ("table", "statement", "is_wrong"),
    [
        ("orders", ORDER, "SELECT count(*) = 2 FROM orders"),
        ("jobs", DO_A_JOB.format(""), "SELECT max(runs) = 2 FROM jobs"),
        ("accounts", "SELECT add_one()", "SELECT amount = 1 FROM accounts WHERE id = 1"),
    ],
)
async def test_the_truth_is_seen_without_the_kit(
    servers: Servers, table: str, statement: str, is_wrong: str
) -> None:
    """Both are held inside the server, behind a lock of the test's, before they end."""
    admin = await connect_postgres(servers.postgres.using("postgres"))
    await admin.execute("CREATE DATABASE truth")
    links = Servers(servers.postgres.using("truth"), servers.redis).links
    try:
        await tables(links)
        async with database(links) as holder:
            await holder.execute(GATE.format(table))
            await holder.execute("SELECT pg_advisory_lock(1)")
            works = [asyncio.ensure_future(on_asyncpg([statement], links)) for _ in range(2)]
            while await holder.fetchval(WAITING) < 2:  # noqa: ASYNC110 - the server tells of no wait
                await asyncio.sleep(0)
            await holder.execute("SELECT pg_advisory_unlock(1)")
            await asyncio.gather(*works)
            assert await holder.fetchval(is_wrong)
    finally:
        await admin.execute("DROP DATABASE truth WITH (FORCE)")
        await admin.close()
