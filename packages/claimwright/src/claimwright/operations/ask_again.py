"""Ask for a day once more: harmless, and paid once, however often it is done."""

from dataclasses import dataclass
from datetime import date
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.domain.errors import BrokerUnavailableError
from claimwright.operations.hand_on import Broker, send_out
from claimwright.operations.transactions import retried
from claimwright.runtime import Runtime
from claimwright.storage.handing_on import HandedOn, ask_for_day, take_day

_MOST_BATCHES: Final = 1_000


@dataclass(frozen=True, slots=True)
class DayAsked:
    """What was asked for.

    Attributes:
        requests: calculations of that date: one for each terms, region and zone with events.
        sent: how many of them went to the queue at once; the relay has the others.
    """

    requests: int
    sent: int


async def ask_for_date(runtime: Runtime, broker: Broker, day: date) -> DayAsked:
    """Have every event of a local date calculated again, for every policy it concerns."""
    requests = await retried(runtime, lambda connection: ask_for_day(connection, day))

    async def take(connection: AsyncConnection) -> list[HandedOn]:
        return await take_day(connection, day, limit=runtime.settings.relay_batch)

    sent = 0
    for _ in range(_MOST_BATCHES):
        batch = await retried(runtime, take)
        try:
            await send_out(runtime, broker, batch)
        except BrokerUnavailableError:
            break
        sent += len(batch)
        if len(batch) < runtime.settings.relay_batch:
            break
    return DayAsked(requests, sent)
