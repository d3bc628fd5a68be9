"""The default runtime: one for each event loop, closed with it."""

import asyncio

import pytest
from sqlalchemy import text

from claimwright.runtime import close_current_runtime, current_runtime, get_session
from support.databases import Connections

SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'claimwright'"


async def ask_something() -> None:
    async with get_session() as session:
        await session.execute(text("SELECT 1"))


@pytest.mark.usefixtures("default_environment")
async def test_a_loop_has_one_runtime_until_it_is_closed() -> None:
    first = current_runtime()
    assert current_runtime() is first
    await close_current_runtime()
    await close_current_runtime()
    assert current_runtime() is not first


@pytest.mark.usefixtures("default_environment")
async def test_a_loop_that_ends_leaves_no_connection_open(connections: Connections) -> None:
    await close_current_runtime()
    watcher = await connections.superuser()
    before = await watcher.fetchval(SESSIONS)
    for _ in range(3):
        await asyncio.to_thread(lambda: asyncio.run(ask_something()))
    assert await watcher.fetchval(SESSIONS) == before
