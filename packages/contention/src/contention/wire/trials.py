"""How often a worker asks in vain before it does something else, found out by letting it."""

import time
from typing import Final, Protocol

from contention.model.schedules import worker_of
from contention.model.steps import Effect
from contention.wire.actors import Actor
from contention.wire.expiries import Expiries
from contention.wire.lessons import MOST_TRIES

_LONGEST_TRIAL_SECONDS: Final = 2.0


class Moving(Protocol):
    """Whatever offers choices and takes them."""

    def options(self) -> list[str]:
        """What can be chosen."""

    async def step(self, name: str) -> Effect:
        """Take a choice."""


async def tries_of(actor: Actor, stage: Moving, expiries: Expiries) -> int | None:
    """Let a worker that polls go on alone; how often it does before it does something else.

    Where it waits meanwhile under a time limit, that fires.

    Returns:
        `None` if it goes on for longer than anybody waits.

    Raises:
        StageError: the run cannot be judged.
    """
    until = time.monotonic() + _LONGEST_TRIAL_SECONDS
    tries = actor.polls.idle
    while actor.is_parked and actor.name in stage.options():
        is_late = actor.worker.is_elsewhere and time.monotonic() > until
        if tries >= MOST_TRIES or is_late:
            return None
        await stage.step(actor.name)
        for option in expiries.options():
            if worker_of(option) == actor.name:
                await stage.step(option)
                break
        tries += 1
    return tries
