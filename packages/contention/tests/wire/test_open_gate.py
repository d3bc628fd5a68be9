"""Who looks at the end of a run gets a backend that has served before, and leaves nothing on it."""

import tempfile
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from socket import AF_UNIX, socket

import asyncpg
import psycopg
import pytest

from contention.wire.backends import Backend, Backends
from contention.wire.lane import Lane
from contention.wire.open_gate import OpenGate, Usher
from contention.wire.own_connections import connect_postgres
from contention.wire.postgres import PostgresFraming
from contention.wire.quiet import StageError
from contention.wire.servers import Servers

OF_ANOTHER_VERSION = b"\0\0\0\x08\0\x09\0\0"
"""A start-up message."""


@pytest.fixture
async def gate(servers: Servers) -> AsyncIterator[OpenGate]:
    with tempfile.TemporaryDirectory(prefix="ct-") as folder:
        gate = await OpenGate.to(servers.postgres, Path(folder))
        yield gate
        gate.close()


async def test_one_backend_serves_one_look_after_another(gate: OpenGate) -> None:
    seen = set()
    for _ in range(3):
        connection = await asyncpg.connect(gate.server.url)
        seen.add(connection.get_server_pid())
        await connection.close()
        await gate.empty()
    assert seen == set(gate.process_ids)
    assert len(seen) == 1


async def test_a_look_that_is_left_open_holds_nothing(gate: OpenGate, servers: Servers) -> None:
    connection = await asyncpg.connect(gate.server.url)
    await connection.execute("BEGIN; SELECT pg_advisory_lock(1); CREATE TABLE seen (a int)")
    await gate.empty()
    own = await connect_postgres(servers.postgres)
    held = await own.fetchval("SELECT count(*) FROM pg_locks WHERE pid = ANY($1)", gate.process_ids)
    await own.close()
    assert (held, len(gate.process_ids)) == (0, 1)
    connection.terminate()


async def test_a_look_may_block_the_thread_that_it_is_in(gate: OpenGate) -> None:
    with psycopg.connect(gate.server.url, connect_timeout=20) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    await gate.empty()


async def test_what_cannot_be_understood_is_said(gate: OpenGate) -> None:
    with socket(AF_UNIX) as client:
        client.connect(f"{gate.server.host}/.s.PGSQL.5432")
        client.send(OF_ANOTHER_VERSION)
        assert client.recv(1) == b""
    with pytest.raises(StageError, match=r"the look at the end of the run: .*cannot pass a gate"):
        await gate.empty()
    await gate.empty()


async def test_a_backend_that_is_forgotten_serves_nobody_any_more(gate: OpenGate) -> None:
    first = await asyncpg.connect(gate.server.url)
    await first.close()
    await gate.empty()
    gate.forget()
    assert gate.process_ids == []
    second = await asyncpg.connect(gate.server.url)
    assert second.get_server_pid() != first.get_server_pid()
    await second.close()


def test_new_beginnings_are_told_to_who_keeps_other_backends() -> None:
    told = []
    backends = Backends(lambda: told.append("outdated"))
    lane = Lane("w1", 1, PostgresFraming(), Usher())
    backends.heard(Backend(lane), ["SELECT 1"])
    assert told == []
    backends.heard(Backend(lane), ["ALTER DATABASE a SET work_mem = '1MB'"])
    assert told == ["outdated"]


async def test_nothing_of_a_gate_is_left(servers: Servers, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    gate = await OpenGate.to(servers.postgres, tmp_path)
    connection = await asyncpg.connect(gate.server.url)
    gate.close()
    assert set(threading.enumerate()) == before
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await connection.fetchval("SELECT 1")
    connection.terminate()
