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
    with temporary_server({"max_prepared_transactions": "3", "work_mem": "77kB"}) as url:
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
    url = empty_server.replace("postgres@", "guest@")
    with (
        pytest.raises(ServerError, match=r"permission denied.*--use-existing"),
        own_database(url),
    ):
        pytest.fail("it was made")


def test_a_server_has_the_kits_settings_and_the_given_ones_over_them(empty_server: str) -> None:
    assert ask(empty_server, "SHOW work_mem") == "77kB"
    assert ask(empty_server, "SHOW max_prepared_transactions") == "3"
    assert ask(empty_server, "SHOW wal_level") == "logical"


def test_a_setting_that_is_none_is_named() -> None:
    with (
        pytest.raises(ServerError, match="cannot have no_such = 1"),
        temporary_server({"no_such": "1"}),
    ):
        pytest.fail("it started")


def test_extensions_are_in_the_new_database_or_named_as_missing(empty_server: str) -> None:
    with own_database(empty_server, ["pgrowlocks"]) as address:
        found = ask(address, "SELECT extname FROM pg_extension WHERE extname = 'pgrowlocks'")
        assert found == "pgrowlocks"
    with (
        pytest.raises(ServerError, match='"no such" is not available'),
        own_database(empty_server, ["no such"]),
    ):
        pytest.fail("it was made")
    assert count_databases(empty_server) == "0"
