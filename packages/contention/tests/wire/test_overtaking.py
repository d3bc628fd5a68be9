"""A real server lets somebody overtake in the queue for a row, and it is noticed."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
import pytest

from contention.wire.blocking import LockWaits, Wait
from contention.wire.row_queues import overtaker
from contention.wire.servers import Servers

if TYPE_CHECKING:
    Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

ADD = "UPDATE accounts SET amount = amount + 1"
ROUNDS = 500
"""Every tenth or so has somebody overtaken."""
STEPS = 2_000
STEPS_A_LOOK = 8


class Queue:
    """One who has a row, two who wait for it, and somebody who looks."""

    def __init__(self, connections: "list[Connection]") -> None:
        self.looking, self.holder, self.first, self.second = connections
        self._locks = LockWaits(self.looking)
        self._names = {self.first.get_server_pid(): "w2/1", self.second.get_server_pid(): "w3/1"}

    async def waits(self) -> dict[str, Wait]:
        found = await self._locks.of(list(self._names))
        return {self._names[process_id]: wait for process_id, wait in found.items()}

    async def round(self) -> tuple[bool, str]:
        """Let the row go while the first to wait goes on in the smallest steps.

        Returns:
            Whether the second came before the first, and who is told to have come before somebody.
        """
        for connection in (self.holder, self.first, self.second):
            await connection.execute("BEGIN")
        await self.holder.execute(ADD)
        first = await self._asks(self.first, "w2/1")
        second = await self._asks(self.second, "w3/1")
        before = await self.waits()
        await self._let_go_slowly(first, second)
        is_overtaken = not first.done()
        while is_overtaken and "w2/1" not in await self.waits():
            assert not first.done()
        now = await self.waits()
        told = overtaker(before, now, ["w3/1" if is_overtaken else "w2/1"], ASKED_AT.get)
        in_order = [(self.first, first), (self.second, second)]
        for connection, asking in reversed(in_order) if is_overtaken else in_order:
            await asking
            await connection.execute("COMMIT")
        return is_overtaken, told

    async def _asks(self, connection: "Connection", name: str) -> "asyncio.Task[str]":
        asking = asyncio.create_task(connection.execute(ADD))
        while name not in await self.waits():
            assert not asking.done()
        return asking

    async def _let_go_slowly(self, *asking: "asyncio.Task[str]") -> None:
        """Stop the first to wait again and again, somewhere, until somebody has the row."""
        process_id = self.first.get_server_pid()
        try:
            os.kill(process_id, signal.SIGSTOP)
            await self.holder.execute("COMMIT")
            for step in range(STEPS):
                os.kill(process_id, signal.SIGCONT)
                os.kill(process_id, signal.SIGSTOP)
                if step % STEPS_A_LOOK == 0:
                    await asyncio.sleep(0)
                if any(task.done() for task in asking):
                    break
        finally:
            os.kill(process_id, signal.SIGCONT)
        await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)


ASKED_AT = {"w2/1": 2, "w3/1": 3}


@pytest.fixture
async def queue(servers: Servers) -> AsyncIterator[Queue]:
    connections = [await asyncpg.connect(servers.postgres.url) for _ in range(4)]
    await connections[0].execute(
        "CREATE TABLE accounts (amount int); INSERT INTO accounts VALUES (1)"
    )
    yield Queue(connections)
    for connection in connections[1:]:
        await connection.close()
    await connections[0].execute("DROP TABLE accounts")
    await connections[0].close()


@pytest.mark.prove
async def test_who_overtakes_on_a_real_server_is_noticed_and_nobody_else(queue: Queue) -> None:
    for _ in range(ROUNDS):
        is_overtaken, told = await queue.round()
        assert told == ("w3/1" if is_overtaken else "")
        if is_overtaken:
            return
    pytest.fail("nobody was overtaken")
