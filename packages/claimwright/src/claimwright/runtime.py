"""Where settings become servers, engines and clients: in one place, for whoever runs the engine.

`open_runtime` is for programs. `current_runtime` and `get_session` are for code that wants the
default one: it is made on first use, once per event loop, from the environment.
"""

import asyncio
import atexit
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Thread
from weakref import WeakKeyDictionary

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from claimwright.embedded import ServerAddresses, embedded_servers
from claimwright.locks import LeaseOptions, make_redis_client
from claimwright.settings import Settings, load_settings
from claimwright.storage.database import TransactionLimits, make_engine, make_sessions
from claimwright.storage.schema import upgrade_now


@dataclass(frozen=True, slots=True)
class Addresses:
    """The servers that settings lead to.

    Attributes:
        folder: where the embedded servers keep their data; `None` when both are yours.
    """

    database_url: str
    owner_database_url: str
    redis_url: str
    folder: Path | None


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything an operation needs to reach its servers; made once, passed on."""

    settings: Settings
    addresses: Addresses
    engine: AsyncEngine
    sessions: async_sessionmaker[AsyncSession]
    redis: Redis

    @property
    def lease_options(self) -> LeaseOptions:
        """How the settings want leases taken."""
        return LeaseOptions(
            timeout_seconds=self.settings.lease_seconds,
            blocking_timeout_seconds=self.settings.lease_wait_seconds,
            patience_ms=self.settings.redis_patience_ms,
            breaker_seconds=self.settings.lease_breaker_seconds,
            required=self.settings.require_lease,
        )

    async def close(self) -> None:
        """Close every connection; the servers stay up."""
        await self.redis.aclose()
        await self.engine.dispose()


def reach_servers(settings: Settings, stack: ExitStack) -> Addresses:
    """The addresses that settings name; what they do not name runs embedded until the stack ends.

    An embedded database is brought to the newest schema at once: nobody else looks after it.

    Raises:
        EmbeddedServerError: an embedded server is needed and does not start.
    """
    embedded: ServerAddresses | None = None
    if settings.database_url is None or settings.redis_url is None:
        embedded = stack.enter_context(embedded_servers(settings.data_folder))
    if settings.database_url is not None:
        database_url = settings.database_url.get_secret_value()
        owner = settings.owner_database_url
        owner_url = owner.get_secret_value() if owner else database_url
    else:
        assert embedded is not None  # noqa: S101 - the line above saw to it
        database_url, owner_url = embedded.database_url, embedded.owner_database_url
        _apart_from_any_loop(lambda: upgrade_now(owner_url))
    if settings.redis_url is not None:
        redis_url = settings.redis_url.get_secret_value()
    else:
        assert embedded is not None  # noqa: S101 - the first line saw to it
        redis_url = embedded.redis_url
    return Addresses(database_url, owner_url, redis_url, embedded.folder if embedded else None)


def make_runtime(settings: Settings, addresses: Addresses) -> Runtime:
    """Engines and clients for the running event loop; nothing is connected yet."""
    engine = make_engine(
        addresses.database_url,
        limits=TransactionLimits.of(settings),
        pool_size=settings.pool_size,
    )
    redis = make_redis_client(addresses.redis_url)
    return Runtime(settings, addresses, engine, make_sessions(engine), redis)


@asynccontextmanager
async def open_runtime(settings: Settings, addresses: Addresses) -> AsyncIterator[Runtime]:
    """A runtime whose connections are closed at the end."""
    runtime = make_runtime(settings, addresses)
    try:
        yield runtime
    finally:
        await runtime.close()


_runtimes: WeakKeyDictionary[asyncio.AbstractEventLoop, Runtime] = WeakKeyDictionary()
_keepers: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = (
    WeakKeyDictionary()
)


def current_runtime() -> Runtime:
    """The default runtime of the running event loop, made from the environment on first use.

    It is closed with the loop, as by `asyncio.run`, or before by `close_current_runtime`.
    """
    loop = asyncio.get_running_loop()
    if loop not in _runtimes:
        settings, addresses = process_servers()
        _runtimes[loop] = make_runtime(settings, addresses)
        _keepers[loop] = _closed_with_the_loop()
        _begin(_keepers[loop])
    return _runtimes[loop]


async def close_current_runtime() -> None:
    """Close the default runtime of the running event loop, if there is one."""
    keeper = _keepers.pop(asyncio.get_running_loop(), None)
    await _close_runtime()
    if keeper is not None:
        await keeper.aclose()


async def _close_runtime() -> None:
    runtime = _runtimes.pop(asyncio.get_running_loop(), None)
    if runtime is not None:
        await runtime.close()


async def _closed_with_the_loop() -> AsyncGenerator[None, None]:
    """Held open by the loop, which closes its asynchronous generators before it ends."""
    try:
        yield
    finally:
        await _close_runtime()


_beginning: set[asyncio.Task[None]] = set()


def _begin(keeper: AsyncGenerator[None, None]) -> None:
    async def begin() -> None:
        await anext(keeper)

    task = asyncio.get_running_loop().create_task(begin())
    _beginning.add(task)
    task.add_done_callback(_beginning.discard)


def get_session() -> AsyncSession:
    """Open a new session on the default runtime's database, to be used with ``async with``."""
    return current_runtime().sessions()


@lru_cache(maxsize=1)
def process_servers() -> tuple[Settings, Addresses]:
    """What the environment says, and where it leads: read once, held until the process ends.

    Raises:
        InvalidInputError: the environment is not valid.
        EmbeddedServerError: an embedded server is needed and does not start.
    """
    settings = load_settings()
    stack = ExitStack()
    addresses = reach_servers(settings, stack)
    atexit.register(stack.close)
    return settings, addresses


def _apart_from_any_loop(work: Callable[[], None]) -> None:
    """Run blocking work that needs an event loop of its own, wherever the caller is."""
    failures: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - handed to the caller below
            failures.append(error)

    thread = Thread(target=run, name="claimwright-schema")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
