"""A server of the kit's own does not outlive its run, whenever the run is interrupted."""

import os
import signal
from pathlib import Path
from types import ModuleType

import pytest

from contention.isolation.servers import running_server


class WheelInterruptedByCtrlC(ModuleType):
    """Stands in for the wheel's module and is interrupted in the middle of a start."""

    is_running = False

    def get_server(self, data: Path, *, cleanup_mode: str) -> "WheelInterruptedByCtrlC":
        assert (data, cleanup_mode) == (Path("data"), "stop")
        self.is_running = True
        os.kill(os.getpid(), signal.SIGINT)
        return self

    def get_uri(self) -> str:
        return "postgresql://"

    def cleanup(self) -> None:
        self.is_running = False


def test_ctrl_c_during_a_start_stops_the_server_that_was_started() -> None:
    wheel = WheelInterruptedByCtrlC("wheel")
    with pytest.raises(KeyboardInterrupt), running_server(wheel, Path("data")):
        pytest.fail("it went on")
    assert not wheel.is_running
