"""From a command to an operation: settings, servers, event loop, errors and exit codes."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import TypeVar

from asyncpg.exceptions import ClientConfigurationError
from rich.markup import escape
from sqlalchemy.exc import DBAPIError

from claimwright.cli.output import messages
from claimwright.domain.errors import (
    CalculationError,
    ClaimwrightError,
    DatabaseUnavailableError,
    InvalidInputError,
)
from claimwright.runtime import Addresses, Runtime, open_runtime, reach_servers
from claimwright.settings import Settings, load_settings
from claimwright.storage.schema import current_revision, newest_revision
from claimwright.storage.transients import is_transient, is_unfit_value, sqlstate_of

Outcome = TypeVar("Outcome")

# SQLSTATEs: no connection, a role or a database that is not there or not allowed, no resources.
_UNUSABLE = ("08", "28", "3D", "42501", "53", "57P")


def run(operation: Callable[[Runtime], Awaitable[Outcome]]) -> Outcome:
    """Run an operation on the servers the environment names, embedded ones by default.

    Raises:
        ClaimwrightError: whatever the operation raises; servers that cannot be reached, or whose
            schema is of another version, are a `DatabaseUnavailableError`, and locks that did
            not come in time a `CalculationError`.
    """
    settings = load_settings()
    with servers_of(settings) as addresses:
        return asyncio.run(_run(operation, settings, addresses))


@contextmanager
def servers_of(settings: Settings) -> Iterator[Addresses]:
    """The servers that settings name; where embedded ones keep their data is said.

    Ctrl-C does not interrupt the stopping of embedded servers at the end: it would leave them
    running.
    """
    with _interrupts_as_before(), ExitStack() as stack:
        addresses = reach_servers(settings, stack)
        if addresses.folder is not None:
            folder = escape(str(addresses.folder))
            messages.print(f"[dim]Embedded servers; data in {folder}[/dim]", soft_wrap=True)
            stack.callback(_hold_interrupts)  # the first to be called at the end
        yield addresses


@contextmanager
def _interrupts_as_before() -> Iterator[None]:
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, on_interrupt)


def _hold_interrupts() -> None:
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _say_what_is_waited_for)


def _say_what_is_waited_for(_number: int, _frame: FrameType | None) -> None:
    messages.print("The embedded servers are being stopped.")


async def _run(
    operation: Callable[[Runtime], Awaitable[Outcome]], settings: Settings, addresses: Addresses
) -> Outcome:
    async with open_runtime(settings, addresses) as runtime:
        with database_errors_in_our_words():
            await require_schema(runtime)
            return await operation(runtime)


@contextmanager
def database_errors_in_our_words() -> Iterator[None]:
    """Turn what PostgreSQL and its driver raise into errors that say what to do.

    Raises:
        InvalidInputError: a value that PostgreSQL cannot hold, or an address it cannot be used by.
        DatabaseUnavailableError: PostgreSQL cannot be reached, or refuses the role.
        CalculationError: it gave up waiting.
    """
    try:
        yield
    except (DBAPIError, OSError) as error:
        told = _in_our_words(error)
        if told is None:
            raise
        raise told from error


def _in_our_words(error: DBAPIError | OSError) -> ClaimwrightError | None:
    """What an error of the database is to whoever runs a command; `None` for a defect of ours."""
    if isinstance(_cause(error), ClientConfigurationError):
        return InvalidInputError(
            f"PostgreSQL cannot be used as its address and environment say: {_first_line(error)}"
        )
    if is_unfit_value(error):
        return InvalidInputError(
            f"PostgreSQL cannot hold a value that was given: {_first_line(error)}"
        )
    state = sqlstate_of(error)
    if state is not None and state.startswith(_UNUSABLE):
        return DatabaseUnavailableError(
            f"PostgreSQL cannot be used ({state}: {_first_line(error)})"
        )
    if is_transient(error):
        return CalculationError(
            f"PostgreSQL gave up waiting ({state}: {_first_line(error)}); "
            "nothing is half done, run it again"
        )
    return None


async def check_schema(settings: Settings, addresses: Addresses) -> None:
    """See that the database can be reached and has this version's schema.

    Raises:
        DatabaseUnavailableError: one of them is not so.
    """

    async def nothing(_runtime: Runtime) -> None:
        """There is nothing else to do."""

    await _run(nothing, settings, addresses)


async def require_schema(runtime: Runtime) -> None:
    """See that the database has this version's schema.

    Raises:
        DatabaseUnavailableError: it has none, or another one.
    """
    async with runtime.engine.connect() as connection:
        found = await current_revision(connection)
    if found != newest_revision():
        state = f"revision {found}" if found else "no schema"
        raise DatabaseUnavailableError(
            f"the database has {state}, this version needs {newest_revision()}: "
            "run `claimwright init`"
        )


def _cause(error: Exception) -> BaseException | None:
    """What the driver raised, behind SQLAlchemy's error."""
    return getattr(getattr(error, "orig", None), "__cause__", None)


def _first_line(error: Exception) -> str:
    source = error.orig if isinstance(error, DBAPIError) else error
    return str(source).partition("\n")[0].rpartition(">: ")[2]
