"""Runs every anomaly at every isolation level of a server and says what became of it."""

import contextlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum

from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult

from contention.isolation.anomalies import ANOMALIES, Anomaly, Seen
from contention.isolation.errors import ServerError
from contention.isolation.lanes import conninfo_for, execute, open_connection
from contention.isolation.parsing import parse_spec
from contention.isolation.runner import run_spec
from contention.isolation.spec import Permutation, Step

STEP_SECONDS = 30.0
"""No step of an anomaly takes longer than the server's deadlock time-out and a little."""

_FIXTURE = """
setup { CREATE TABLE items (id integer PRIMARY KEY, value integer NOT NULL);
        INSERT INTO items VALUES (1, 10), (2, 20); }
teardown { DROP TABLE items; }
"""


class Level(Enum):
    """The isolation levels of the SQL standard, weakest first."""

    READ_UNCOMMITTED = "read uncommitted"
    READ_COMMITTED = "read committed"
    REPEATABLE_READ = "repeatable read"
    SERIALIZABLE = "serializable"


class Verdict(StrEnum):
    """What became of an anomaly."""

    POSSIBLE = "possible"
    """It happened."""
    ERROR = "error"
    """A transaction failed instead; it can be tried again."""
    BLOCKED = "blocked"
    """A transaction had to wait, and the anomaly did not happen."""
    PREVENTED = "prevented"
    """It did not happen, and nobody waited or failed: reads were answered by versions."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One anomaly at one level.

    Attributes:
        anomaly: what was tried.
        level: at which level.
        verdict: what became of it.
        sqlstate: the first error's code when the verdict is ERROR.
        has_waited: whether any step had to wait.
    """

    anomaly: Anomaly
    level: Level
    verdict: Verdict
    sqlstate: str | None
    has_waited: bool

    def __str__(self) -> str:
        return self.verdict if self.sqlstate is None else f"{self.verdict} {self.sqlstate}"


@dataclass(frozen=True, slots=True)
class Matrix:
    """What a server's isolation levels allow; ``cells`` has anomalies outside, levels inside."""

    server_version: str
    cells: tuple[Cell, ...]

    def rows(self) -> Iterator[tuple[Anomaly, Sequence[Cell]]]:
        """Yield each anomaly with its cells, weakest level first."""
        width = len(Level)
        for start in range(0, len(self.cells), width):
            row = self.cells[start : start + width]
            yield row[0].anomaly, row


def run_matrix(url: str) -> Matrix:
    """Run the anomalies in a schema of their own on the server and database at ``url``.

    The schema is removed afterwards, whatever happens.

    Raises:
        ServerError: the server cannot be reached, or the role may not make a schema.
        RunAborted: a script could not be run to its end.
    """
    with _own_schema(url) as (schema, version):
        cells = [_run_cell(url, schema, anomaly, level) for anomaly in ANOMALIES for level in Level]
    return Matrix(version, tuple(cells))


def _run_cell(url: str, schema: str, anomaly: Anomaly, level: Level) -> Cell:
    spec = parse_spec(f"{_FIXTURE}{anomaly.script}".encode())
    record = Record()
    escaped = level.value.replace(" ", r"\ ")
    conninfo = conninfo_for(
        url,
        test_name=f"matrix/{anomaly.code}",
        options=f"-c search_path={schema} -c default_transaction_isolation={escaped}",
    )
    run_spec(spec, conninfo=conninfo, reporter=record, step_seconds=STEP_SECONDS)
    verdict, sqlstate = judge(anomaly, record)
    return Cell(anomaly, level, verdict, sqlstate, record.has_waited)


class Record:
    """Keeps what steps saw, as a reporter of a run."""

    def __init__(self) -> None:
        self.seen: dict[str, Seen] = {}
        self.has_waited = False

    def starting(self, permutation: Permutation) -> None:
        """Begin with nothing seen."""
        self.seen = {planned.step.name: Seen() for planned in permutation}

    def waiting(self, step: Step) -> None:  # noqa: ARG002 - which one does not matter
        """Remember that there was a wait."""
        self.has_waited = True

    def completed(self, step: Step, *, was_waiting: bool) -> None:
        """Results follow."""

    def result(self, step: Step, result: PGresult) -> None:
        """Keep the step's last result."""
        self.seen[step.name] = _seen(result)

    def table(self, result: PGresult) -> None:
        """Setups return nothing of interest."""

    def notice(self, session: str, message: bytes) -> None:
        """Notices say nothing about anomalies."""

    def notification(self, session: str, channel: bytes, payload: bytes, sender: str) -> None:
        """Nobody listens."""

    def trouble(self, text: str) -> None:
        """What ends a run is raised as well."""

    def first_error(self) -> str | None:
        """Return the SQLSTATE of the first step that failed, in the order of the permutation."""
        return next((seen.sqlstate for seen in self.seen.values() if seen.sqlstate), None)


def judge(anomaly: Anomaly, record: Record) -> tuple[Verdict, str | None]:
    """Return the verdict on one script's run, and the SQLSTATE that belongs to it."""
    if anomaly.happened(record.seen):
        return Verdict.POSSIBLE, None
    if (sqlstate := record.first_error()) is not None:
        return Verdict.ERROR, sqlstate
    return (Verdict.BLOCKED if record.has_waited else Verdict.PREVENTED), None


def _seen(result: PGresult) -> Seen:
    sqlstate = result.error_field(DiagnosticField.SQLSTATE)
    if result.status == ExecStatus.FATAL_ERROR:
        return Seen(sqlstate=(sqlstate or b"08006").decode())
    rows = tuple(
        tuple((result.get_value(row, column) or b"").decode() for column in range(result.nfields))
        for row in range(result.ntuples)
    )
    return Seen(rows, (result.command_status or b"").decode())


@contextlib.contextmanager
def _own_schema(url: str) -> Iterator[tuple[str, str]]:
    name = f"contention_matrix_{secrets.token_hex(6)}"
    connection = open_connection(conninfo_for(url, test_name="matrix"))
    connection.notice_handler = None
    try:
        made = execute(connection, f"CREATE SCHEMA {name}".encode())
        if made.status != ExecStatus.COMMAND_OK:
            raise ServerError(f"cannot make a schema: {made.get_error_message().strip()}")
        try:
            yield name, (connection.parameter_status(b"server_version") or b"").decode()
        finally:
            execute(connection, f"DROP SCHEMA {name} CASCADE".encode())
    finally:
        connection.finish()
