"""What the scenarios take for granted: the default runtime on the session's servers."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncSession

from claimwright import get_session
from claimwright.runtime import Runtime
from claimwright.testing import get_test_redis


@pytest.fixture(autouse=True)
def _default_runtime(runtime: Runtime) -> Runtime:
    return runtime


@pytest.fixture
async def db_session(runtime: Runtime) -> AsyncIterator[AsyncSession]:
    del runtime
    async with get_session() as session:
        yield session


@pytest.fixture
async def redis_client(runtime: Runtime) -> Redis:
    del runtime
    return await get_test_redis()
