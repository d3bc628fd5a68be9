"""Losing the reply to a COMMIT for real: the server has committed and the client never hears it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

_SOCKET = ".s.PGSQL.5432"
_CHUNK_BYTES = 65_536


@dataclass(slots=True)
class LossyWire:
    """A wire to PostgreSQL that can be told to break after the server has committed.

    Attributes:
        database_url: the way to the server through this wire.
        lose_next: whether the reply to the next COMMIT is lost, with its connection.
        lost: how many were.
    """

    database_url: str
    server_socket: str
    lose_next: bool = False
    lost: int = 0

    async def carry(
        self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        """Carry one client's connection until either end closes it."""
        from_server, to_server = await asyncio.open_unix_connection(self.server_socket)
        asking = asyncio.create_task(self._ask(from_client, to_server))
        with suppress(ConnectionError):
            while reply := await from_server.read(_CHUNK_BYTES):
                if self.lose_next and reply.startswith(b"C\x00\x00\x00\x0bCOMMIT\x00"):
                    self.lose_next = False
                    self.lost += 1
                    break
                to_client.write(reply)
                await to_client.drain()
        to_server.close()
        to_client.close()
        await asking

    async def _ask(self, client: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while request := await client.read(_CHUNK_BYTES):
                server.write(request)
                await server.drain()
        server.close()


@asynccontextmanager
async def lossy_wire(database_url: str, folder: Path) -> AsyncIterator[LossyWire]:
    """A wire to a database, by a socket in an empty folder."""
    url = make_url(database_url)
    through = url.update_query_dict({"host": str(folder)})
    wire = LossyWire(
        through.render_as_string(hide_password=False), f"{url.query['host']}/{_SOCKET}"
    )
    server = await asyncio.start_unix_server(wire.carry, str(folder / _SOCKET))
    try:
        yield wire
    finally:
        server.close()
