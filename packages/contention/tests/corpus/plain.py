"""Scenarios without the kit: plain connections, and an order that is written down beforehand.

Nothing here is shared with the kit but the programs: a worker waits for its turn before each of its
statements, and whether it waits for somebody is read in ``pg_stat_activity``.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import TYPE_CHECKING

import redis.asyncio

from contention.wire.servers import Servers

from .drivers import AsyncpgMachine, on_machine
from .machine import Keys, Turn, at_once
from .scenario import Scenario

if TYPE_CHECKING:
    from typing import TypeAlias

    import asyncpg

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

_MOST_LOOKS = 20_000
_WAITS = """
    SELECT EXISTS (
        SELECT FROM pg_stat_activity
        WHERE application_name = $1 AND wait_event_type = 'Lock'
          AND cardinality(pg_blocking_pids(pid)) > 0
    )
    """


@dataclass(frozen=True, slots=True)
class End:
    """What is left in tables and keys, and what each worker returned or raised."""

    tables: Mapping[str, Sequence[tuple[object, ...]]]
    keys: Mapping[str, object]
    results: Mapping[int, object]

    @property
    def present(self) -> list[int]:
        """Those who did not raise."""
        return [n for n, one in self.results.items() if not isinstance(one, Exception)]

    def equals(self, other: "End") -> bool:
        """Whether nobody could tell the two apart, those who raised left aside."""
        mine, theirs = ({n: one.results[n] for n in one.present} for one in (self, other))
        return (self.tables, self.keys, mine) == (other.tables, other.keys, theirs)


class Conductor:
    """Lets workers ask one statement at a time."""

    def __init__(self, count: int, connection: "Connection", client: redis.asyncio.Redis) -> None:
        self._connection = connection
        self._client = client
        self._numbers = range(1, count + 1)
        self._permits = {number: asyncio.Semaphore(0) for number in self._numbers}
        self._arrivals: dict[int, asyncio.Queue[None]] = {
            number: asyncio.Queue() for number in self._numbers
        }
        self._waiting = set(self._numbers)
        self._is_over = False

    def turn_of(self, number: int) -> Turn:
        """What a worker awaits before each statement."""

        async def turn() -> None:
            self.arrived(number)
            if not self._is_over:
                await self._permits[number].acquire()

        return turn

    def arrived(self, number: int) -> None:
        """A worker has its answer: it is at its next turn, or at its end."""
        self._arrivals[number].put_nowait(None)

    async def conduct(self, order: str) -> None:
        """Give each turn of an order, then let all go on as they can."""
        try:
            for word in order.split():
                if word == "!":
                    await self._let_leases_run_out()
                else:
                    await self._give(int(word.rstrip("*")), waits=word.endswith("*"))
        finally:
            self._is_over = True
            for permit in self._permits.values():
                permit.release()

    async def _give(self, number: int, *, waits: bool) -> None:
        if number in self._waiting:
            await self._arrivals[number].get()
            self._waiting.discard(number)
        keys = await contents_of(self._client)
        self._permits[number].release()
        if waits:
            self._waiting.add(number)
            await self._is_seen_waiting(number, keys)
        else:
            await self._arrivals[number].get()

    async def _is_seen_waiting(self, number: int, keys: Mapping[str, object]) -> None:
        for _ in range(_MOST_LOOKS):
            assert self._arrivals[number].empty(), f"worker {number} does not wait"
            if await self._connection.fetchval(_WAITS, f"w{number}"):
                return
            if await self._polls(number) and await contents_of(self._client) == keys:
                return
        raise AssertionError(f"worker {number} is not seen to wait")

    async def _polls(self, number: int) -> bool:
        """Whether a worker's last command was SET, which is how it tries to take a lock."""
        clients = await self._client.client_list()
        return any(one["name"] == f"w{number}" and one["cmd"] == "set" for one in clients)

    async def _let_leases_run_out(self) -> None:
        leases = [key for key in await self._client.keys() if await self._client.pttl(key) >= 0]
        assert leases, "no key has a time-out"
        for key in leases:
            await self._client.pexpire(key, 1)
            while await self._client.exists(key):
                pass


async def contents_of(client: redis.asyncio.Redis) -> dict[str, object]:
    """All keys, which are strings here, with their values."""
    return {str(name): await client.get(name) for name in sorted(await client.keys())}


@dataclass(slots=True)
class Stage:
    """Runs a scenario on plain connections."""

    scenario: Scenario
    servers: Servers
    connection: "Connection"
    client: redis.asyncio.Redis
    _serial: dict[tuple[int, ...], End] = field(default_factory=dict)

    async def conducted(self) -> End:
        """The end of the scenario's own order."""
        await self._begin()
        count = len(self.scenario.workers)
        conductor = Conductor(count, self.connection, self.client)
        async with asyncio.TaskGroup() as group:
            tasks = {
                number: group.create_task(self._play(number, conductor))
                for number in range(1, count + 1)
            }
            await conductor.conduct(self.scenario.order)
        return await self._end({number: task.result() for number, task in tasks.items()})

    async def serial(self, order: tuple[int, ...]) -> End:
        """The end when one worker begins after the other has ended."""
        if order not in self._serial:
            await self._begin()
            results = {number: await self._play(number) for number in order}
            self._serial[order] = await self._end(dict(sorted(results.items())))
        return self._serial[order]

    async def is_right(self, end: End) -> bool:
        """Whether the scenario allows the latest end: by its invariant, or as a serial order's."""
        raised = [one for one in end.results.values() if isinstance(one, Exception)]
        if not all(isinstance(one, self.scenario.may_raise) for one in raised):
            return False
        if self.scenario.invariant is None:
            serial = [await self.serial(order) for order in permutations(end.present)]
            return any(end.equals(other) for other in serial)
        try:
            await on_machine(self.scenario.invariant, self._machine("invariant", at_once))
        except AssertionError:
            return False
        return True

    async def _begin(self) -> None:
        await self.connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        await self.client.flushall()
        await on_machine(self.scenario.begin, self._machine("setup", at_once))

    async def _play(self, number: int, conductor: Conductor | None = None) -> object:
        turn = conductor.turn_of(number) if conductor else at_once
        try:
            return await on_machine(
                self.scenario.workers[number - 1], self._machine(f"w{number}", turn)
            )
        except Exception as error:  # noqa: BLE001 - it is what the worker ended with
            return error
        finally:
            if conductor:
                conductor.arrived(number)

    def _machine(self, name: str, turn: Turn) -> AsyncpgMachine:
        links = self.servers.links
        client = redis.asyncio.Redis.from_url(
            f"{links.redis_url}&client_name={name}", decode_responses=True
        )
        address = f"{links.postgres_url}&application_name={name}"
        return AsyncpgMachine(address, Keys(client, turn), turn)

    async def _end(self, results: Mapping[int, object]) -> End:
        names = await self.connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        )
        tables = {
            name: sorted(map(tuple, await self.connection.fetch(f"SELECT * FROM {name}")))
            for (name,) in names
        }
        return End(tables, await contents_of(self.client), results)
