"""Runs the permutations of a spec on a server, as ``isolationtester`` does.

A step is sent as soon as its session is idle and the step before it has ended or is known to be
blocked: the server says that it waits for a lock of another session, or a marker holds its report
back. Nothing here knows what the output looks like; a `Reporter` does.
"""

import contextlib
import select
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from psycopg import OperationalError
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from contention.isolation.errors import RunAborted, ServerError
from contention.isolation.lanes import (
    CONTROL_NAME,
    POLL_SECONDS,
    Lane,
    Running,
    cancel,
    close_lanes,
    execute,
    is_blocked,
    open_connection,
    open_lane,
    prepare_blocked_probe,
)
from contention.isolation.reporting import Reporter
from contention.isolation.spec import (
    Permutation,
    PlannedStep,
    Spec,
    UntilDone,
    UntilNotices,
    WaitsOnce,
)

STEP_SECONDS = 360.0
"""When a step is cancelled; a run is given up after twice as long."""

_CLEANUP_SECONDS = 20


def run_spec(
    spec: Spec, *, conninfo: str, reporter: Reporter, step_seconds: float = STEP_SECONDS
) -> int:
    """Run every schedule of ``spec`` and return how many there were.

    When the run ends early, whatever the reason, what still runs is cancelled and the spec's
    teardown is run without a report, so that nothing of it stays on the server.

    Raises:
        RunAborted: a setup failed or the steps could not come to an end; it was reported.
        ServerError: a connection failed.
    """
    for name in spec.unused_step_names():
        reporter.trouble(f"unused step name: {name}\n")
    reporter.trouble(f"Parsed test spec with {len(spec.sessions)} sessions\n")
    with _lanes(spec, conninfo, reporter) as (control, lanes):
        count = 0
        for permutation in spec.schedules():
            run = _PermutationRun(spec, control, lanes, reporter, step_seconds)
            run.run(permutation)
            count += 1
    return count


@contextlib.contextmanager
def _lanes(spec: Spec, conninfo: str, reporter: Reporter) -> Iterator[tuple[Lane, list[Lane]]]:
    def on_notice(lane: Lane, message: bytes) -> None:
        reporter.notice(lane.name, message)

    opened: list[Lane] = []
    try:
        opened.append(open_lane(conninfo, CONTROL_NAME, None))
        for session in spec.sessions:
            opened.append(open_lane(conninfo, session.name, on_notice))  # noqa: PERF401 - to close
        control, *lanes = opened
        prepare_blocked_probe(control.connection, [lane.pid for lane in lanes])
        yield control, lanes
    except BaseException:
        close_lanes(opened)
        _clean_up(spec, conninfo)
        raise
    else:
        close_lanes(opened)


def _clean_up(spec: Spec, conninfo: str) -> None:
    """Undo a spec that ended early, as far as its own teardown can."""
    if spec.teardown_sql is None:
        return
    with contextlib.suppress(OperationalError, ServerError):
        connection = open_connection(conninfo)
        try:
            execute(connection, f"SET statement_timeout = '{_CLEANUP_SECONDS}s'".encode())
            execute(connection, _bytes(spec.teardown_sql))
        finally:
            connection.finish()


