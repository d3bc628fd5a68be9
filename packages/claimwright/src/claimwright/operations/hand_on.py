"""Hand requests on: from the database, where they are safe, to the queue, which only carries them.

::

    relay      BEGIN, mark requests as handed on (SKIP LOCKED), COMMIT ── send ── …
    relay 2    BEGIN, mark the next ones, COMMIT ── the broker is away: unmark, later again

No row is locked while the broker is spoken to. Whoever dies between mark and send leaves work that
looks handed on; so does a broker that loses what it holds. Both are found by time alone: what was
handed on long ago, and is still to do, is handed on again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.domain.errors import BrokerUnavailableError
from claimwright.metrics import REQUESTS_HANDED_ON
from claimwright.operations.transactions import retried
from claimwright.runtime import Runtime
from claimwright.storage.handing_on import HandedOn, give_back, take_stuck, take_waiting
from claimwright.storage.requests import RequestKind
from claimwright.tracing import span

#: Requests of one message. A calculation is cut into chunks by whoever takes it.
MESSAGE_SIZE: Final = {
    RequestKind.EVALUATE: 20,
    RequestKind.CALCULATE: 1,
    RequestKind.POLICY: 500,
}


@dataclass(frozen=True, slots=True)
class Message:
    """What a worker is sent: which requests to look at; everything else is in the database."""

    kind: RequestKind
    request_ids: tuple[int, ...]


class Broker(Protocol):
    """What carries messages to workers."""

    async def send(self, messages: Sequence[Message]) -> int:
        """Send messages in this order; how many of them were sent before the broker failed."""

    async def waiting(self) -> int:
        """How many messages no worker has taken yet.

        Raises:
            BrokerUnavailableError: it cannot be reached.
        """


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of the relay did.

    Attributes:
        handed_on: requests that were sent.
        stuck: how many of them had been handed on before.
        is_full: whether there may be more.
    """

    handed_on: int
    stuck: int
    is_full: bool


async def hand_on(runtime: Runtime, broker: Broker) -> Round:
    """Hand on a batch: first what was handed on in vain, then what waits.

    While the queue is long nothing is handed on, so that a broker without workers fills up with
    neither work nor copies of it.

    Raises:
        BrokerUnavailableError: the broker cannot be reached; what was not sent waits again.
    """
    settings = runtime.settings
    if await broker.waiting() >= settings.queue_limit:
        return Round(0, 0, is_full=False)

    async def take(connection: AsyncConnection) -> tuple[list[HandedOn], list[HandedOn]]:
        seconds, limit = settings.stuck_after_seconds, settings.relay_batch
        stuck = await take_stuck(connection, stuck_after_seconds=seconds, limit=limit)
        waiting = await take_waiting(
            connection, stuck_after_seconds=seconds, limit=limit - len(stuck)
        )
        return stuck, waiting

    stuck, waiting = await retried(runtime, take)
    count = len(stuck) + len(waiting)
    if count:
        with span("hand on", requests=count, stuck=len(stuck)):
            await send_out(runtime, broker, [*stuck, *waiting])
    return Round(count, len(stuck), is_full=count >= settings.relay_batch)


async def send_out(runtime: Runtime, broker: Broker, requests: Sequence[HandedOn]) -> None:
    """Send requests that are marked as handed on; those that cannot be sent wait again.

    Raises:
        BrokerUnavailableError: not all were sent.
    """
    messages = messages_of(requests)
    sent = await broker.send(messages)
    for message in messages[:sent]:
        REQUESTS_HANDED_ON.labels(message.kind).inc(len(message.request_ids))
    if sent == len(messages):
        return
    unsent = {key for message in messages[sent:] for key in message.request_ids}

    async def unmark(connection: AsyncConnection) -> None:
        await give_back(connection, [one for one in requests if one.id in unsent])

    await retried(runtime, unmark)
    raise BrokerUnavailableError(f"{len(unsent)} requests could not be sent; they wait again")


def messages_of(requests: Iterable[HandedOn]) -> list[Message]:
    """Put requests together: those of one kind and region, as many as a message takes.

    What was begun before goes alone: it may be what ends the worker, and would take the others
    with it.
    """
    messages: list[Message] = []
    ordered = sorted(requests, key=lambda one: (one.kind, one.region or "", one.attempts, one.id))
    for (kind, _), group in groupby(ordered, key=lambda one: (one.kind, one.region)):
        together = list[int]()
        for request in group:
            if request.attempts:
                messages.append(Message(kind, (request.id,)))
            else:
                together.append(request.id)
        size = MESSAGE_SIZE[kind]
        messages += [
            Message(kind, tuple(together[start : start + size]))
            for start in range(0, len(together), size)
        ]
    return messages
