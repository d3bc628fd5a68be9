"""The relay: hands on what waits, sweeps what is stuck, and says how much there is to do.

It is a process of its own, or several, and no periodic task: a task that the broker lost would be
missed by nobody. Everything it knows is in the database, so that it can be killed at any moment.
"""

import asyncio
import logging
import random
from contextlib import suppress
from time import monotonic
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.domain.errors import BrokerUnavailableError
from claimwright.metrics import OUTBOX_OLDEST_SECONDS, OUTBOX_REQUESTS
from claimwright.operations.attempts import reason_of
from claimwright.operations.hand_on import Broker, Round, hand_on
from claimwright.operations.transactions import transaction
from claimwright.runtime import Runtime
from claimwright.storage.handing_on import CHANNEL
from claimwright.storage.listed_work import work_counts
from claimwright.storage.requests import RequestKind
from claimwright.storage.transients import DATABASE_ERRORS
from claimwright.worker.logs import log

_LONGEST_PAUSE_SECONDS: Final = 30.0
_STATES: Final = ("waiting", "handed on", "dead")


class Relay:
    """Rounds of handing on, until it is told to stop."""

    def __init__(self, runtime: Runtime, broker: Broker) -> None:
        self._runtime = runtime
        self._broker = broker
        self._news = asyncio.Event()
        self._ear: AsyncConnection | None = None
        self._failures = 0
        self._next_count = monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        """Hand on until ``stop`` is set; a broker or a database that is away is waited for."""
        log(logging.INFO, "relay", outcome="begun")
        try:
            while not stop.is_set():
                self._news.clear()
                done = await self._round()
                if done is None or not done.is_full:
                    await self._wait(stop)
        finally:
            await self._stop_listening()
        log(logging.INFO, "relay", outcome="ended")

    async def _round(self) -> Round | None:
        """One round; `None` when a server is away."""
        try:
            await self._listen()
            done = await hand_on(self._runtime, self._broker)
            await self._count()
        except (BrokerUnavailableError, *DATABASE_ERRORS) as error:
            self._failures += 1
            log(logging.WARNING, "relay", outcome="failed", reason=reason_of(error))
            return None
        self._failures = 0
        if done.handed_on:
            level = logging.WARNING if done.stuck else logging.INFO
            log(level, "relay", outcome="handed on", requests=done.handed_on, stuck=done.stuck)
        return done

    async def _wait(self, stop: asyncio.Event) -> None:
        """Until somebody asks, or the poll is due; after failures longer, whoever asks."""
        ends = {asyncio.create_task(stop.wait())}
        seconds = self._runtime.settings.relay_poll_seconds
        if self._failures:
            pause = min(_LONGEST_PAUSE_SECONDS, 2.0 ** min(self._failures - 1, 10))
            seconds = pause * random.uniform(0.5, 1)  # noqa: S311 - to spread several relays
        else:
            ends.add(asyncio.create_task(self._news.wait()))
        try:
            await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()

    async def _listen(self) -> None:
        """Have the database wake us; a connection that broke is made anew in the next round."""
        if self._ear is not None and not self._driver(await self._raw(self._ear)).is_closed():
            return
        await self._stop_listening()
        self._ear = await self._runtime.engine.connect()
        driver = self._driver(await self._raw(self._ear))
        await driver.add_listener(CHANNEL, self._heard)
        driver.add_termination_listener(self._heard)

    def _heard(self, *_: object) -> None:
        self._news.set()

    async def _stop_listening(self) -> None:
        ear, self._ear = self._ear, None
        if ear is None:
            return
        with suppress(*DATABASE_ERRORS):
            # Not back to the pool: it still listens.
            await ear.invalidate()
            await ear.close()

    async def _count(self) -> None:
        """Say now and then what there is to do, states without any request too."""
        if monotonic() < self._next_count:
            return
        self._next_count = monotonic() + self._runtime.settings.relay_poll_seconds
        async with transaction(self._runtime) as connection:
            counts = await work_counts(connection)
        known = {(one.kind, one.state): one for one in counts}
        for kind in RequestKind:
            for state in _STATES:
                one = known.get((kind.value, state))
                OUTBOX_REQUESTS.labels(kind.value, state).set(one.requests if one else 0)
                OUTBOX_OLDEST_SECONDS.labels(kind.value, state).set(
                    one.oldest_seconds if one else 0
                )

    @staticmethod
    async def _raw(connection: AsyncConnection) -> Any:  # noqa: ANN401 - SQLAlchemy's adapter
        return await connection.get_raw_connection()

    @staticmethod
    def _driver(raw: Any) -> Any:  # noqa: ANN401 - asyncpg's connection, which has no types
        return raw.driver_connection
