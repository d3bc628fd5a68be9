"""A database with a small world in it, in which no test ever commits anything."""

from collections.abc import AsyncIterator

import pytest

from claimwright.embedded import ServerAddresses, create_database
from support.databases import Connection, Connections, plain_connections

from .world import store_world


@pytest.fixture(scope="session")
async def world_connections(
    servers: ServerAddresses, schema_template: str
) -> AsyncIterator[Connections]:
    database = create_database(servers, "world", template=schema_template)
    async with plain_connections(database) as opened:
        await store_world(await opened.application())
        yield opened


@pytest.fixture(scope="session")
async def writers(world_connections: Connections) -> dict[str, Connection]:
    """One connection to the world for each kind of writer that the key must withstand."""
    unguarded = await world_connections.superuser()
    await unguarded.execute("SET session_replication_role = replica")
    return {
        "the application": await world_connections.application(),
        "the owner": await world_connections.owner(),
        "a superuser": await world_connections.superuser(),
        "a superuser with triggers switched off": unguarded,
    }
