"""Small random programs on a few rows, and every end that a search finds for them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import asyncpg

from contention.explore import explore
from contention.schedulers.exhaustive import ExhaustiveScheduler
from contention.wire.servers import Links, Servers

from .programs import Program, database

ROWS = """
    CREATE TABLE accounts (id int PRIMARY KEY, amount int, name text UNIQUE);
    INSERT INTO accounts VALUES (1, 10, 'one'), (2, 20, 'two');
    CREATE TABLE notes (body text);
    """
# Ordered so that nobody waits for what comes earlier: deadlocks are another test's subject.
TABLE_STATEMENTS = (
    "SELECT sum(amount) FROM accounts",
    "SELECT count(*) FROM notes",
    "INSERT INTO notes SELECT 'seen ' || sum(amount) FROM accounts",
    "UPDATE accounts SET amount = amount + 1 WHERE amount > 10",
    "LOCK TABLE accounts IN EXCLUSIVE MODE",
    "SELECT pg_advisory_xact_lock(7)",
)
ROW_STATEMENTS = (
    "SELECT amount FROM accounts WHERE id = {row}",
    "SELECT amount FROM accounts WHERE id = {row} FOR UPDATE",
    "SELECT amount FROM accounts WHERE name = '{name}' FOR UPDATE",
    "SELECT amount FROM accounts WHERE id = {row} FOR UPDATE NOWAIT",
    "SELECT amount FROM accounts WHERE id = {row} FOR UPDATE SKIP LOCKED",
    "UPDATE accounts SET amount = amount * 2 + 1 WHERE id = {row}",
    "UPDATE accounts SET amount = amount - 10 WHERE id = {row} AND amount > 10",
    "UPDATE accounts SET amount = amount + 7 WHERE id = {row} AND amount > 10 RETURNING amount",
    "DELETE FROM accounts WHERE id = {row}",
    "UPDATE accounts SET id = id + 10 WHERE id = {row}",
    "INSERT INTO accounts VALUES ({row}, 5) ON CONFLICT DO NOTHING",
    "INSERT INTO accounts VALUES ({row} + 10, 5)",
)


@dataclass(frozen=True, slots=True)
class Script:
    """What one worker asks, in one transaction or in one each.

    Attributes:
        limit: how long it waits, as a setting; empty for ever.
    """

    statements: tuple[str, ...]
    is_transaction: bool
    ends_with: str = "COMMIT"
    limit: str = ""

    def __str__(self) -> str:
        ends = ("BEGIN", self.ends_with) if self.is_transaction else ("", "")
        return "; ".join(filter(None, (self.limit, ends[0], *self.statements, ends[1])))


def random_script(random: Random, count: int) -> Script:
    statements = []
    for place in range(count):
        if random.random() < 0.3 and place == 0:
            statements.append(random.choice(TABLE_STATEMENTS))
        else:
            statements.append(random.choice(ROW_STATEMENTS))
    named = with_rows(random, statements)
    ends_with = "ROLLBACK" if random.random() < 0.15 else "COMMIT"
    return Script(named, random.random() < 0.75, ends_with)


def with_rows(random: Random, statements: Sequence[str]) -> tuple[str, ...]:
    """Statements about rows, in the order of the rows."""
    rows = sorted(random.choice((1, 1, 2)) for _ in statements)
    return tuple(
        text.format(row=row, name=("one", "two")[row - 1])
        for text, row in zip(statements, rows, strict=True)
    )


@dataclass
class Ends:
    """Every end that was found: what each worker saw, and what the tables held."""

    found: set[tuple[object, ...]] = field(default_factory=set)
    seen: dict[int, list[object]] = field(default_factory=dict)
    schedules: int = 0

    def worker(self, number: int, script: Script) -> Program:
        async def work(links: Links) -> None:
            seen = self.seen[number] = []
            async with database(links) as connection:
                try:
                    if script.limit:
                        await connection.execute(f"SET {script.limit}")
                    if script.is_transaction:
                        await connection.execute("BEGIN")
                    for statement in script.statements:
                        result = await _result(connection, statement)
                        seen.append(result)
                    if script.is_transaction:
                        await connection.execute(script.ends_with)
                except asyncpg.PostgresError as error:
                    seen.append(type(error).__name__)
                    if script.is_transaction:
                        await connection.execute("ROLLBACK")

        return work

    async def note(self, links: Links) -> None:
        async with database(links) as connection:
            accounts = await connection.fetch("SELECT * FROM accounts ORDER BY id, amount")
            notes = await connection.fetch("SELECT * FROM notes ORDER BY body")
        saw = tuple((number, tuple(self.seen[number])) for number in sorted(self.seen))
        self.found.add((saw, tuple(map(tuple, accounts)), tuple(map(tuple, notes))))


async def _result(connection: "asyncpg.Connection[asyncpg.Record]", statement: str) -> object:
    if statement.startswith("SELECT") or "RETURNING" in statement:
        return tuple(map(tuple, await connection.fetch(statement)))
    return await connection.execute(statement)


async def ends_of(servers: Servers, scripts: Sequence[Script], *, is_reduced: bool) -> Ends:
    async def rows(links: Links) -> None:
        async with database(links) as connection:
            await connection.execute(ROWS)

    ends = Ends()
    exploration = await explore(
        *[ends.worker(number, script) for number, script in enumerate(scripts)],
        setup=rows,
        invariant=ends.note,
        servers=servers,
        scheduler=ExhaustiveScheduler(is_reduced=is_reduced),
    )
    ends.schedules = exploration.schedules
    return ends
