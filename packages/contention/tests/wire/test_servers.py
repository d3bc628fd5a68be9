"""Addresses of servers: read, written, and refused with what to do."""

import socket
from pathlib import Path

import pytest

from contention.wire.embedded import embedded_servers
from contention.wire.own_connections import check_servers, connect_postgres
from contention.wire.servers import PostgresServer, RedisServer, Servers, UnusableServerError


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("postgresql:///db?host=/run/pg", PostgresServer("/run/pg", database="db")),
        (
            "postgresql://u:p%40ss@db.example:6432/shop",
            PostgresServer("db.example", 6432, "u", "shop", "p@ss"),
        ),
        ("postgres://u@[::1]/d", PostgresServer("::1", 5432, "u", "d")),
        ("postgresql+asyncpg://u@h/d?sslmode=disable", PostgresServer("h", 5432, "u", "d")),
        ("host=h user=u dbname=d port=7", PostgresServer("h", 7, "u", "d")),
    ],
)
def test_an_address_of_postgresql_is_read_in_each_form(url: str, server: PostgresServer) -> None:
    assert PostgresServer.from_url(url) == server
    assert PostgresServer.from_url(server.url) == server


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("redis://h", RedisServer(host="h")),
        ("redis://:p%2F@[::1]:7/3", RedisServer(None, "::1", 7, 3, "", "p/")),
        ("redis://u:p@h:7/3", RedisServer(None, "h", 7, 3, "u", "p")),
        ("unix:///run/r.sock?db=2", RedisServer(Path("/run/r.sock"), database=2)),
        ("unix://u:p@/run/r.sock", RedisServer(Path("/run/r.sock"), "", 6379, 0, "u", "p")),
    ],
)
def test_an_address_of_redis_is_read_in_each_form(url: str, server: RedisServer) -> None:
    assert RedisServer.from_url(url) == server
    assert RedisServer.from_url(server.url) == server


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://h/d?sslmode=require", "sslmode=require demands TLS"),
        ("mysql://h/d", "not an address of PostgreSQL"),
    ],
)
def test_an_unusable_address_of_postgresql_says_why(url: str, reason: str) -> None:
    with pytest.raises(UnusableServerError, match=reason):
        PostgresServer.from_url(url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [("rediss://h", "demands TLS"), ("http://h", "not an address of Redis")],
)
def test_an_unusable_address_of_redis_says_why(url: str, reason: str) -> None:
    with pytest.raises(UnusableServerError, match=reason):
        RedisServer.from_url(url)


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(PostgresServer.from_url("postgresql://u:secret@h/d"))
    assert "secret" not in repr(RedisServer.from_url("redis://:secret@h"))


@pytest.mark.parametrize("make", [lambda: PostgresServer(""), RedisServer])
def test_a_server_is_somewhere(make: type) -> None:
    with pytest.raises(UnusableServerError):
        make()


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_nobody_at_an_address_says_so(servers: Servers) -> None:
    nobody = PostgresServer("127.0.0.1", a_free_port())
    with pytest.raises(UnusableServerError, match=r"no PostgreSQL answers at 127\.0\.0\.1"):
        await check_servers(Servers(nobody, servers.redis))
    nobody_either = RedisServer(host="127.0.0.1", port=a_free_port())
    with pytest.raises(UnusableServerError, match=r"no usable Redis at 127\.0\.0\.1"):
        await check_servers(Servers(servers.postgres, nobody_either))


async def test_a_database_that_is_not_there_says_so(servers: Servers) -> None:
    with pytest.raises(UnusableServerError, match='database "nowhere" does not exist'):
        await connect_postgres(servers.postgres.using("nowhere"))


async def test_a_user_who_is_no_superuser_is_told(servers: Servers) -> None:
    admin = await connect_postgres(servers.postgres)
    await admin.execute("CREATE ROLE plain LOGIN")
    plain = PostgresServer(servers.postgres.host, user="plain", database="postgres")
    with pytest.raises(UnusableServerError, match="plain is no superuser"):
        await check_servers(Servers(plain, servers.redis))
    await admin.execute("DROP ROLE plain")
    await admin.close()


async def test_the_kits_own_servers_can_be_used_and_are_gone_afterwards() -> None:
    with embedded_servers() as own:
        await check_servers(own)
    with pytest.raises(UnusableServerError):
        await connect_postgres(own.postgres)


async def test_a_server_that_demands_tls_says_what_to_do(servers: Servers) -> None:
    access = Path(servers.postgres.host) / "pg_hba.conf"
    before = access.read_text()
    admin = await connect_postgres(servers.postgres)
    try:
        access.write_text("local all plain reject\n" + before)
        await admin.execute("SELECT pg_reload_conf()")
        refused = PostgresServer(servers.postgres.host, user="plain", database="postgres")
        with pytest.raises(UnusableServerError, match=r"demands TLS.*pg_hba.conf"):
            await connect_postgres(refused)
    finally:
        access.write_text(before)
        await admin.execute("SELECT pg_reload_conf()")
        await admin.close()
