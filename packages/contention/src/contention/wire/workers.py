"""The workers of a run: each an ordinary function or program with addresses of its own.

A worker is an async function (a task of the kit's own loop), any other function (a thread) or a
`Process`; the modules beside this one run them. To the stage they are all a `Worker`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from contention.wire.servers import Links

if TYPE_CHECKING:
    from asyncio import TimerHandle


@dataclass(frozen=True, slots=True)
class Process:
    """A worker that is a process of its own.

    Attributes:
        target: a function that its module has by name, or a command and its arguments.
        arguments: for the function, after its links; they can be pickled.
        environment: added to the kit's own. A command finds its links in it as
            ``CONTENTION_POSTGRES_URL``, ``CONTENTION_REDIS_URL`` and ``CONTENTION_BROKER_URL``,
            and wherever it says ``{postgres_url}``, ``{redis_url}`` or ``{broker_url}``.
        folder: where it begins; the kit's own when `None`.
    """

    target: Callable[..., object] | tuple[str, ...]
    arguments: tuple[object, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None

    def __post_init__(self) -> None:
        if isinstance(self.target, tuple):
            if not self.target or not all(isinstance(word, str) for word in self.target):
                raise ValueError("a command is a list of words: process(['python', 'worker.py'])")
            if self.arguments:
                raise ValueError("the arguments of a command belong into its list of words")
        elif not _has_a_name(self.target):
            raise ValueError(
                f"{self.target!r} cannot be found by name in another process: "
                "give a function defined at the top of a module"
            )

    @property
    def name(self) -> str:
        """The function's name, or the command."""
        return self.target[0] if isinstance(self.target, tuple) else self.target.__qualname__


def process(
    target: Callable[..., object] | list[str] | tuple[str, ...],
    *arguments: object,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Process:
    """A worker that is a process of its own: a function of a module, or a command line.

    Raises:
        ValueError: the function has no name by which another process finds it, or the command
            is no list of words.
    """
    if isinstance(target, str):
        raise ValueError("a command is a list of words: process(['python', 'worker.py'])")  # noqa: TRY004 - one error for every bad target
    if isinstance(target, list):
        target = tuple(target)
    return Process(target, arguments, dict(environment or {}), folder)


def _has_a_name(function: Callable[..., object]) -> bool:
    path = getattr(function, "__qualname__", "<no name>")
    return "<" not in path and bool(getattr(function, "__module__", ""))


Body = Callable[[Links], object] | Process
"""What plays a worker: an async function, any other function, or a `Process`."""


class WorkerFailedError(Exception):
    """How a worker's process ended, when its own exception cannot be rebuilt here.

    Attributes:
        worker: as in ``w1``.
        exit_code: of the process; negative for the signal that ended it.
        described: the exception's class and message; empty when there was none.
        last_words: the end of what it wrote to its standard error.
    """

    def __init__(self, worker: str, exit_code: int, described: str, last_words: str) -> None:
        super().__init__(worker, exit_code, described, last_words)
        self.worker = worker
        self.exit_code = exit_code
        self.described = described
        self.last_words = last_words

    def __str__(self) -> str:
        how = self.described or f"its process ended with {self.exit_code}"
        return f"{how}\n{self.last_words}".rstrip()


class WorkerStaysError(Exception):
    """A worker that did not end although its connections were cut and it was told to."""


class Worker(Protocol):
    """Something that runs behind gates, from `start` until it has ended or is stopped."""

    name: str

    @property
    def has_ended(self) -> bool:
        """Whether it has returned, raised or been stopped."""

    @property
    def outcome(self) -> object:
        """What it returned, or the exception that ended it; `None` while it runs."""

    @property
    def is_elsewhere(self) -> bool:
        """Whether it goes on beside the kit's loop, which cannot see when it has nothing to do."""

    @property
    def cpu_seconds(self) -> float:
        """How much it has computed so far, as far as can be told apart."""

    def asks_at(self, text: str) -> str:
        """Where in its code it asks for something, as in ``shop.py:12``; empty if not known.

        Args:
            text: the request in words, which the worker waits to be answered.
        """

    def has_at_hand(self, text: str) -> bool:
        """Whether it is seen to stand in a driver that has this request's text at hand."""

    def tries_for_ever(self) -> bool:
        """Whether it is seen to stand in a library's lock that it tries to get without limit."""

    def sleeps(self) -> bool:
        """Whether something of it sleeps in a time that is the kit's to move."""

    def limits(self) -> "Mapping[TimerHandle, float]":
        """The time limits of its own that run, and in how many seconds each fires.

        None where its time is not the kit's to move, and while something of it sleeps.
        """

    def start(self, links: Links) -> None:
        """Let it begin, with links of its own."""

    def wake(self, after_seconds: float = 0.0) -> bool:
        """Let time pass for it until its earliest timer fires, or longer; whether it has one.

        Nothing passes for one whose time is not the kit's to move.
        """

    async def stop(self) -> None:
        """End it; its gates are closed already. It has ended when this returns.

        Raises:
            WorkerStaysError: it cannot be ended.
        """