@dataclass(slots=True)
class _PermutationRun:
    """One permutation; ``waiting`` has the steps whose end is not reported, oldest first."""

    spec: Spec
    control: Lane
    lanes: Sequence[Lane]
    reporter: Reporter
    step_seconds: float

    def run(self, permutation: Permutation) -> None:
        self.reporter.starting(permutation)
        self._set_up()
        waiting: list[Running] = []
        for planned in permutation:
            self._await_idle(self.lanes[planned.step.session], waiting)
            running = self._send(planned)
            is_waiting = not self._try_to_complete(running, may_block=True, retry=False)
            self._poll(waiting, may_block=True)
            if is_waiting:
                waiting.append(running)
        self._poll(waiting, may_block=False)
        if waiting:
            text = "failed to complete permutation due to mutually-blocking steps"
            raise self._aborted(text)
        self._tear_down()

    def _set_up(self) -> None:
        for sql in self.spec.setup_sqls:
            self._run_around(self.control, sql, "setup failed", ends_run=True)
        for session, lane in zip(self.spec.sessions, self.lanes, strict=True):
            if session.setup_sql is not None:
                title = f"setup of session {lane.name} failed"
                self._run_around(lane, session.setup_sql, title, ends_run=True)

    def _tear_down(self) -> None:
        for session, lane in zip(self.spec.sessions, self.lanes, strict=True):
            if session.teardown_sql is not None:
                title = f"teardown of session {lane.name} failed"
                self._run_around(lane, session.teardown_sql, title, ends_run=False)
        if self.spec.teardown_sql is not None:
            self._run_around(
                self.control, self.spec.teardown_sql, "teardown failed", ends_run=False
            )

    def _run_around(self, lane: Lane, sql: str, title: str, *, ends_run: bool) -> None:
        """Run a setup or a teardown and report its rows, or that it failed."""
        try:
            result = execute(lane.connection, _bytes(sql))
        except OperationalError:
            status = ExecStatus.FATAL_ERROR
        else:
            status = ExecStatus(result.status)
        if status == ExecStatus.TUPLES_OK:
            self.reporter.table(result)
        elif status != ExecStatus.COMMAND_OK:
            message = lane.connection.error_message.decode("utf-8", "surrogateescape")
            if ends_run:
                raise self._aborted(f"{title}: {message}", end="")
            self.reporter.trouble(f"{title}: {message}")

    def _send(self, planned: PlannedStep) -> Running:
        lane = self.lanes[planned.step.session]
        try:
            lane.connection.send_query(_bytes(planned.step.sql))
        except OperationalError:
            reason = lane.connection.error_message.decode("utf-8", "surrogateescape")
            text = f"failed to send query for step {planned.step.name}: {reason}"
            raise self._aborted(text) from None
        targets = {
            index: self.lanes[marker.step.session].notices + marker.count
            for index, marker in enumerate(planned.markers)
            if isinstance(marker, UntilNotices)
        }
        lane.running = Running(planned, targets)
        return lane.running

    def _await_idle(self, lane: Lane, waiting: list[Running]) -> None:
        """Wait until the session's earlier step is reported; other steps may have to end first."""
        starts_at = time.monotonic()
        while (running := lane.running) is not None:
            if self._try_to_complete(running, may_block=False, retry=True):
                waiting.remove(running)
            # Polled either way: this end may free others, or others may be what holds it back.
            self._poll(waiting, may_block=True)
            waited_seconds = time.monotonic() - starts_at
            if lane.running is not None and waited_seconds > 2 * self.step_seconds:
                raise self._stuck(lane.running, waited_seconds)

    def _poll(self, waiting: list[Running], *, may_block: bool) -> None:
        """Report what has ended of ``waiting`` and remove it there.

        While markers hold steps back, an end or a notice may free a step that was looked at
        before, so the round is repeated until it brings nothing new.
        """
        while True:
            notices_before = self._notice_count()
            still = [
                running
                for running in waiting
                if not self._try_to_complete(running, may_block=may_block, retry=True)
            ]
            is_new = len(still) < len(waiting) or self._notice_count() > notices_before
            waiting[:] = still
            if not (is_new and any(running.planned.markers for running in still)):
                return

    def _notice_count(self) -> int:
        return sum(lane.notices for lane in self.lanes)

    def _try_to_complete(self, running: Running, *, may_block: bool, retry: bool) -> bool:
        """Report the step's end if it may be reported, and say whether it was.

        Args:
            running: a step that was sent.
            may_block: return as soon as the server says that it waits for a lock.
            retry: it was reported as waiting before.
        """
        step = running.planned.step
        begins_to_wait = not retry and WaitsOnce() in running.planned.markers
        if begins_to_wait or not self._has_reply(running, may_block) or self._is_held(running):
            if not retry:
                self.reporter.waiting(step)
            return False
        self.reporter.completed(step, was_waiting=retry)
        lane = self.lanes[step.session]
        self._report_results(running, lane.connection)
        self._report_notifications(lane)
        lane.running = None
        return True

    def _has_reply(self, running: Running, may_block: bool) -> bool:  # noqa: FBT001 - passed on
        """Wait for the reply; return False when the step may block and does."""
        connection = self.lanes[running.planned.step.session].connection
        patience = _Patience(self, running, connection)
        with self._reading(connection):
            while connection.is_busy():
                if select.select([connection.socket], [], [], POLL_SECONDS)[0]:
                    connection.consume_input()
                    continue
                if may_block and is_blocked(self.control.connection, connection.backend_pid):
                    # Notices may have come while the server was asked, or even the reply.
                    connection.consume_input()
                    return not connection.is_busy()
                patience.look_at_the_clock()
        return True

    @contextlib.contextmanager
    def _reading(self, connection: PGconn) -> Iterator[None]:
        try:
            yield
        except OperationalError:
            reason = connection.error_message.decode("utf-8", "surrogateescape")
            raise self._aborted(f"PQconsumeInput failed: {reason}") from None
        except ServerError as error:
            raise self._aborted(str(error)) from error

    def _is_held(self, running: Running) -> bool:
        """Say whether a marker holds back the report of a step that has ended."""
        for index, marker in enumerate(running.planned.markers):
            match marker:
                case UntilDone(step):
                    other = self.lanes[step.session].running
                    if other is not None and other.planned.step == step:
                        return True
                case UntilNotices(step):
                    if self.lanes[step.session].notices < running.notice_targets[index]:
                        return True
                case WaitsOnce():
                    pass
        return False

    def _report_results(self, running: Running, connection: PGconn) -> None:
        step = running.planned.step
        for result in _results(connection):
            self.reporter.result(step, result)
            if result.status in {ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH}:
                raise self._aborted(f"step {step.name}: COPY from or to the client is not possible")

    def _report_notifications(self, lane: Lane) -> None:
        names = {other.pid: other.name for other in self.lanes}
        with contextlib.suppress(OperationalError):  # a lost connection was reported as a result
            lane.connection.consume_input()
        while (note := lane.connection.notifies()) is not None:
            sender = names.get(note.be_pid, f"PID {note.be_pid}")
            self.reporter.notification(lane.name, note.relname, note.extra, sender)
            with contextlib.suppress(OperationalError):
                lane.connection.consume_input()

    def _stuck(self, running: Running, waited_seconds: float) -> RunAborted:
        names = [lane.running.planned.step.name for lane in self.lanes if lane.running is not None]
        return self._aborted(
            f"step {running.planned.step.name} timed out after {int(waited_seconds)} seconds\n"
            f"active steps are: {' '.join(names)}"
        )

    def _aborted(self, text: str, *, end: str = "\n") -> RunAborted:
        """Report why the run ends, and return the error that ends it."""
        self.reporter.trouble(f"{text}{end}")
        return RunAborted(text.strip())


