"""A TCP relay in front of a Redis server that comes between a command and its reply."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Self

SET = b"\r\n$3\r\nSET\r\n"


class Relay:
    """A TCP relay before a server that interferes once with the command ``trigger``.

    ``hold_request`` keeps the command, ``hold_reply`` its reply, until ``let_go``; ``cut_reply``
    closes the connection instead of replying. ``muted`` swallows everything, as a half-open server.
    """

    def __init__(self, server_port: int, fault: str = "", trigger: bytes = SET) -> None:
        self.connections = 0
        self.muted = False
        self.caught = asyncio.Event()
        self.let_go = asyncio.Event()
        self.answered = asyncio.Event()
        self._server_port = server_port
        self._fault = fault
        self._trigger = trigger
        self._requests = b""
        self._news = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port: int = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def sets(self) -> int:
        return self._requests.count(SET)

    async def saw(self, condition: Callable[[], bool]) -> None:
        async with self._news:
            await self._news.wait_for(condition)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._tasks.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        asked = bytearray()
        with contextlib.closing(writer), contextlib.closing(server_writer):
            replying = self._replies(server_reader, writer, asked)
            self._tasks.add(asyncio.create_task(replying))
            with contextlib.suppress(ConnectionError):
                while request := await reader.read(65_536):
                    asked += request
                    await self._pass_request(request, server_writer)

    async def _pass_request(self, request: bytes, server: asyncio.StreamWriter) -> None:
        async with self._news:
            self._requests += request
            self._news.notify_all()
        if self._fault == "hold_request" and self._trigger in request:
            self._fault = "report"
            self.caught.set()
            await self.let_go.wait()
        if not self.muted:
            server.write(request)

    async def _replies(
        self, server: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: bytearray
    ) -> None:
        while reply := await server.read(65_536):
            fault = self._fault if self._trigger in asked else ""
            if fault == "report":
                self.answered.set()
            if fault == "cut_reply":
                self._fault = ""
                writer.transport.abort()
            if fault == "hold_reply":
                self._fault = ""
                self.caught.set()
                await self.let_go.wait()
            if not self.muted:
                writer.write(reply)
