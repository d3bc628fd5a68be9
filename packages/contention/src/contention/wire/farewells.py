"""The end of a worker's connection in whose transaction it stands: it may still roll that back.

A driver that is cut off inside a transaction tries to roll back, and tells the user's log that this
did not work. Nothing is wrong: the run is over, and the transaction is rolled back in any case. So
the worker is told that it is, until it asks for anything else.
"""

import asyncio
from typing import Final

from contention.wire.postgres_messages import HEADER_SIZE, LENGTH

_COMPLETE: Final = b"C\0\0\0\x0dROLLBACK\0"
_LONGEST_BYTES: Final = 1_000


class Farewells:
    """Those of one run; whoever does not leave by itself is cut off by `end`."""

    def __init__(self) -> None:
        self._clients: list[asyncio.Transport] = []

    def say(self, client: asyncio.Transport, unread: bytes) -> None:
        """Answer a client from now on.

        Args:
            client: has a transaction and waits for nothing but the replies to what is unread.
            unread: what it has sent, from the beginning of a message on.
        """
        farewell = _Farewell(client)
        client.set_protocol(farewell)
        self._clients.append(client)
        farewell.data_received(unread)

    def end(self) -> None:
        """Cut them all off."""
        for client in self._clients:
            client.abort()
        self._clients.clear()


class _Farewell(asyncio.Protocol):
    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client
        self._unread = b""

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while len(self._unread) >= HEADER_SIZE and not self._client.is_closing():
            end = 1 + LENGTH.unpack_from(self._unread, 1)[0]
            if self._unread[:1] != b"Q" or end > _LONGEST_BYTES:
                self._client.abort()
            elif len(self._unread) < end:
                return
            else:
                words = self._unread[HEADER_SIZE:end].rstrip(b"\0; \n").upper().split()
                self._unread = self._unread[end:]
                self._answer(words)

    def _answer(self, words: list[bytes]) -> None:
        """Answer a rollback, also one to a savepoint, which drivers then release."""
        if not words or words[0] not in {b"ROLLBACK", b"RELEASE"}:
            self._client.abort()
            return
        is_open = len(words) > 1
        self._client.write(_COMPLETE + b"Z\0\0\0\x05" + (b"T" if is_open else b"I"))
