"""Where in the user's code a worker asks: read off its tasks and threads, changing nothing.

A task that waits shows what it waits for, down to the driver: the innermost frame of the user's is
the line that asked. A thread shows its stack. Where several tasks of a worker wait at once, only
one that has the request's own text at hand counts; in doubt there is no line.
"""

import asyncio
import gc
import inspect
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType
from typing import Any, Final

from contention.wire.user_frames import Owner, asked_in, outwards, owner_of, place_in

_MOST_AWAITS: Final = 1_000
_MOST_VALUES: Final = 50
_SHORTEST_TEXT: Final = 3
_ACQUIRING: Final = frozenset({("redis.lock", "acquire"), ("redis.asyncio.lock", "acquire")})
_CLEANING: Final = frozenset(
    {
        "_StatementCache._on_entry_expired",
        "PoolConnectionHolder._deactivate_inactive_connection",
    }
)
_PSYCOPG_WAITING: Final = "psycopg.waiting"
_GREENLET_SPAWN: Final = "greenlet_spawn"
"""SQLAlchemy's coroutine that runs synchronous code beside a task, which it keeps as `context`."""


@dataclass(frozen=True, slots=True)
class Birth:
    """How a task began.

    Attributes:
        worker: whose it is.
        place: the user's line that began it; empty if none did.
    """

    worker: str
    place: str


def line_of_tasks(
    tasks: Iterable[tuple[asyncio.Task[Any], Birth]], text: str, codes: Sequence[CodeType] = ()
) -> str:
    """The line at which one of a worker's tasks asks for something.

    Args:
        tasks: those of the worker that have not ended.
        text: the request in words.
        codes: of the worker's function, see `asked_in`.
    """
    asking = [(_chain(task), birth) for task, birth in tasks]
    asking = [one for one in asking if any(owner_of(frame) is Owner.PACKAGE for frame in one[0])]
    if len(asking) > 1:
        asking = [one for one in asking if _mentions(one[0], text)]
    places = {asked_in(frames, codes) or birth.place for frames, birth in asking}
    return places.pop() if len(places) == 1 else ""


def tasks_have_at_hand(tasks: Iterable[tuple[asyncio.Task[Any], Birth]], text: str) -> bool:
    """Whether a driver in which one of these tasks waits has the request's text at hand."""
    return any(_mentions(_chain(task), text) for task, _ in tasks)


def thread_has_at_hand(thread_id: int, text: str) -> bool:
    """Whether a driver in which a thread stands has the request's text at hand."""
    return _mentions(outwards(sys._current_frames().get(thread_id)), text)  # noqa: SLF001 - documented so


def tasks_try_for_ever(tasks: Iterable[tuple[asyncio.Task[Any], Birth]]) -> bool:
    """Whether each of these tasks stands in a lock of redis-py that it tries to get for ever."""
    chains = [_chain(task) for task, _ in tasks]
    asking = [one for one in chains if any(owner_of(frame) is Owner.PACKAGE for frame in one)]
    return bool(asking) and all(any(map(_tries_for_ever, frames)) for frames in asking)


def thread_tries_for_ever(thread_id: int) -> bool:
    """Whether a thread stands in a lock of redis-py that it tries to get for ever."""
    frames = outwards(sys._current_frames().get(thread_id))  # noqa: SLF001 - documented so
    return any(map(_tries_for_ever, frames))


def _tries_for_ever(frame: FrameType) -> bool:
    """`Lock.acquire` of redis-py, 4 to 8, without a moment at which it stops."""
    if (frame.f_globals.get("__name__"), frame.f_code.co_name) not in _ACQUIRING:
        return False
    variables = frame.f_locals
    return variables.get("stop_trying_at", "") is None and bool(variables.get("blocking"))


