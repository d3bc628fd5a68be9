"""Addresses of servers: what is understood, and what is refused by name and never by value."""

from pathlib import Path
from typing import Any

import pytest
from redis.asyncio.connection import Connection, parse_url
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from claimwright.embedded import ServerAddresses
from claimwright.server_addresses import (
    POSTGRESQL_OPTIONS,
    REDIS_OPTIONS,
    checked_redis_url,
    engine_arguments,
    sqlalchemy_url,
)
from claimwright.settings import load_settings
from claimwright.storage.database import make_engine

SECRET = "correcthorse"  # noqa: S105 - what must never show
REFERENCE = Path(__file__).parents[3] / "docs" / "how-to" / "use-your-own-servers.md"


def postgresql_refusal(options: str, host: str = f"u:{SECRET}@h") -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        sqlalchemy_url(f"postgresql://{host}/d?{options}")
    return str(caught.value)


def redis_refusal(address: str) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        checked_redis_url(address)
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "query"),
    [
        ("sslmode=require", {"ssl": "require"}),
        ("ssl=verify-full", {"ssl": "verify-full"}),
        ("dbname=e&user=a&password=b", {"database": "e", "user": "a", "password": "b"}),
        ("host=a:1&host=b:2", {"host": ("a:1", "b:2")}),
        ("target_session_attrs=read-write", {"target_session_attrs": "read-write"}),
        ("prepared_statement_cache_size=0", {"prepared_statement_cache_size": "0"}),
    ],
)
def test_libpqs_options_become_the_drivers(options: str, query: dict[str, Any]) -> None:
    address = f"postgresql://{'' if 'host' in options else 'h'}/d?{options}"
    assert dict(engine_arguments(sqlalchemy_url(address)).url.query) == query


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("foo=bar", "foo is not an option of the address; known are host, port, dbname"),
        ("ssl_mode=require", "ssl_mode is not an option of the address; did you mean sslmode?"),
        ("sslmode=on", "the option sslmode is one of disable, allow, prefer, require"),
        ("connect_timeout=0", "the option connect_timeout is a whole number from 1 to 600"),
        ("connect_timeout=1e1", "the option connect_timeout is a whole number from 1 to 600"),
        ("connect_timeout=1&timeout=2", "the option connect_timeout is there twice"),
        ("sslmode=require&sslmode=disable", "the option sslmode is there twice"),
        ("sslrootcert=/a", "sslrootcert: set the environment variable PGSSLROOTCERT"),
        ("options=-c%20geqo%3Doff", "the option options: ALTER ROLE"),
        ("statement_timeout=1", "set CLAIMWRIGHT_STATEMENT_TIMEOUT_MS"),
        ("pool_size=1", "set CLAIMWRIGHT_POOL_SIZE"),
        ("target_session_attrs=standby", "is one of any, primary, read-write"),
        ("prepared_statement_cache_size=-1", "is a whole number from 0"),
        ("host=a:b:c&host=d", "the hosts of the address cannot be told apart"),
        ("port=0", "a port is a number from 1 to 65,535"),
    ],
)
def test_other_options_of_a_database_are_refused_by_name(options: str, sentence: str) -> None:
    message = postgresql_refusal(options)
    assert sentence in message
    assert SECRET not in message


