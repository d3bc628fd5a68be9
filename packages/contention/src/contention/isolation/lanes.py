"""Connections of a test: one for each session and one that watches and sets up.

They are libpq's own (psycopg's low-level layer), because what an isolation test prints depends on
when libpq hands out notices, results and notifications.
"""

import contextlib
import select
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from psycopg import OperationalError, pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

from contention.isolation.errors import ServerError
from contention.isolation.spec import PlannedStep

CONTROL_NAME = "control connection"

POLL_SECONDS = 0.01
"""How long a reply may take before the server is asked whether the session waits for a lock."""

_CONNECT_SECONDS = 15
_CLOSE_SECONDS = 10
_COPY = frozenset({ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH})
_BLOCKED_PROBE = b"contention_is_blocked"

_SESSION_OPTIONS = (
    r"-c TimeZone=America/Los_Angeles -c DateStyle=Postgres,\ MDY"
    r" -c IntervalStyle=postgres_verbose"
)
"""What PostgreSQL's own regression driver gives each connection."""

_APPEND_TO_APPLICATION_NAME = (
    b"SELECT set_config('application_name', current_setting('application_name') || '/' || $1, "
    b"false)"
)


@dataclass(slots=True)
class Running:
    """A step that was sent and whose end is not reported yet."""

    planned: PlannedStep
    notice_targets: dict[int, int]
    """For each ``notices`` marker, by its index: the total its session must have sent."""


@dataclass(slots=True)
class Lane:
    """One session's connection and what runs on it."""

    name: str
    connection: PGconn
    running: Running | None = None
    notices: int = field(default=0)

    @property
    def pid(self) -> int:
        """The server process of this connection."""
        return self.connection.backend_pid


def conninfo_for(url: str, *, test_name: str, options: str = "") -> str:
    """Return ``url`` with what the regression driver sets for each connection of a test.

    ``options`` are further settings in the form of ``PGOPTIONS``; they come last.

    Raises:
        ServerError: ``url`` is no connection string.
    """
    try:
        given = str(conninfo_to_dict(url).get("options", ""))
        return make_conninfo(
            url,
            application_name=f"isolation/{test_name}",
            options=" ".join(filter(None, (given, _SESSION_OPTIONS, options))),
        )
    except Exception as error:
        raise ServerError(f"not a PostgreSQL address: {error}") from error


def open_connection(conninfo: str) -> PGconn:
    """Connect.

    Raises:
        ServerError: with libpq's reason.
    """
    waiting = {} if "connect_timeout=" in conninfo else {"connect_timeout": _CONNECT_SECONDS}
    connection: PGconn = pq.PGconn.connect(make_conninfo(conninfo, **waiting).encode())
    if connection.status != ConnStatus.OK:
        reason = connection.get_error_message().strip()
        connection.finish()
        raise ServerError(f"cannot connect: {reason}")
    return connection


def open_lane(conninfo: str, name: str, on_notice: Callable[[Lane, bytes], None] | None) -> Lane:
    """Connect for one session; its notices are counted, and dropped when nobody wants them.

    Raises:
        ServerError: the connection failed.
    """
    lane = Lane(name, open_connection(conninfo))

    def receive(result: PGresult) -> None:
        lane.notices += 1
        if on_notice is not None:
            on_notice(lane, result.error_message)

    lane.connection.notice_handler = receive
    parameters = [name.encode("utf-8", "surrogateescape")]
    result = lane.connection.exec_params(_APPEND_TO_APPLICATION_NAME, parameters)
    if result.status != ExecStatus.TUPLES_OK:
        reason = result.get_error_message().strip()
        lane.connection.finish()
        raise ServerError(f"setting the application's name failed: {reason}")
    return lane


def prepare_blocked_probe(control: PGconn, pids: Iterable[int]) -> None:
    """Prepare the question whether a session waits for one of ``pids``.

    Raises:
        ServerError: the server lacks the function that PostgreSQL has for it.
    """
    listed = ",".join(map(str, pids))
    question = f"SELECT pg_catalog.pg_isolation_test_session_is_blocked($1, '{{{listed}}}')"
    result = control.prepare(_BLOCKED_PROBE, question.encode())
    if result.status != ExecStatus.COMMAND_OK:
        raise ServerError(f"cannot see lock waits: {result.get_error_message().strip()}")


def is_blocked(control: PGconn, pid: int) -> bool:
    """Ask the prepared question about one session.

    Raises:
        ServerError: the watching connection failed.
    """
    result = control.exec_prepared(_BLOCKED_PROBE, [str(pid).encode()])
    if result.status != ExecStatus.TUPLES_OK or result.ntuples != 1:
        raise ServerError(f"the lock wait query failed: {control.get_error_message().strip()}")
    return result.get_value(0, 0) == b"t"


def execute(connection: PGconn, sql: bytes) -> PGresult:
    """Run SQL as one simple query and return its last result, as libpq's ``PQexec`` does.

    Unlike that function it lets Python handle signals while it waits. A COPY ends it.

    Raises:
        OperationalError: the query could not be sent or the reply not be read.
    """
    connection.send_query(sql)
    last: PGresult | None = None
    while True:
        while connection.is_busy():
            select.select([connection.socket], [], [])
            connection.consume_input()
        result = connection.get_result()
        if result is None:
            break
        last = result
        if result.status in _COPY:
            break
    if last is None:
        raise OperationalError("the server sent no result")
    return last


def cancel(connection: PGconn) -> None:
    """Ask the server to cancel what runs, encrypted if the connection is; the end comes later.

    Raises:
        OperationalError: the request could not be delivered.
    """
    request = connection.cancel_conn()
    try:
        request.blocking()
    finally:
        request.finish()


def close_lanes(lanes: Iterable[Lane]) -> None:
    """Cancel what still runs and disconnect.

    A cancel is needed: a server process that waits for a lock does not see that its client left.
    """
    for lane in lanes:
        if lane.connection.transaction_status == TransactionStatus.ACTIVE:
            with contextlib.suppress(OperationalError):
                cancel(lane.connection)
                _drain(lane.connection)
        lane.connection.finish()


def _drain(connection: PGconn) -> None:
    """Read replies away until the connection is idle, or for as long as closing may take."""
    ends_at = time.monotonic() + _CLOSE_SECONDS
    while connection.is_busy() and time.monotonic() < ends_at:
        select.select([connection.socket], [], [], POLL_SECONDS)
        connection.consume_input()
