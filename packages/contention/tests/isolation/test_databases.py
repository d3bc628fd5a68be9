"""The database of a run is made, set up and removed, and a given one is left alone."""

from collections.abc import Iterator

import pytest

from contention.isolation.databases import DATABASE, own_database
from contention.isolation.errors import ServerError
from contention.isolation.lanes import execute, open_connection
from contention.isolation.servers import temporary_server


@pytest.fixture(scope="module")
def empty_server() -> Iterator[str]:
    """Return a server on which nobody else runs specs."""
    with temporary_server() as url:
        yield url


def ask(url: str, query: str) -> str:
    connection = open_connection(url)
    try:
        result = execute(connection, query.encode())
        return (result.get_value(0, 0) or result.error_message).decode()
    finally:
        connection.finish()


def count_databases(url: str) -> str:
    return ask(url, f"SELECT count(*) FROM pg_database WHERE datname = '{DATABASE}'")


def test_it_has_the_c_locale_and_the_drivers_settings_and_is_removed(empty_server: str) -> None:
    with own_database(empty_server) as address:
        assert ask(address, "SELECT current_database()") == DATABASE
        assert ask(address, "SHOW lc_messages") == "C"
        locale = "SELECT concat(datcollate, datctype, datlocprovider) FROM pg_database"
        assert ask(address, f"{locale} WHERE datname = current_database()") == "CCc"
    assert count_databases(empty_server) == "0"


def test_one_that_is_there_already_is_neither_used_nor_removed(empty_server: str) -> None:
    with own_database(empty_server) as address:
        ask(address, "CREATE TABLE precious ()")
        with pytest.raises(ServerError, match="already exists"), own_database(empty_server):
            pytest.fail("it was used")
        assert ask(address, "SELECT count(*) FROM precious") == "0"


def test_it_goes_with_sessions_and_prepared_transactions_still_in_it(empty_server: str) -> None:
    with own_database(empty_server) as address:
        connection = open_connection(address)
        execute(connection, b"CREATE TABLE t (); BEGIN; DROP TABLE t; PREPARE TRANSACTION 'it''s'")
    assert count_databases(empty_server) == "0"
    connection.finish()


def test_a_role_that_may_not_make_it_is_told_what_else_to_do(empty_server: str) -> None:
    ask(empty_server, "CREATE ROLE guest LOGIN")
    url = empty_server.replace("postgres:@", "guest:@")
    with (
        pytest.raises(ServerError, match=r"permission denied.*--use-existing"),
        own_database(url),
    ):
        pytest.fail("it was made")