def is_limit(timer: asyncio.TimerHandle, tasks: Iterable[tuple[asyncio.Task[Any], Birth]]) -> bool:
    """Whether a worker's timer may end what it waits for.

    asyncpg's clean up what has not been used for long. psycopg, from 3.3 on, looks at its socket
    again and again, and keeps a limit beside the timer.
    """
    call = timer._callback  # type: ignore[attr-defined]  # noqa: SLF001 - no public name
    if getattr(call, "__module__", "") != _PSYCOPG_WAITING:
        return getattr(call, "__qualname__", "") not in _CLEANING
    waits = [
        frame
        for task, _ in tasks
        for frame in _chain(task)
        if frame.f_globals.get("__name__") == _PSYCOPG_WAITING
    ]
    return any(frame.f_locals.get("deadline", "") is not None for frame in waits)


def line_of_thread(thread_id: int, codes: Sequence[CodeType] = ()) -> str:
    """The line at which a thread asks; empty when it waits for another thread to ask."""
    frames = list(outwards(sys._current_frames().get(thread_id)))  # noqa: SLF001 - documented so
    inner = _inside(frames)
    if inner and not any(owner_of(frame) is Owner.PACKAGE for frame in inner):
        return ""
    return asked_in(frames, codes)


def _inside(frames: Iterable[FrameType]) -> list[FrameType]:
    """The frames that the user's innermost one has called, directly or not."""
    inner = []
    for frame in frames:
        if owner_of(frame) is Owner.USER:
            break
        inner.append(frame)
    return inner


def _chain(task: asyncio.Task[Any]) -> list[FrameType]:
    """The frames in which a task that waits stands, from the innermost on."""
    frames: list[FrameType] = []
    awaited: object = task.get_coro()
    for _ in range(_MOST_AWAITS):
        if awaited is None:
            break
        frame = _frame_of(awaited)
        if frame is not None:
            frames += [frame, *_beside(frame)]
        awaited = _awaited_by(awaited)
    return frames[::-1]


def _frame_of(awaited: object) -> FrameType | None:
    for name in ("cr_frame", "gi_frame", "ag_frame"):
        frame = getattr(awaited, name, None)
        if isinstance(frame, FrameType):
            return frame
    return None


def _awaited_by(awaited: object) -> object:
    """What something to await waits for itself."""
    for name in ("cr_await", "gi_yieldfrom", "ag_await"):
        if hasattr(awaited, name):
            return getattr(awaited, name)
    if isinstance(awaited, asyncio.Future):
        return None
    # What `anext` and `__await__` return shows nothing, but holds what it goes on with.
    kinds = (CoroutineType, GeneratorType, AsyncGeneratorType)
    return next((one for one in gc.get_referents(awaited) if isinstance(one, kinds)), None)


def _beside(frame: FrameType) -> list[FrameType]:
    """The frames of synchronous code that runs beside a coroutine, from the outermost on."""
    if frame.f_code.co_name != _GREENLET_SPAWN or owner_of(frame) is not Owner.PACKAGE:
        return []
    inner = getattr(frame.f_locals.get("context"), "gr_frame", None)
    return list(outwards(inner))[::-1] if isinstance(inner, FrameType) else []


def _mentions(frames: Iterable[FrameType], text: str) -> bool:
    """Whether the driver's frames have the request's text, or all of its words, at hand."""
    return any(
        _is_in(value, text) for frame in _inside(frames) for value in _values_of(frame.f_locals)
    )


def _values_of(variables: dict[str, object]) -> Iterator[object]:
    for value in list(variables.values())[:_MOST_VALUES]:
        yield value
        if type(value).__name__ == "PostgresQuery":
            yield getattr(value, "query", None)  # psycopg keeps the text as it sends it


def _is_in(value: object, text: str) -> bool:
    if isinstance(value, tuple):
        return bool(value) and " ".join(map(_word, value)) == text
    if isinstance(value, str | bytes):
        word = _word(value)
        return len(word) > _SHORTEST_TEXT and text.startswith(word)
    return False


def _word(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def birth_of(worker: str) -> Birth:
    """How the task begins that is being made for a worker, by whoever calls now."""
    return Birth(worker, place_in(outwards(inspect.currentframe())))
