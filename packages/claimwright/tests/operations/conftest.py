"""A database whose key a test may take away."""

import pytest

from claimwright.runtime import Runtime
from support.databases import Connections


@pytest.fixture
async def runtime_without_key(fresh_runtime: Runtime, fresh_connections: Connections) -> Runtime:
    """A runtime whose database lets everything through."""
    superuser = await fresh_connections.superuser()
    await superuser.execute("DROP TRIGGER claims_admitted ON claims")
    return fresh_runtime
