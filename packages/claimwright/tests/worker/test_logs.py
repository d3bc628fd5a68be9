"""Lines that workers write: facts under names of their own, and nobody's secrets."""

import json
import logging
from uuid import UUID

import pytest
from sqlalchemy.exc import DBAPIError

from claimwright.domain.errors import CalculationError
from claimwright.operations.attempts import Attempt, Result, reason_of, unexpected
from claimwright.settings import load_settings
from claimwright.storage.requests import RequestKind
from claimwright.worker.logs import JsonFormatter, formatter, log_attempts

CALCULATION = UUID("c4bf8f85-7f88-4fe1-bdbf-840fc97aae53")
DONE = Attempt(RequestKind.CALCULATE, 22, Result.FINISHED, 2, 1, 3, CALCULATION, 36)


def lines(caplog: pytest.LogCaptureFixture, *attempts: Attempt) -> list[logging.LogRecord]:
    caplog.set_level(logging.DEBUG, logger="claimwright.work")
    caplog.clear()
    log_attempts(attempts, task_id="t-1", seconds=0.12345)
    return caplog.records


def test_the_line_of_a_chunk_is_a_document_with_all_its_facts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (record,) = lines(caplog, DONE)
    document = json.loads(JsonFormatter().format(record))
    for name in ("time", "process", "message"):
        del document[name]
    assert document == {
        "level": "INFO",
        "logger": "claimwright.work",
        "event": "work",
        "kind": "calculate",
        "request": 22,
        "generation": 2,
        "chunk": 3,
        "attempt": 1,
        "outcome": "finished",
        "claims": 36,
        "calculation_id": str(CALCULATION),
        "seconds": 0.123,
        "task_id": "t-1",
    }


def test_the_same_line_is_text_where_nothing_else_is_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (record,) = lines(caplog, DONE)
    assert "request=22 generation=2 chunk=3 attempt=1 outcome=finished" in record.getMessage()
    assert formatter(load_settings({})) is None
    asked = formatter(load_settings({"CLAIMWRIGHT_LOG_FORMAT": "json"}))
    assert isinstance(asked, JsonFormatter)


def test_requests_with_the_same_outcome_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    finished = [Attempt(RequestKind.POLICY, key, Result.FINISHED, 1, 1) for key in range(1, 501)]
    failed = Attempt(RequestKind.POLICY, 501, Result.FAILED, 1, 2, reason="no luck")
    first, second = lines(caplog, *finished, failed)
    assert (first.levelname, second.levelname) == ("WARNING", "INFO")
    assert 'outcome=failed reason="no luck"' in first.getMessage()
    assert "request=1 requests=500" in second.getMessage()


def test_a_dead_letter_and_an_unknown_request_are_errors(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for result in (Result.DEAD, Result.UNKNOWN):
        (record,) = lines(caplog, Attempt(RequestKind.POLICY, 1, result))
        assert record.levelname == "ERROR"


def test_what_others_raise_is_told_by_its_class_and_never_by_its_values() -> None:
    statement = DBAPIError("SELECT 'hunter2'", {"password": "hunter2"}, ValueError("hunter2"))
    for error in (statement, OSError("redis://:hunter2@h"), ValueError("hunter2")):
        assert "hunter2" not in reason_of(error)
    assert reason_of(CalculationError("ours")) == "ours"


def test_only_an_error_that_nobody_expected_has_its_traceback_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    defect, passing = KeyError("x"), CalculationError("y")
    assert (unexpected(defect), unexpected(passing)) == (defect, None)
    (record,) = lines(
        caplog, Attempt(RequestKind.POLICY, 1, Result.FAILED, 1, 1, error=unexpected(defect))
    )
    assert "KeyError" in json.loads(JsonFormatter().format(record))["traceback"]
