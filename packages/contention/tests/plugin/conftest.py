"""Pytest runs pytest here, on the servers of this session."""

from collections.abc import Callable, Iterator

import pytest

from contention.wire.embedded import embedded_servers
from contention.wire.servers import Servers

SHOP = """
import asyncpg
from contention import Links, explore

async def one_item_left(links: Links) -> None:
    connection = await asyncpg.connect(links.postgres_url)
    await connection.execute("CREATE TABLE stock (item text PRIMARY KEY, amount int NOT NULL)")
    await connection.execute("INSERT INTO stock VALUES ('tea', 1)")
    await connection.close()

async def buy(links: Links) -> None:
    connection = await asyncpg.connect(links.postgres_url)
    async with connection.transaction():
        left = await connection.fetchval("SELECT amount FROM stock WHERE item = 'tea' {lock}")
        if left > 0:
            await connection.execute("UPDATE stock SET amount = amount - 1 WHERE item = 'tea'")
    await connection.close()

async def never_negative(links: Links) -> None:
    connection = await asyncpg.connect(links.postgres_url)
    left = await connection.fetchval("SELECT amount FROM stock WHERE item = 'tea'")
    await connection.close()
    assert left >= 0, f"{left} left"

async def test_no_oversell(postgres, redis):
    await explore(buy, buy, setup=one_item_left, invariant=never_negative)
"""


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with embedded_servers() as servers:
        yield servers


@pytest.fixture
def write_shop(pytester: pytest.Pytester) -> Callable[..., None]:
    """Write the shop's test file, with a lock in its first statement or without."""
    options = "asyncio_mode = auto", "asyncio_default_fixture_loop_scope = function"
    pytester.makeini("\n".join(["[pytest]", *options, "filterwarnings = error"]))

    def write(lock: str = "") -> None:
        pytester.makepyfile(test_shop=SHOP.replace("{lock}", lock))

    return write
