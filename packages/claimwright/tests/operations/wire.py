"""A stand-in for a bad network: forwards everything to PostgreSQL, and cuts one COMMIT."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.engine import make_url

SOCKET = ".s.PGSQL.5432"
COMMIT = b"COMMIT;"


@dataclass(slots=True)
class Wire:
    """Every connection through it reaches the server, until a COMMIT comes by.

    Attributes:
        url: the application's database, through this wire.
        lose: ``request``: the connection breaks before the server gets the next COMMIT;
            ``reply``: it breaks when the server has committed, before the client hears of it.
        is_down: no new connection is served.
        cuts: how many connections were cut.
    """

    server: Path
    url: str
    lose: str | None = None
    is_down: bool = False
    cuts: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def carry(
        self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        """Serve one connection until one of its ends closes."""
        if self.is_down:
            to_client.close()
            return
        from_server, to_server = await asyncio.open_unix_connection(self.server)
        answers = asyncio.create_task(self._forward(from_server, to_client))
        self._tasks.add(answers)
        try:
            while data := await from_client.read(65_536):
                if self.lose and COMMIT in data:
                    await self._cut(data, from_server, to_server, answers)
                    return
                to_server.write(data)
        except (asyncio.CancelledError, OSError):
            pass
        finally:
            answers.cancel()
            to_client.close()
            to_server.close()

    async def _cut(
        self,
        data: bytes,
        from_server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
        answers: asyncio.Task[None],
    ) -> None:
        lost, self.lose = self.lose, None
        self.cuts += 1
        answers.cancel()
        with suppress(asyncio.CancelledError):
            await answers
        if lost == "reply":
            to_server.write(data)
            await from_server.read(65_536)

    async def _forward(
        self, from_server: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        while data := await from_server.read(65_536):
            to_client.write(data)
        to_client.close()


@asynccontextmanager
async def wire_to(database_url: str) -> AsyncIterator[Wire]:
    """A wire to a database that is reached by a unix socket."""
    url = make_url(database_url)
    with tempfile.TemporaryDirectory(prefix="wire-") as folder:
        through = url.update_query_dict({"host": folder}).render_as_string(hide_password=False)
        wire = Wire(Path(str(url.query["host"])) / SOCKET, through)
        async with await asyncio.start_unix_server(wire.carry, Path(folder) / SOCKET):
            yield wire
