"""A site: a database, a broker, relays and workers, as one company would run them."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final
from urllib.request import urlopen

from celery import Celery

from claimwright.operations.hand_on import Broker as MessageBroker
from claimwright.operations.verify import Verdict, verify
from claimwright.runtime import Runtime
from claimwright.worker.broker import CeleryBroker
from claimwright.worker.celery_app import make_app
from claimwright.worker.relay import Relay
from support.brokers import Broker
from support.databases import Connection, Connections
from support.ordering import Waiting, wait_until_blocked_by
from support.programs import PATIENCE_SECONDS, Program, claimwright_command, running
from support.weather import World

DAY: Final = date(2025, 1, 15)
#: Short enough for tests, but for the sweeper: a test that means it to help says `SWEPT`.
QUICK: Final = {
    "CLAIMWRIGHT_TASK_SECONDS": "30",
    "CLAIMWRIGHT_WORK_ATTEMPTS": "50",
    "CLAIMWRIGHT_RETRY_WAIT_SECONDS": "1",
    "CLAIMWRIGHT_STUCK_AFTER_SECONDS": "600",
    "CLAIMWRIGHT_RELAY_POLL_SECONDS": "0.2",
}
SWEPT: Final = {"CLAIMWRIGHT_STUCK_AFTER_SECONDS": "1"}
_NOT_DONE: Final = """
    SELECT count(*) FROM work_requests WHERE finished_generation < generation
    AND dead_generation < generation
    """


@dataclass(slots=True)
class Site:
    """What a test of workers has: its servers, and an insured world in their database."""

    runtime: Runtime
    environment: Mapping[str, str]
    broker: Broker
    connections: Connections
    world: World = field(init=False)

    def __post_init__(self) -> None:
        self.world = World(self.runtime)

    def celery(self) -> Celery:
        """A Celery app that is configured as the workers', for messages of the test's own."""
        return make_app(self.runtime.settings, self.runtime.addresses)

    @contextmanager
    def worker(self, *arguments: str, ready: bool = True, **environment: str) -> Iterator[Program]:
        """A worker with one child, that is ready for messages."""
        words = claimwright_command("worker", "--concurrency", "1", *arguments)
        with running(words, {**self.environment, **environment}) as program:
            if ready:
                program.saw("ready.")
            yield program

    @asynccontextmanager
    async def relay(self, broker: MessageBroker | None = None) -> AsyncIterator[None]:
        """A relay in this process."""
        stop = asyncio.Event()
        one = Relay(self.runtime, broker or CeleryBroker(self.celery()))
        work = asyncio.create_task(one.run(stop))
        try:
            yield
        finally:
            stop.set()
            await work

    @asynccontextmanager
    async def policy_held(self, number: str) -> AsyncIterator[Connection]:
        """A session that holds a policy's row, so that whoever calculates it waits."""
        holder = await self.connections.superuser()
        await holder.execute("BEGIN")
        await holder.execute(
            "SELECT FROM policies WHERE id = $1 FOR UPDATE", self.world.ids[number]
        )
        yield holder
        await holder.execute("ROLLBACK")

    async def waits_for(self, holder: Connection, how_many: int = 1) -> list[Waiting]:
        """Who waits for that session, once somebody does."""
        watcher = await self.connections.superuser()
        return await wait_until_blocked_by(watcher, holder.get_server_pid(), how_many=how_many)

    async def until(self, query: str, *values: object, is_now: Any = True) -> None:  # noqa: ANN401 - what rows hold
        """Return once a query of one value says so.

        Raises:
            TimeoutError: it never did.
        """
        watcher = await self.connections.superuser()
        # The server waits before each look: the processor is the workers'.
        look = f"SELECT ({query}) FROM pg_sleep(0.02)"
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await watcher.fetchval(look, *values) != is_now:
                pass

    async def drained(self) -> None:
        """Return once nothing is to do but dead letters."""
        await self.until(_NOT_DONE, is_now=0)

    async def fetch(self, query: str, *values: object) -> Any:  # noqa: ANN401 - what rows hold
        """One value."""
        return await (await self.connections.superuser()).fetchval(query, *values)

    async def is_clean(self) -> bool:
        """Whether everything that is due is paid once, and nothing is to do."""
        return (await verify(self.runtime)).verdict is Verdict.CLEAN


def scraped(port: int) -> str:
    """What the metrics at a port say, once a relay has counted."""
    while True:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
            text: str = page.read().decode()
        if "claimwright_outbox_requests{" in text:
            return text
