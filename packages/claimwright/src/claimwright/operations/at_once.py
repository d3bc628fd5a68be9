"""Many pieces of work, so many of them under way at once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")


async def at_once(
    workers: int, items: Iterable[Item], work: Callable[[Item], Awaitable[None]]
) -> None:
    """Do each item's work, so many at a time, in the order of the items.

    Raises:
        BaseException: what the first piece of work that failed raised; the others are cancelled.
    """
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(worker())
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
