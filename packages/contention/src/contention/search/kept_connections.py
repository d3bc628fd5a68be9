"""Connections that a worker keeps from an earlier run, in which they were cut."""

from collections.abc import Iterable, Mapping
from typing import Final

from contention.model.steps import Link
from contention.wire.gate import Lane
from contention.wire.postgres import PostgresFraming

_DRIVERS: Final = {
    Link.POSTGRES: frozenset({"asyncpg", "psycopg", "psycopg2", "sqlalchemy"}),
    Link.REDIS: frozenset({"redis"}),
}


class KeptConnections:
    """Remembers which workers have connected to what, in any run of a search.

    A worker is the same in every run up to its first request. So one that has connected before, and
    now ends in its driver's error without having connected, has kept what it had: a connection, an
    engine or a pool that was made outside of the worker.
    """

    def __init__(self) -> None:
        self._have_connected: set[tuple[str, Link]] = set()

    def complaint(self, results: Mapping[str, object], lanes: Iterable[Lane]) -> str:
        """Which worker has kept a connection, as a sentence; empty when none has.

        Args:
            results: what each worker returned or raised in the run that has ended.
            lanes: all connections of that run.
        """
        connected = {(lane.worker, _link(lane)) for lane in lanes}
        for name, result in results.items():
            if not isinstance(result, BaseException):
                continue
            module = type(result).__module__.partition(".")[0]
            for link, drivers in _DRIVERS.items():
                is_missing = (name, link) in self._have_connected - connected
                if is_missing and module in drivers:
                    return _told(name, link, result)
        self._have_connected |= connected
        return ""


def _link(lane: Lane) -> Link:
    return Link.POSTGRES if isinstance(lane.framing, PostgresFraming) else Link.REDIS


def _told(name: str, link: Link, error: BaseException) -> str:
    server = "PostgreSQL" if link is Link.POSTGRES else "Redis"
    return (
        f"{name} raised {type(error).__name__} without having connected to {server}, as it did in "
        "an earlier run: it uses a connection, an engine or a pool from there, and every run cuts "
        "what it opened. Make them inside of the worker"
    )
