"""Servers of the kit's own for the corpus."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import asyncpg
import pytest

from contention.wire.embedded import embedded_servers
from contention.wire.servers import Servers


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with embedded_servers() as servers:
        yield servers


@pytest.fixture(scope="session")
async def plain_servers(servers: Servers) -> AsyncIterator[Servers]:
    """The same servers for a script without the kit, with a database of its own."""
    admin = await asyncpg.connect(servers.postgres.url)
    await admin.execute("CREATE DATABASE plain")
    try:
        yield replace(servers, postgres=servers.postgres.using("plain"))
    finally:
        await admin.execute("DROP DATABASE plain WITH (FORCE)")
        await admin.close()
