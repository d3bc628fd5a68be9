"""Metrics by HTTP: of this process, or of all processes of a worker together."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector

from claimwright.domain.errors import InvalidInputError
from claimwright.metrics import REGISTRY

_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX: Final = "claimwright-metrics-"


def share_metrics_between_processes() -> None:
    """Begin this program anew, with a folder in which its processes count together.

    Metrics look for the folder when they are defined, which has happened. Nothing is done where
    the environment names one.
    """
    if _VARIABLE not in os.environ:
        folder = tempfile.mkdtemp(prefix=_PREFIX)
        arguments = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, arguments, {**os.environ, _VARIABLE: folder})  # noqa: S606 - itself


@contextmanager
def metrics_served(host: str, port: int | None) -> Iterator[None]:
    """Serve the metrics at ``/metrics`` while the block runs; nothing without a port.

    Raises:
        InvalidInputError: the port cannot be listened on.
    """
    if port is None:
        yield
        return
    folder = os.environ.get(_VARIABLE)
    registry = REGISTRY
    if folder:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        reason = error.strerror or error
        raise InvalidInputError(f"metrics cannot be served at {host}:{port}: {reason}") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        if folder and os.path.basename(folder).startswith(_PREFIX):  # noqa: PTH119 - text from outside
            shutil.rmtree(folder, ignore_errors=True)
