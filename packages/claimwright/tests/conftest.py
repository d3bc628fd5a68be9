"""Real servers for every test that needs them: started once a session, once a worker of xdist.

========================  ========  ==========================================================
fixture                   scope     what it is
========================  ========  ==========================================================
``servers``               session   PostgreSQL and Valkey of this test session alone
``session_database``      session   a database with the newest schema that tests share
``fresh_database``        function  a database with the newest schema and nothing in it
``default_environment``   function  the environment of ``session_database``, for the engine
``runtime``               function  the default runtime, as `get_session` uses it
``fresh_runtime``         function  a runtime of its own on ``fresh_database``
``connections``           function  plain connections to ``session_database``, by role
``fresh_connections``     function  plain connections to ``fresh_database``, by role
========================  ========  ==========================================================

``session_database``, ``fresh_database`` and ``servers`` are `ServerAddresses`. The factories of
`claimwright.testing` give every policy a region of its own, so that tests can share a database;
one that counts all rows, or takes a guard away, takes a fresh one (about a tenth of a second).
``runtime`` and ``default_environment`` are all that a test of `process_policy_claims` without a
session needs. Order is forced with `support.ordering`.

A test that asks for none of these starts no server. What commands print is the same whatever the
environment says of terminals.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from itertools import count

import pytest

from claimwright.embedded import (
    ServerAddresses,
    create_database,
    drop_database,
    temporary_servers,
)
from claimwright.runtime import (
    Runtime,
    close_current_runtime,
    current_runtime,
    open_runtime,
    reach_servers,
)
from claimwright.settings import load_settings
from claimwright.storage.schema import upgrade_now
from support.databases import Connections, environment_of, plain_connections

_TEMPLATE = "schema_template"
# Rich and Typer read these, some of them on import.
_OF_TERMINALS = (
    "COLUMNS",
    "FORCE_COLOR",
    "GITHUB_ACTIONS",
    "LINES",
    "NO_COLOR",
    "PY_COLORS",
    "TERMINAL_WIDTH",
    "TTY_COMPATIBLE",
    "TTY_INTERACTIVE",
    "TYPER_USE_RICH",
)
# Here, because the conftest of a folder below may import them, and is itself imported next.
for _name in _OF_TERMINALS:
    os.environ.pop(_name, None)
_numbers = count(1)


@pytest.fixture(scope="session")
def servers() -> Iterator[ServerAddresses]:
    # Nothing here has to survive a crash of the machine, and a deadlock need not be waited for.
    settings = {"fsync": "off", "deadlock_timeout": "50ms"}
    with temporary_servers(postgres_settings=settings) as addresses:
        yield addresses


@pytest.fixture(scope="session")
def schema_template(servers: ServerAddresses) -> str:
    """The name of a database with the newest schema, which nobody connects to."""
    upgrade_now(create_database(servers, _TEMPLATE).owner_database_url)
    return _TEMPLATE


@pytest.fixture(scope="session")
def session_database(servers: ServerAddresses, schema_template: str) -> ServerAddresses:
    return create_database(servers, "session_database", template=schema_template)


@pytest.fixture
def fresh_database(servers: ServerAddresses, schema_template: str) -> Iterator[ServerAddresses]:
    name = f"fresh_{next(_numbers)}"
    yield create_database(servers, name, template=schema_template)
    drop_database(servers, name)


@pytest.fixture
def default_environment(
    session_database: ServerAddresses, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Let the environment lead to the session's database, and to nothing of the developer's."""
    for name in [name for name in os.environ if name.startswith("CLAIMWRIGHT_")]:
        if not name.startswith("CLAIMWRIGHT_TEST_"):
            monkeypatch.delenv(name)
    environment = environment_of(session_database)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


@pytest.fixture(scope="session")
async def _default_runtime_closed() -> AsyncIterator[None]:
    yield
    await close_current_runtime()


@pytest.fixture
async def runtime(
    default_environment: dict[str, str],  # noqa: ARG001 - the runtime is made from it
    _default_runtime_closed: None,
) -> Runtime:
    return current_runtime()


@pytest.fixture
async def fresh_runtime(fresh_database: ServerAddresses) -> AsyncIterator[Runtime]:
    settings = load_settings(environment_of(fresh_database))
    async with open_runtime(settings, reach_servers(settings, ExitStack())) as one:
        yield one


@pytest.fixture
async def connections(session_database: ServerAddresses) -> AsyncIterator[Connections]:
    async with plain_connections(session_database) as opened:
        yield opened


@pytest.fixture
async def fresh_connections(fresh_database: ServerAddresses) -> AsyncIterator[Connections]:
    async with plain_connections(fresh_database) as opened:
        yield opened
