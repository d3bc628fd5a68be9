"""A transaction on the driver's own connection, straight out of an engine's pool."""

import asyncpg
import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from claimwright.runtime import Runtime
from claimwright.storage.database import driver_transaction, make_engine
from claimwright.storage.transients import sqlstate_of


async def test_it_is_read_committed_whatever_the_server_begins_with(runtime: Runtime) -> None:
    engine = create_async_engine(
        runtime.addresses.database_url,
        connect_args={"server_settings": {"default_transaction_isolation": "serializable"}},
    )
    async with driver_transaction(engine) as driver:
        assert await driver.fetchval("SHOW transaction_isolation") == "read committed"
    await engine.dispose()


async def test_a_connection_that_broke_is_not_lent_again(runtime: Runtime) -> None:
    engine = make_engine(runtime.addresses.database_url, pool_size=1)

    async def break_it() -> None:
        async with driver_transaction(engine) as driver:
            async with driver_transaction(runtime.engine) as other:
                pid = driver.get_server_pid()
                assert await other.fetchval("SELECT pg_terminate_backend($1, 10000)", pid)
            await driver.fetchval("SELECT 1")

    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await break_it()
    async with driver_transaction(engine) as driver:
        assert await driver.fetchval("SELECT 1") == 1
    await engine.dispose()


async def test_every_connection_is_given_back(runtime: Runtime) -> None:
    engine = make_engine(runtime.addresses.database_url, pool_size=1)
    pids = set()
    for _ in range(3):
        async with driver_transaction(engine) as driver:
            pids.add(driver.get_server_pid())
    assert len(pids) == 1
    await engine.dispose()


async def test_a_database_that_refuses_is_told_as_sqlalchemy_tells_it(runtime: Runtime) -> None:
    nowhere = make_url(runtime.addresses.database_url).set(database="nowhere")
    engine = make_engine(nowhere.render_as_string(hide_password=False))
    with pytest.raises(DBAPIError) as refused:
        async with driver_transaction(engine):
            pytest.fail("there is no such database")
    assert sqlstate_of(refused.value) == "3D000"
    await engine.dispose()
