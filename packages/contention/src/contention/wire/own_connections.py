"""Connections of the kit's own to the servers, beside all gates."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from contention.wire.servers import PostgresServer, RedisServer, Servers, UnusableServerError

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

NAME = "contention"
"""How the kit's own connections call themselves."""
_NO_ENCRYPTION = "no encryption"


async def connect_postgres(
    server: PostgresServer, settings: Mapping[str, str] = MappingProxyType({})
) -> "Connection":
    """A connection to a server's database.

    Args:
        settings: of the session.

    Raises:
        UnusableServerError: nobody answers, the server demands TLS, or it refuses the log-in.
    """
    where = str(server.address)
    try:
        return await asyncpg.connect(
            host=server.host,
            port=server.port,
            user=server.user,
            password=server.password or None,
            database=server.database,
            ssl=False,
            server_settings={"application_name": NAME, **settings},
        )
    except OSError as error:
        raise UnusableServerError(
            f"no PostgreSQL answers at {where} ({error}): start it, or correct its address"
        ) from error
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        if _NO_ENCRYPTION in str(error):
            raise UnusableServerError(
                f"the PostgreSQL at {where} demands TLS, and a gate has to read what passes: "
                "allow plain connections from this machine in its pg_hba.conf"
            ) from error
        raise UnusableServerError(f"the PostgreSQL at {where} refuses: {error}") from error
    except asyncpg.PostgresError as error:
        raise UnusableServerError(f"the PostgreSQL at {where} refuses: {error}") from error


def connect_redis(server: RedisServer) -> "Redis":
    """A client of a server that asks once and does not try again."""
    return Redis.from_url(server.url, retry=Retry(NoBackoff(), 0))


def connect_redis_once(server: RedisServer) -> "Redis":
    """A client of a server with one connection, which is opened anew when somebody has cut it."""
    retry = Retry(NoBackoff(), 1)
    return Redis.from_url(server.url, retry=retry, single_connection_client=True)


async def check_servers(servers: Servers) -> None:
    """See that both servers answer and let the kit do what it has to.

    Raises:
        UnusableServerError: one of them cannot be used, and why.
    """
    connection = await connect_postgres(servers.postgres)
    try:
        await check_postgres(connection, servers.postgres)
    finally:
        await connection.close()
    await check_redis(servers.redis)


async def check_postgres(connection: "Connection", server: PostgresServer) -> None:
    """See that a PostgreSQL to which there is a connection lets the kit do what it has to.

    Raises:
        UnusableServerError: it does not.
    """
    if not await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
        raise UnusableServerError(
            f"{server.user} is no superuser of the PostgreSQL at {server.address}: the kit clones "
            "databases and looks into locks"
        )


async def check_redis(server: RedisServer) -> None:
    """See that a Redis answers.

    Raises:
        UnusableServerError: it does not, and why.
    """
    client = connect_redis(server)
    try:
        await client.ping()
    except RedisError as error:
        raise UnusableServerError(
            f"no usable Redis at {server.address} ({error}): start it, or correct its address, "
            "user or password"
        ) from error
    finally:
        await client.aclose()
