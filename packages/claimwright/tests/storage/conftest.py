"""Databases with the small world of `world` in them."""

from collections.abc import AsyncIterator
from itertools import count

import pytest

from claimwright.embedded import ServerAddresses, create_database, drop_database
from support.databases import Connection, Connections, plain_connections

from .world import store_world

_WORLD = "world_template"
_numbers = count(1)


@pytest.fixture(scope="session")
async def world_template(servers: ServerAddresses, schema_template: str) -> str:
    database = create_database(servers, _WORLD, template=schema_template)
    async with plain_connections(database) as connections:
        await store_world(await connections.application())
    return _WORLD


@pytest.fixture(scope="session")
async def world_connections(
    servers: ServerAddresses, world_template: str
) -> AsyncIterator[Connections]:
    """Connections to a world in which no test commits anything."""
    database = create_database(servers, "world", template=world_template)
    async with plain_connections(database) as connections:
        yield connections


@pytest.fixture(scope="session")
async def writers(world_connections: Connections) -> dict[str, Connection]:
    """One connection to that world for each kind of writer that the key must withstand."""
    unguarded = await world_connections.superuser()
    await unguarded.execute("SET session_replication_role = replica")
    return {
        "the application": await world_connections.application(),
        "the owner": await world_connections.owner(),
        "a superuser": await world_connections.superuser(),
        "a superuser with triggers switched off": unguarded,
    }


@pytest.fixture
async def fresh_world(servers: ServerAddresses, world_template: str) -> AsyncIterator[Connections]:
    """Connections to a world of the test's own."""
    name = f"world_{next(_numbers)}"
    async with plain_connections(
        create_database(servers, name, template=world_template)
    ) as connections:
        yield connections
    drop_database(servers, name)
