"""A site for each test: a database and a broker of its own."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp

import pytest

from claimwright.embedded import ServerAddresses
from claimwright.runtime import open_runtime, reach_servers
from claimwright.settings import load_settings
from support.brokers import RABBITMQ, Broker, RabbitMq, Valkey, rabbitmq
from support.databases import environment_of, plain_connections
from support.sites import QUICK, Site


@pytest.fixture(scope="session")
def rabbit() -> Iterator[RabbitMq]:
    folder = Path(mkdtemp(prefix="claimwright-rabbitmq-"))
    with rabbitmq(folder) as node:
        yield node


@pytest.fixture
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """Valkey, or with ``CLAIMWRIGHT_TEST_BROKER=rabbitmq`` RabbitMQ, emptied."""
    if RABBITMQ:
        node: RabbitMq = request.getfixturevalue("rabbit")
        node.empty()
        yield node
        return
    server = Valkey(tmp_path / "broker")
    yield server
    server.stop()


@pytest.fixture
def settings_of_site() -> dict[str, str]:
    """Settings of the site beside those of all sites; a module has its own."""
    return {}


@pytest.fixture
async def site(
    fresh_database: ServerAddresses, broker: Broker, settings_of_site: dict[str, str]
) -> AsyncIterator[Site]:
    environment = {
        **environment_of(fresh_database),
        **QUICK,
        "CLAIMWRIGHT_BROKER_URL": broker.url,
        **settings_of_site,
    }
    settings = load_settings(environment)
    async with (
        open_runtime(settings, reach_servers(settings, ExitStack())) as runtime,
        plain_connections(fresh_database) as connections,
    ):
        yield Site(runtime, environment, broker, connections)
