"""Workers that are processes of their own: a function of a module, or a command line."""

import inspect
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Final

from contention.wire import workers_runner
from contention.wire.processor_time import family_cpu_seconds
from contention.wire.servers import Links
from contention.wire.virtual_loop import VirtualClockLoop
from contention.wire.workers import Process, WorkerFailedError, WorkerStaysError

if TYPE_CHECKING:
    from asyncio import TimerHandle

_PATIENCE_SECONDS: Final = 2.0
_LAST_WORDS_BYTES: Final = 4_000


class ProcessWorker:
    """A process, and the group of those that it starts.

    Args:
        name: as in ``w1``.
        body: what it runs.
        loop: the kit's own, in which the gates are.
        moved: called when it has ended.
    """

    def __init__(
        self, name: str, body: Process, loop: VirtualClockLoop, moved: Callable[[], None]
    ) -> None:
        self.name = name
        self._body = body
        self._loop = loop
        self._moved = moved
        self._ended = loop.create_future()
        self._outcome: object = None
        self._running: _Running | None = None
        self._waiter: Thread | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended; others that it started may go on until it is stopped."""
        return self._ended.done()

    @property
    def outcome(self) -> object:
        """What its function returned, or the exception that ended it; `None` while it runs."""
        return self._outcome

    @property
    def is_elsewhere(self) -> bool:
        """Whether it runs."""
        return not self._ended.done()

    @property
    def process_id(self) -> int:
        """Of the process; 0 before it begins."""
        return self._running.process.pid if self._running else 0

    @property
    def cpu_seconds(self) -> float:
        """What it and its descendants have computed; 0 where the system does not say."""
        return family_cpu_seconds(self.process_id) if self._running else 0.0

    def asks_at(self, _text: str) -> str:
        """Nothing: another process does not show where it is."""
        return ""

    def has_at_hand(self, _text: str) -> bool:
        """Never: another process does not show where it is."""
        return False

    def tries_for_ever(self) -> bool:
        """Never: another process does not show where it is."""
        return False

    def sleeps(self) -> bool:
        """Never: its time is its own."""
        return False

    def limits(self) -> "Mapping[TimerHandle, float]":
        """None: its time is its own."""
        return {}

    def start(self, links: Links) -> None:
        """Begin the process."""
        try:
            self._running = _Running(self._body, links)
        except OSError as error:
            self._end(error)
            return
        self._waiter = Thread(
            target=self._wait, args=(self._running,), name=f"contention-{self.name}", daemon=True
        )
        self._waiter.start()

    def wake(self, after_seconds: float = 0.0) -> bool:  # noqa: ARG002 - a worker's signature
        """Nothing: its sleeps are real."""
        return False

    async def stop(self) -> None:
        """Terminate the process, kill it if it stays, and whatever it started with it."""
        running, waiter = self._running, self._waiter
        if running is None or waiter is None:
            return
        for kind in (signal.SIGTERM, signal.SIGKILL):
            if not self._ended.done():
                running.send(kind)
                await self._loop.ends_within(self._ended, _PATIENCE_SECONDS)
        if not self._ended.done():
            raise WorkerStaysError(f"{self.name}, process {self.process_id}, cannot be killed")
        waiter.join()
        running.remove()

    def _wait(self, running: "_Running") -> None:
        outcome = running.outcome(self.name, running.wait())
        # The loop is gone if it did not wait for its workers.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end, outcome)

    def _end(self, outcome: object) -> None:
        self._outcome = outcome
        self._ended.set_result(None)
        self._moved()


class _Running:
    """A process that was started, with a folder for what it is told and what it tells.

    It stays a zombie until `remove`: so its number, and its group's, belong to nobody else.
    """

    def __init__(self, body: Process, links: Links) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ct-process-"))
        environment = os.environ | _environment(links)
        environment |= {name: _filled(text, links) for name, text in body.environment.items()}
        try:
            with (self._folder / "stderr").open("wb") as errors:
                self.process = subprocess.Popen(  # noqa: S603 - what the test says
                    _command(body, links, self._folder),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    env=environment,
                    cwd=body.folder,
                    start_new_session=True,
                )
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        # If the interpreter ends first, the process does not outlive it.
        self._at_exit = weakref.finalize(self, _end_at_once, self.process.pid, self._folder)

    def wait(self) -> int:
        """Wait until the process has ended, and leave it a zombie; its exit code."""
        ended = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        assert ended is not None  # noqa: S101 - without WNOHANG it waits
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def send(self, kind: signal.Signals) -> None:
        """Send a signal to the process and all of its group."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, kind)

    def outcome(self, name: str, exit_code: int) -> object:
        """What became of the worker."""
        written = self._folder / "outcome"
        if not written.exists():
            return None if exit_code == 0 else self._failed(name, exit_code, "")
        described = ""
        try:
            told = workers_runner.loaded(written.read_bytes())
            if exit_code == 0:
                return told["value"]
            described = told.get("described", "")
            if told.get("error"):
                return workers_runner.loaded(told["error"])
        except Exception as error:  # noqa: BLE001 - classes of the user's may fail in any way
            described = described or f"what it returned cannot be rebuilt here ({error})"
        return self._failed(name, exit_code, described)

    def _failed(self, name: str, exit_code: int, described: str) -> WorkerFailedError:
        last_words = b""
        with suppress(FileNotFoundError):  # the interpreter ends, and has removed it already
            last_words = (self._folder / "stderr").read_bytes()[-_LAST_WORDS_BYTES:]
        return WorkerFailedError(name, exit_code, described, last_words.decode(errors="replace"))

    def remove(self) -> None:
        """Kill what is left of the group, and forget the process."""
        self._at_exit()
        self.process.wait()


def _end_at_once(process_id: int, folder: Path) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process_id, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def _environment(links: Links) -> dict[str, str]:
    return {f"CONTENTION_{name.upper()}": url for name, url in _urls(links).items()}


def _urls(links: Links) -> dict[str, str]:
    return {
        "postgres_url": links.postgres_url,
        "redis_url": links.redis_url,
        "broker_url": links.broker_url,
    }


def _filled(text: str, links: Links) -> str:
    for name, url in _urls(links).items():
        text = text.replace(f"{{{name}}}", url)
    return text


def _command(body: Process, links: Links, folder: Path) -> list[str]:
    if isinstance(body.target, tuple):
        return [_filled(word, links) for word in body.target]
    module = inspect.getmodule(body.target)
    request = {
        "module": body.target.__module__,
        "name": body.target.__qualname__,
        "file": str(Path(getattr(module, "__file__", None) or "").resolve()) if module else "",
        "links": _urls(links),
        "path": [entry or str(Path.cwd()) for entry in sys.path],
    }
    (folder / "request").write_text(json.dumps(request), encoding="utf-8")
    (folder / "arguments").write_bytes(pickle.dumps(body.arguments))
    # -P: the folder of the runner must not come before the user's modules.
    return [sys.executable, "-P", workers_runner.__file__, str(folder / "request")]
