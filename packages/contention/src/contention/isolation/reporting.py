"""What a run tells about itself while it goes on."""

from collections.abc import Callable
from typing import Protocol

from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult

from contention.isolation.spec import Permutation, Step
from contention.isolation.tables import aligned_table


class Reporter(Protocol):
    """Receives the events of a run in their order."""

    def starting(self, permutation: Permutation) -> None:
        """A permutation begins; its setup comes next."""

    def waiting(self, step: Step) -> None:
        """A step was sent and its end is not reported yet."""

    def completed(self, step: Step, *, was_waiting: bool) -> None:
        """A step ended; its results come next."""

    def result(self, step: Step, result: PGresult) -> None:
        """One result of the step that was just reported as completed."""

    def table(self, result: PGresult) -> None:
        """Rows that a setup or a teardown returned."""

    def notice(self, session: str, message: bytes) -> None:
        """A notice arrived, whichever step is active."""

    def notification(self, session: str, channel: bytes, payload: bytes, sender: str) -> None:
        """A NOTIFY was found after a step of ``session``."""

    def trouble(self, text: str) -> None:
        """Something went wrong outside the results of a step."""


class Transcript:
    """Writes what ``isolationtester`` writes to both of its streams, byte for byte.

    Args:
        write: takes each piece as soon as it is known.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def starting(self, permutation: Permutation) -> None:
        """Announce the permutation by its steps' names."""
        names = "".join(f" {planned.step.name}" for planned in permutation)
        self.trouble(f"\nstarting permutation:{names}\n")

    def waiting(self, step: Step) -> None:
        """Print the step with its SQL and that it waits."""
        self.trouble(f"step {step.name}: {step.sql} <waiting ...>\n")

    def completed(self, step: Step, *, was_waiting: bool) -> None:
        """Print the step with its SQL, unless the SQL was printed when it began to wait."""
        what = "<... completed>" if was_waiting else step.sql
        self.trouble(f"step {step.name}: {what}\n")

    def result(self, step: Step, result: PGresult) -> None:  # noqa: ARG002 - same for all steps
        """Print rows, or an error without its details, which may contain transaction ids."""
        match result.status:
            case ExecStatus.COMMAND_OK | ExecStatus.EMPTY_QUERY:
                pass
            case ExecStatus.TUPLES_OK:
                self.table(result)
            case ExecStatus.FATAL_ERROR:
                self._error(result)
            case status:
                self.trouble(f"unexpected result status: PGRES_{ExecStatus(status).name}\n")

    def table(self, result: PGresult) -> None:
        """Print rows."""
        columns = range(result.nfields)
        self._write(
            aligned_table(
                [result.fname(column) or b"" for column in columns],
                [
                    [result.get_value(row, column) for column in columns]
                    for row in range(result.ntuples)
                ],
            )
        )

    def notice(self, session: str, message: bytes) -> None:
        """Print the message as libpq formats it, after the session's name."""
        self._write(_bytes(f"{session}: ") + message)

    def notification(self, session: str, channel: bytes, payload: bytes, sender: str) -> None:
        """Print who was notified, of what, and by whom."""
        self._write(
            b'%b: NOTIFY "%b" with payload "%b" from %b\n'
            % (_bytes(session), channel, payload, _bytes(sender))
        )

    def trouble(self, text: str) -> None:
        """Print the text as it is."""
        self._write(_bytes(text))

    def _error(self, result: PGresult) -> None:
        severity = result.error_field(DiagnosticField.SEVERITY)
        primary = result.error_field(DiagnosticField.MESSAGE_PRIMARY)
        if severity and primary:
            self._write(severity + b":  " + primary + b"\n")
        else:  # libpq's own errors have no fields
            self._write(result.error_message + b"\n")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