class _Patience:
    """Cancels a step that takes too long, and gives the run up when that does not help."""

    def __init__(self, run: _PermutationRun, running: Running, connection: PGconn) -> None:
        self._run = run
        self._step_name = running.planned.step.name
        self._connection = connection
        self._starts_at = time.monotonic()
        self._is_cancelled = False

    def look_at_the_clock(self) -> None:
        """Do what is due by now."""
        waited_seconds = time.monotonic() - self._starts_at
        if waited_seconds > self._run.step_seconds and not self._is_cancelled:
            self._cancel(waited_seconds)
        if waited_seconds > 2 * self._run.step_seconds:
            raise self._run._aborted(  # noqa: SLF001 - two halves of one run
                f"step {self._step_name} timed out after {int(waited_seconds)} seconds"
            )

    def _cancel(self, waited_seconds: float) -> None:
        reporter = self._run.reporter
        try:
            cancel(self._connection)
        except OperationalError as error:
            reporter.trouble(f"PQcancel failed: {error}\n")
            return
        self._is_cancelled = True
        reporter.trouble(
            f"isolationtester: canceling step {self._step_name} "
            f"after {int(waited_seconds)} seconds\n"
        )


def _results(connection: PGconn) -> Iterator[PGresult]:
    getter: Callable[[], PGresult | None] = connection.get_result
    return iter(getter, None)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
