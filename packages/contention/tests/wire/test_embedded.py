"""A server of the kit's own does not outlive its run, whenever the run is interrupted."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from types import ModuleType

import pytest

from contention.wire.embedded import running_server


class WheelInterruptedByCtrlC(ModuleType):
    """Stands in for the wheel's module and is interrupted in the middle of a start."""

    is_running = False

    def __init__(self, interrupt: Callable[[], None]) -> None:
        super().__init__("wheel")
        self._interrupt = interrupt

    def get_server(self, data: Path, *, cleanup_mode: str) -> "WheelInterruptedByCtrlC":
        assert (data, cleanup_mode) == (Path("data"), "stop")
        self.is_running = True
        self._interrupt()
        return self

    def get_uri(self) -> str:
        return "postgresql://"

    def cleanup(self) -> None:
        self.is_running = False


def interrupted_start(interrupt: Callable[[], None]) -> WheelInterruptedByCtrlC:
    wheel = WheelInterruptedByCtrlC(interrupt)
    with pytest.raises(KeyboardInterrupt), running_server(wheel, Path("data")):
        pytest.fail("it went on")
    return wheel


def test_ctrl_c_during_a_start_stops_the_server_that_was_started() -> None:
    wheel = interrupted_start(lambda: os.kill(os.getpid(), signal.SIGINT))
    assert not wheel.is_running


@contextmanager
def another_thread() -> Iterator[Callable[[], None]]:
    """Sends Ctrl-C to a thread that is not the main one, and returns once it has arrived."""
    may_end, (arrived, tells) = Event(), socket.socketpair()
    tells.setblocking(False)  # noqa: FBT003 - the socket's own signature
    before = signal.set_wakeup_fd(tells.fileno())
    other = Thread(target=may_end.wait)
    other.start()

    def interrupt() -> None:
        signal.pthread_kill(other.ident or 0, signal.SIGINT)
        arrived.recv(1)

    try:
        yield interrupt
    finally:
        signal.set_wakeup_fd(before)
        may_end.set()
        other.join()
        arrived.close()
        tells.close()


def test_ctrl_c_that_another_thread_receives_stops_it_too() -> None:
    with another_thread() as interrupt:
        wheel = interrupted_start(interrupt)
    assert not wheel.is_running


def test_ctrl_c_just_before_a_stop_does_not_prevent_it() -> None:
    class InterruptedStop(WheelInterruptedByCtrlC):
        stops = 0

        def cleanup(self) -> None:
            self.stops += 1
            if self.stops == 1:
                raise KeyboardInterrupt
            super().cleanup()

    wheel = InterruptedStop(lambda: None)
    with pytest.raises(KeyboardInterrupt), running_server(wheel, Path("data")):
        pass
    assert not wheel.is_running
