"""The embedded servers' addresses: who gets in, as what, and what each may do."""

import stat
from collections.abc import Iterator

import pytest
from sqlalchemy.exc import DBAPIError

from claimwright.domain.errors import EmbeddedServerError, InvalidInputError
from claimwright.embedded import (
    ServerAddresses,
    create_database,
    drop_database,
    temporary_servers,
)
from support.server_processes import ping, server_processes, sql


@pytest.fixture(scope="module")
def servers() -> Iterator[ServerAddresses]:
    with temporary_servers(postgres_settings={"fsync": "off", "deadlock_timeout": "100ms"}) as one:
        yield one


async def test_both_servers_answer_at_their_addresses(servers: ServerAddresses) -> None:
    query = "SELECT current_user, current_database()"
    assert await sql(servers.database_url, query) == [("claimwright", "claimwright")]
    assert await sql(servers.owner_database_url, query) == [("claimwright_owner", "claimwright")]
    assert await sql(servers.superuser_database_url, query) == [("postgres", "claimwright")]
    assert await ping(servers.redis_url)


async def test_the_asked_settings_of_postgresql_hold(servers: ServerAddresses) -> None:
    rows = await sql(
        servers.database_url,
        "SELECT current_setting('fsync'), current_setting('deadlock_timeout')",
    )
    assert rows == [("off", "100ms")]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "SET ROLE claimwright_owner",
        "ALTER ROLE claimwright SUPERUSER",
    ],
)
async def test_the_application_role_may_not(servers: ServerAddresses, statement: str) -> None:
    with pytest.raises(DBAPIError, match="permission denied"):
        await sql(servers.database_url, statement)


async def test_the_application_role_owns_nothing(servers: ServerAddresses) -> None:
    owned = "SELECT * FROM pg_shdepend WHERE deptype = 'o' AND refobjid = 'claimwright'::regrole"
    assert await sql(servers.superuser_database_url, owned) == []


async def test_the_application_role_has_no_attribute_but_login(servers: ServerAddresses) -> None:
    attributes = (
        "SELECT rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls "
        "FROM pg_roles WHERE rolname = 'claimwright'"
    )
    assert await sql(servers.database_url, attributes) == [(True, *[False] * 5)]


async def test_what_the_owner_grants_to_the_group_the_application_may_do(
    servers: ServerAddresses,
) -> None:
    await sql(
        servers.owner_database_url,
        "CREATE TABLE granted (id int)",
        "GRANT SELECT, INSERT ON granted TO claimwright_app",
    )
    await sql(servers.database_url, "INSERT INTO granted VALUES (7)")
    assert await sql(servers.database_url, "SELECT id FROM granted") == [(7,)]
    with pytest.raises(DBAPIError, match="permission denied"):
        await sql(servers.database_url, "DELETE FROM granted")


async def test_neither_server_listens_on_tcp(servers: ServerAddresses) -> None:
    for process in server_processes(servers.folder):
        assert process.net_connections(kind="inet") == []


@pytest.mark.parametrize("name", ["postgres", "valkey", "run"])
def test_only_the_servers_account_may_enter(servers: ServerAddresses, name: str) -> None:
    assert stat.S_IMODE((servers.folder / name).stat().st_mode) == 0o700


async def test_a_database_made_from_a_template_has_its_rows_and_the_same_privileges(
    servers: ServerAddresses,
) -> None:
    create_database(servers, "model")
    model = servers.for_database("model")
    await sql(
        model.owner_database_url,
        "CREATE TABLE noted (id int)",
        "INSERT INTO noted VALUES (1)",
        "GRANT SELECT ON noted TO claimwright_app",
    )
    copy = create_database(servers, "copied", template="model")
    assert await sql(copy.database_url, "SELECT id, current_database() FROM noted") == [
        (1, "copied")
    ]
    for kind in ("TABLE", "TEMPORARY TABLE"):
        with pytest.raises(DBAPIError, match="permission denied"):
            await sql(copy.database_url, f"CREATE {kind} mine (id int)")


async def test_a_database_name_that_is_taken_is_refused(servers: ServerAddresses) -> None:
    with pytest.raises(EmbeddedServerError, match="already exists"):
        create_database(servers, "claimwright")


def test_a_database_name_that_needs_quotes_is_refused(servers: ServerAddresses) -> None:
    with pytest.raises(InvalidInputError, match="lower-case word"):
        create_database(servers, 'x"; DROP DATABASE claimwright; --')


async def test_a_dropped_database_is_gone_and_dropping_again_is_harmless(
    servers: ServerAddresses,
) -> None:
    spare = create_database(servers, "spare")
    drop_database(servers, "spare")
    drop_database(servers, "spare")
    with pytest.raises(DBAPIError, match="does not exist"):
        await sql(spare.database_url, "SELECT 1")