@pytest.mark.parametrize("port", ["0", "65536", "99999999"])
def test_a_port_that_no_server_has_is_refused(port: str) -> None:
    message = "a port is a number from 1 to 65,535"
    assert postgresql_refusal("sslmode=allow", f"h:{port}") == message


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://u:p@ss?{SECRET}=1@h/d",
        f"postgresql://u:p@{SECRET}@h/d",
        f"postgresql://u:p@h/d?-{SECRET}=1",
        f"postgresql://u:p@h/d?{'x' * 50}{SECRET}=1",
        f"postgresql://u:p@h/d?application_name=a&-{SECRET}=a&-{SECRET}=b",
        f"postgresql://u:p@h/d?sslmode={SECRET}",
        f"postgresql://u:p@h:{SECRET}/d",
    ],
)
def test_no_part_of_an_unencoded_password_shows(address: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        sqlalchemy_url(address)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


async def test_connections_have_the_name_and_the_patience_of_the_address(
    session_database: ServerAddresses,
) -> None:
    for address, name, seconds in (
        (session_database.database_url, "claimwright", 5),
        (f"{session_database.database_url}&application_name=ours&connect_timeout=7", "ours", 7),
    ):
        engine = make_engine(sqlalchemy_url(address))
        seen = connect_arguments(engine)
        async with engine.connect() as connection:
            shown = await connection.exec_driver_sql("SHOW application_name")
            assert shown.scalar_one() == name
        assert seen["timeout"] == seconds
        await engine.dispose()


def connect_arguments(engine: AsyncEngine) -> dict[str, Any]:
    """What the driver is given, once the engine has connected."""
    seen: dict[str, Any] = {}

    @event.listens_for(engine.sync_engine, "do_connect")
    def look(_dialect: object, _record: object, _args: object, given: dict[str, Any]) -> None:
        seen.update(given)

    return seen


@pytest.mark.parametrize(
    "address",
    [
        "redis://h",
        "redis://:p%40@h:1/0",
        "rediss://u:p@[::1]/2?ssl_cert_reqs=none&ssl_check_hostname=false",
        "unix:///run/valkey.sock?db=3",
        "redis://h?socket_timeout=0.5&socket_keepalive=yes&client_name=a&protocol=3",
    ],
)
def test_an_address_that_redis_py_understands_stays_as_it_is(address: str) -> None:
    assert checked_redis_url(address) == address


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("redis://h?foo=bar", "foo is not an option of the address; known are db, username"),
        ("redis://h?sockettimeout=1", "did you mean socket_timeout?"),
        ("redis://h?decode_responses=true", "decode_responses is not an option"),
        ("redis://h?ssl_cert_reqs=none", "ssl_cert_reqs: it does not go with redis://"),
        ("unix:///s?socket_keepalive=1", "socket_keepalive: it does not go with unix://"),
        ("redis://h?socket_timeout=soon", "socket_timeout is a number of seconds above 0"),
        ("redis://h?socket_timeout=0", "socket_timeout is a number of seconds above 0"),
        ("redis://h?db=one", "the option db is a whole number from 0"),
        ("redis://h?db=1&db=2", "the option db is there twice"),
        ("redis://h/one", "the path of a Redis address is the number of a database"),
        ("unix://", "has the socket's path"),
        ("redis://h:0", "this is not a Redis address"),
        ("redis://h:65536", "this is not a Redis address"),
    ],
)
def test_other_addresses_of_redis_are_refused_by_name(address: str, sentence: str) -> None:
    assert sentence in redis_refusal(address)


@pytest.mark.parametrize(
    "address",
    [
        f"redis://:{SECRET}#x@h",
        f"redis://:{SECRET}/x@h",
        f"redis://:1/{SECRET}@h",
        f"redis://:1?{SECRET}=1@h",
        f"redis://:1#{SECRET}@h",
        f"redis://h/{SECRET}",
        f"redis://h?db={SECRET}",
        f"redis://h?-{SECRET}=1",
        f"redis://[{SECRET}",
    ],
)
def test_no_part_of_an_unencoded_password_of_redis_shows(address: str) -> None:
    assert SECRET not in redis_refusal(address)


def test_every_option_of_redis_is_one_that_redis_py_has() -> None:
    values = {"db": "1", "protocol": "3", "ssl_cert_reqs": "none"}
    for scheme, options in REDIS_OPTIONS.items():
        query = "&".join(f"{name}={values.get(name, '1')}" for name in options)
        address = f"{scheme}://h/s?{query}"
        given: dict[str, Any] = dict(parse_url(address))
        del given["max_connections"]  # the pool's
        given.pop("connection_class", Connection)(**given)


def test_a_wrong_option_is_a_wrong_setting() -> None:
    with pytest.raises(Exception, match=r"CLAIMWRIGHT_REDIS_URL: foo is not") as caught:
        load_settings({"CLAIMWRIGHT_REDIS_URL": f"redis://:{SECRET}@h?foo=bar"})
    assert SECRET not in str(caught.value)


def test_every_option_of_a_database_is_documented() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    missing = [name for name in POSTGRESQL_OPTIONS if f"`{name}`" not in text]
    missing += [name for name in REDIS_OPTIONS["rediss"] if f"`{name}`" not in text]
    assert missing == []
