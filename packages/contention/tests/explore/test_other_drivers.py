"""The same lost update, and the same cure, under the drivers that other tests here do not use."""

from collections.abc import Callable

import psycopg2
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from contention.explore import Bounds, NotGreenError, explore
from contention.model.verdicts import VerdictKind
from contention.wire.servers import Links, Servers
from contention.wire.workers import Body

from .programs import READ, accounts_hold, found_by, two_accounts

WRITE = "UPDATE accounts SET amount = :amount WHERE id = 1"


def url(links: Links, driver: str) -> str:
    return links.postgres_url.replace("postgresql:", f"postgresql+{driver}:")


def on_psycopg2(lock: str) -> Body:
    def add_one(links: Links) -> None:
        connection = psycopg2.connect(links.postgres_url)
        with connection, connection.cursor() as cursor:
            cursor.execute(READ + lock)
            (amount,) = cursor.fetchone()
            cursor.execute("UPDATE accounts SET amount = %s WHERE id = 1", [amount + 1])
        connection.close()

    return add_one


def on_sqlalchemy_and_psycopg2(lock: str) -> Body:
    def add_one(links: Links) -> None:
        engine = create_engine(url(links, "psycopg2"))
        with engine.begin() as connection:
            amount = connection.execute(text(READ + lock)).scalar_one()
            connection.execute(text(WRITE), {"amount": amount + 1})
        engine.dispose()

    return add_one


def on_sqlalchemy_and_psycopg_with_tasks(lock: str) -> Body:
    async def add_one(links: Links) -> None:
        engine = create_async_engine(url(links, "psycopg"))
        async with AsyncSession(engine) as session, session.begin():
            amount = (await session.execute(text(READ + lock))).scalar_one()
            await session.execute(text(WRITE), {"amount": amount + 1})
        await engine.dispose()

    return add_one


@pytest.mark.parametrize(
    "made_by", [on_psycopg2, on_sqlalchemy_and_psycopg2, on_sqlalchemy_and_psycopg_with_tasks]
)
async def test_a_lost_update_is_found_and_its_cure_is_legal(
    servers: Servers, made_by: Callable[[str], Body]
) -> None:
    with pytest.raises(NotGreenError, match="the accounts hold 1, not 2"):
        await explore(
            *[made_by("")] * 2,
            setup=two_accounts,
            invariant=accounts_hold(2),
            servers=servers,
            bounds=Bounds(shrinking=0),
        )
    cured = await explore(
        *[made_by(" FOR UPDATE")] * 2,
        setup=two_accounts,
        invariant=accounts_hold(2),
        servers=servers,
    )
    assert cured.verdict.kind is VerdictKind.LEGAL


@pytest.mark.parametrize(
    "made_by", [on_sqlalchemy_and_psycopg2, on_sqlalchemy_and_psycopg_with_tasks]
)
async def test_what_sqlalchemy_asks_about_the_server_is_no_step(
    servers: Servers, made_by: Callable[[str], Body]
) -> None:
    """Neither are the transactions in which it asks."""
    found = await found_by(servers, made_by(""), made_by(""))
    assert found.counterexample is not None
    texts = [step.text for step in found.counterexample.steps]
    assert texts[0].startswith("SELECT amount")
    assert not [text for text in texts if text.upper().startswith("ROLLBACK")]
