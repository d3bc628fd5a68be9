"""Both servers as one context: started by the first user, stopped with the last."""

import os
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import NoReturn

from claimwright.domain.errors import EmbeddedServerError
from claimwright.embedded.addresses import ServerAddresses, server_addresses
from claimwright.embedded.databases import ensure_roles_and_database
from claimwright.embedded.layout import Layout, open_folder, prepare_layout, remove_folder
from claimwright.embedded.postgres import ensure_postgres, stop_postgres
from claimwright.embedded.sharing import Membership, nobody_uses, turn
from claimwright.embedded.valkey import ensure_valkey, stop_valkey

NO_SETTINGS: Mapping[str, str] = MappingProxyType({})

_TURN_FILE = "turn.lock"
_SWEEP_LIMIT = 20


@contextmanager
def embedded_servers(folder: Path) -> Iterator[ServerAddresses]:
    """Use the PostgreSQL and the Valkey of ``folder``, together with whoever else uses them.

    The first user starts them, the last one to leave stops them: after an exception, Ctrl-C,
    SIGTERM and SIGHUP too (the last two where nothing else handles them). A user that was killed
    outright no longer counts, so that the next one to leave stops what it left running. PostgreSQL
    keeps its data in ``folder`` with fsync and synchronous commit on; Valkey keeps nothing.

    The servers belong to this system user and listen on unix sockets that nobody else but root can
    reach. When root uses them they run as the system user ``embedded_postgres``, which is made if
    it is missing, and ``folder`` must lie where that user can go; no existing folder's permissions
    are changed.

    Raises:
        EmbeddedServerError: the wheels are missing, ``folder`` cannot be used, or a server did not
            start in time.
    """
    absolute = open_folder(folder)
    with _left_on_signals(), _joined(absolute, Membership(absolute), NO_SETTINGS) as addresses:
        yield addresses


@contextmanager
def temporary_servers(
    *, postgres_settings: Mapping[str, str] = NO_SETTINGS
) -> Iterator[ServerAddresses]:
    """Run fresh servers in a temporary folder and delete it afterwards; for tests and benchmarks.

    What a killed process left behind in this way is stopped and deleted first.

    Args:
        postgres_settings: server parameters by name, such as ``{"fsync": "off"}``.

    Raises:
        EmbeddedServerError: as `embedded_servers`.
    """
    with _left_on_signals():
        folder, membership = _fresh_folder()
        with _joined(folder, membership, postgres_settings, delete=True) as addresses:
            yield addresses


@contextmanager
def _joined(
    folder: Path, membership: Membership, settings: Mapping[str, str], *, delete: bool = False
) -> Iterator[ServerAddresses]:
    try:
        with turn(folder / _TURN_FILE):
            layout = prepare_layout(folder)
    except BaseException:
        membership.end()
        if delete:
            remove_folder(folder)
        raise
    try:
        with turn(folder / _TURN_FILE):
            _start(layout, settings)
        yield server_addresses(
            folder=folder, sockets=layout.sockets, valkey_socket=layout.valkey_socket
        )
    finally:
        _leave(layout, membership, delete=delete)


def _start(layout: Layout, settings: Mapping[str, str]) -> None:
    """Bring both servers up, in a thread, so that a signal finds them either absent or up.

    A signal interrupts the waiting of the main thread, which then waits on for the end of the
    work: a server caught in the middle of its start could not be reached to stop it.
    """
    with ThreadPoolExecutor(max_workers=1) as executor:
        executor.submit(_ensure_servers, layout, settings).result()


def _ensure_servers(layout: Layout, settings: Mapping[str, str]) -> None:
    ensure_postgres(layout, settings)
    ensure_roles_and_database(layout)
    ensure_valkey(layout)


def _leave(layout: Layout, membership: Membership, *, delete: bool) -> None:
    try:
        with turn(layout.folder / _TURN_FILE):
            membership.end()
            if nobody_uses(layout.folder):
                _stop(layout, delete=delete)
    finally:
        membership.end()


def _stop(layout: Layout, *, delete: bool) -> None:
    try:
        stop_valkey(layout)
    finally:
        stop_postgres(layout)
    if delete:
        remove_folder(layout.folder)


def _fresh_folder() -> tuple[Path, Membership]:
    """Make a temporary folder that counts as used from the start, after clearing up dead ones."""
    parent = Path(tempfile.gettempdir()).resolve()
    prefix = f"claimwright-temporary-{os.geteuid()}"
    with turn(parent / f"{prefix}.lock"):
        for folder in sorted(parent.glob(f"{prefix}-*"))[:_SWEEP_LIMIT]:
            _clear_up(folder)
        fresh = Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=parent))
        if os.geteuid() == 0:
            fresh.chmod(0o711)
        return fresh, Membership(fresh)


def _clear_up(folder: Path) -> None:
    """Stop and delete the servers of a temporary folder whose users are all dead.

    Whatever state it is in, even half deleted by its last user at this moment, it must not hinder
    those who come after.
    """
    with suppress(EmbeddedServerError, FileNotFoundError):
        if folder.lstat().st_uid != os.geteuid() or not nobody_uses(folder):
            return
        with turn(folder / _TURN_FILE):
            if nobody_uses(folder):
                _stop(prepare_layout(folder), delete=True)


@contextmanager
def _left_on_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit where they would end the process on the spot."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in ours:
        signal.signal(number, _exit_once)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _exit_once(number: int, _frame: FrameType | None) -> NoReturn:
    # A second signal must not interrupt the stopping of the servers that the first one began.
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)
