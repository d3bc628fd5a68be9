"""Calling what a test gives beside its workers: async functions, and ordinary ones in a thread."""

import asyncio
import inspect
from collections.abc import Callable

from contention.wire.servers import Links
from contention.wire.workers_kinds import is_async


async def called(function: Callable[[Links], object], links: Links) -> object:
    """What a function returns; the loop of the gates behind its links turns meanwhile."""
    found = function(links) if is_async(function) else await asyncio.to_thread(function, links)
    return await found if inspect.isawaitable(found) else found
