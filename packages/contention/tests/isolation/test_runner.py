"""Runs end early in the ways they should, and then leave nothing on the server."""

import time
from collections.abc import Callable

import pytest

from contention.isolation.errors import RunAborted, ServerError
from contention.isolation.lanes import conninfo_for, execute, open_connection
from contention.isolation.parsing import parse_spec
from contention.isolation.reporting import Transcript
from contention.isolation.runner import run_spec
from contention.isolation.spec import Step

WAITS_FOR_EVER = b"""
setup    { CREATE ROLE contention_guest; }
teardown { DROP ROLE contention_guest; }
session holder
step hold { SELECT pg_advisory_lock(7200); }
session waiter
step wait { SELECT pg_advisory_lock(7200); }
step next { SELECT 'never locked' AS waiter; }
permutation hold wait next
"""


def run(
    source: bytes, database: str, *, name: str = "test", step_seconds: float = 60
) -> tuple[str, Exception | None]:
    pieces: list[bytes] = []
    error = None
    try:
        run_spec(
            parse_spec(source),
            conninfo=conninfo_for(database, test_name=name),
            reporter=Transcript(pieces.append),
            step_seconds=step_seconds,
        )
    except RunAborted as aborted:
        error = aborted
    return b"".join(pieces).decode(), error


@pytest.fixture(name="ask")
def _ask(database: str) -> Callable[[str], str]:
    def ask(query: str) -> str:
        connection = open_connection(database)
        try:
            result = execute(connection, query.encode())
            return (result.get_value(0, 0) or b"").decode()
        finally:
            connection.finish()

    return ask


def test_a_step_that_takes_too_long_is_cancelled_and_the_run_goes_on(database: str) -> None:
    output, error = run(WAITS_FOR_EVER, database, step_seconds=0.3)
    assert error is None
    assert output.endswith(
        "step wait: SELECT pg_advisory_lock(7200); <waiting ...>\n"
        "isolationtester: canceling step wait after 0 seconds\n"
        "step wait: <... completed>\n"
        "ERROR:  canceling statement due to user request\n"
        "step next: SELECT 'never locked' AS waiter;\n"
        "waiter      \n------------\nnever locked\n(1 row)\n\n"
    )


def test_a_held_step_of_a_busy_session_ends_the_run_with_the_active_steps(database: str) -> None:
    source = b"""
    session a step a1 { SELECT 1; } step a2 { SELECT 2; }
    session b step b1 { SELECT 3; }
    permutation a1(*, b1) b1(*, a1) a2
    """
    output, error = run(source, database, step_seconds=0.1)
    assert isinstance(error, RunAborted)
    assert output.endswith("step a1 timed out after 0 seconds\nactive steps are: a1 b1\n")


def test_copy_from_the_client_ends_the_run(database: str) -> None:
    source = b"""
    setup { CREATE TABLE t (i int); }
    teardown { DROP TABLE t; }
    session s step c { COPY t FROM STDIN; }
    """
    output, error = run(source, database)
    assert isinstance(error, RunAborted)
    assert output.endswith(
        "step c: COPY t FROM STDIN;\nunexpected result status: PGRES_COPY_IN\n"
        "step c: COPY from or to the client is not possible\n"
    )


def test_copy_in_a_setup_ends_the_run_too_and_is_undone(
    database: str, ask: Callable[[str], str]
) -> None:
    source = b"""
    setup { CREATE ROLE contention_guest; }
    setup { COPY (SELECT 1) TO STDOUT; }
    teardown { DROP ROLE contention_guest; }
    session s step c { }
    """
    _, error = run(source, database)
    assert isinstance(error, RunAborted)
    assert ask("SELECT count(*) FROM pg_roles WHERE rolname = 'contention_guest'") == "0"


class InterruptedTranscript(Transcript):
    """Ends the run by Ctrl-C as soon as a step waits."""

    def waiting(self, step: Step) -> None:
        super().waiting(step)
        raise KeyboardInterrupt


def run_until_interrupted(source: bytes, database: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_spec(
            parse_spec(source),
            conninfo=conninfo_for(database, test_name="interrupted"),
            reporter=InterruptedTranscript(len),
        )


def test_an_interrupted_run_leaves_no_lock_and_no_role(
    database: str, ask: Callable[[str], str]
) -> None:
    run_until_interrupted(WAITS_FOR_EVER, database)
    assert ask("SELECT count(*) FROM pg_roles WHERE rolname = 'contention_guest'") == "0"
    assert ask("SELECT pg_try_advisory_lock(7200)") == "t"


def test_an_interrupted_run_leaves_no_session_waiting_for_somebody_else(
    database: str, ask: Callable[[str], str]
) -> None:
    somebody = open_connection(database)
    execute(somebody, b"SELECT pg_advisory_lock(7201)")
    source = b"session s step wait { SELECT pg_advisory_lock(7201); } permutation wait(*)"
    run_until_interrupted(source, database)
    until = time.monotonic() + 60  # the server ends a cancelled request in its own time
    waiting = "SELECT count(*) FROM pg_locks WHERE objid = 7201 AND NOT granted"
    while ask(waiting) != "0":
        assert time.monotonic() < until, "the session still waits"
    somebody.finish()


def test_a_failed_setup_is_undone_by_the_teardown(database: str, ask: Callable[[str], str]) -> None:
    source = b"""
    setup { CREATE ROLE contention_guest; }
    setup { SELECT 1/0; }
    teardown { DROP ROLE contention_guest; }
    session s step x { }
    """
    _, error = run(source, database)
    assert str(error) == "setup failed: ERROR:  division by zero"
    assert ask("SELECT count(*) FROM pg_roles WHERE rolname = 'contention_guest'") == "0"


def test_a_server_that_is_not_there_is_an_error_with_its_reason() -> None:
    with pytest.raises(ServerError, match=r"cannot connect: .*port 1 failed"):
        run(WAITS_FOR_EVER, "postgresql://nobody@127.0.0.1:1/none")


def test_an_address_that_is_none_is_an_error() -> None:
    with pytest.raises(ServerError, match="not a PostgreSQL address"):
        conninfo_for("no address at all", test_name="x")
