"""A refusal: a statement, what the database says to it, and the guards that say so."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import pytest

from support.databases import Connection

from .guards import Guard

_NOT_ALLOWED = "42501"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What must not be written.

    Attributes:
        name: what the statement tries.
        statement: SQL, tried on the world of `world`.
        says: a regular expression of what the database says to those who may write at all.
        guards: who refuses it. Each of them is enough; without all of them it goes through.
        before: statements that are allowed, and make the world in which this one is not.
        application_may_write: false where the application lacks even the privilege.
    """

    name: str
    statement: str
    says: str
    guards: Sequence[Guard]
    before: str = "SELECT"
    application_may_write: bool = True


def each(refusals: Sequence[Refusal]) -> pytest.MarkDecorator:
    """Run a test once for each refusal, under its name."""
    return pytest.mark.parametrize("refusal", refusals, ids=lambda refusal: refusal.name)


async def check_refused(writers: dict[str, Connection], refusal: Refusal) -> None:
    """Whoever tries the statement, it is refused."""
    for writer, connection in writers.items():
        async with rolled_back(connection):
            if writer != "the application" or refusal.application_may_write:
                await connection.execute(refusal.before)
                says = refusal.says
            else:
                says = _NOT_ALLOWED
            assert re.search(says, await outcome(connection, refusal.statement)), writer


async def check_guards(superuser: Connection, refusal: Refusal) -> None:
    """Without its guards the statement goes through, and each of them alone refuses it."""
    async with rolled_back(superuser):
        for guard in refusal.guards:
            await guard.remove(superuser)
        await superuser.execute(refusal.before)
        assert await outcome(superuser, refusal.statement) == "stored"
    if len(refusal.guards) == 1:
        return
    for left in refusal.guards:
        async with rolled_back(superuser):
            for guard in refusal.guards:
                if guard is not left:
                    await guard.remove(superuser)
            await superuser.execute(refusal.before)
            assert await outcome(superuser, refusal.statement) != "stored", left


async def outcome(connection: Connection, statement: str) -> str:
    """``stored``, or the SQLSTATE, the guard's name and the words of the refusal."""
    try:
        await connection.execute(statement)
    except asyncpg.PostgresError as error:
        return f"{error.sqlstate} {error.as_dict().get('constraint_name', '')} {error}"
    return "stored"


@asynccontextmanager
async def rolled_back(connection: Connection) -> AsyncIterator[None]:
    """A transaction that leaves nothing behind."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()
