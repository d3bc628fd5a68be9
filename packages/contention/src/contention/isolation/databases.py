"""The database in which specs run, set up as PostgreSQL's own regression driver does."""

import contextlib
from collections.abc import Iterator, Sequence

from psycopg import OperationalError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Escaping, ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from contention.isolation.errors import ServerError
from contention.isolation.lanes import execute, open_connection

DATABASE = "isolation_regression"
"""PostgreSQL's specs say this name in their SQL."""

DATABASE_SETTINGS = {
    "lc_messages": "C",
    "lc_monetary": "C",
    "lc_numeric": "C",
    "lc_time": "C",
    "bytea_output": "hex",
    "timezone_abbreviations": "Default",
}
"""What the regression driver sets for its database."""


@contextlib.contextmanager
def own_database(url: str, extensions: Sequence[str] = ()) -> Iterator[str]:
    """Make the database of a run on the server at ``url``, yield its address, and remove it.

    The database has the C locale, so that the order of rows does not depend on the server's.

    Args:
        url: any database of the server.
        extensions: what to create in the new database.

    Raises:
        ServerError: the server cannot be reached or lacks an extension, there is such a database,
            or the role may not make one with these settings (that takes a superuser).
    """
    with _administration(url) as connection:
        _checked(
            connection,
            f"CREATE DATABASE {DATABASE} TEMPLATE template0 ENCODING 'UTF8' "
            "LOCALE_PROVIDER libc LOCALE 'C'",
        )
        try:
            for name, value in DATABASE_SETTINGS.items():
                _checked(connection, f"ALTER DATABASE {DATABASE} SET {name} TO '{value}'")
            _create_extensions(_address(url), extensions)
            yield _address(url)
        finally:
            _roll_back_prepared(connection, _address(url))
            _checked(connection, f"DROP DATABASE {DATABASE} WITH (FORCE)")


def _address(url: str) -> str:
    return make_conninfo(url, dbname=DATABASE)


@contextlib.contextmanager
def _administration(url: str) -> Iterator[PGconn]:
    try:
        named = conninfo_to_dict(url).get("dbname")
        conninfo = make_conninfo(url, dbname=named or "postgres")
    except Exception as error:
        raise ServerError(f"not a PostgreSQL address: {error}") from error
    connection = open_connection(conninfo)
    connection.notice_handler = None
    try:
        yield connection
    finally:
        connection.finish()


def _create_extensions(address: str, names: Sequence[str]) -> None:
    connection = open_connection(address)
    try:
        for name in names:
            quoted = Escaping(connection).escape_identifier(name.encode()).decode()
            _checked(connection, f"CREATE EXTENSION IF NOT EXISTS {quoted}")
    finally:
        connection.finish()


def _roll_back_prepared(connection: PGconn, address: str) -> None:
    """Undo prepared transactions that a spec left behind; they would keep the database."""
    found = _checked(
        connection,
        f"SELECT gid FROM pg_prepared_xacts WHERE database = '{DATABASE}'",  # noqa: S608 - constant
    )
    names = [found.get_value(row, 0) or b"" for row in range(found.ntuples)]
    if not names:
        return
    inside = open_connection(address)
    try:
        for name in names:
            execute(inside, b"ROLLBACK PREPARED " + Escaping(inside).escape_literal(name))
    finally:
        inside.finish()


def _checked(connection: PGconn, sql: str) -> PGresult:
    try:
        result = execute(connection, sql.encode())
    except OperationalError as error:
        raise ServerError(f"the server left: {error}") from error
    if result.status not in {ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK}:
        raise ServerError(
            f"cannot prepare the database {DATABASE}: {result.get_error_message().strip()}. "
            "With --use-existing a run uses the database that the address names, as it is"
        )
    return result
