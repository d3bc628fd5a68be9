"""A PostgreSQL of the kit's own for specs, for as long as a run takes."""

import contextlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from contention.isolation.errors import ServerError
from contention.wire.embedded import embedded_postgres, own_folder
from contention.wire.servers import UnusableServerError

SETTINGS: Mapping[str, str] = {
    "max_prepared_transactions": "10",
    "wal_level": "logical",
    "logical_decoding_work_mem": "64kB",
    "autovacuum_naptime": "1d",
    "fsync": "off",
}
"""Specs prepare transactions and decode logs, and an autovacuum now and then would disturb them;
nothing here has to survive a power cut."""


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
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(own_folder())
            server = stack.enter_context(
                embedded_postgres(folder / "postgres", {**SETTINGS, **settings})
            )
        except UnusableServerError as error:
            raise ServerError(str(error)) from error
        yield server.url
