"""Tasks: what a message says, checked, becomes one operation, and its outcome becomes Celery's.

Messages carry ids and ISO dates and nothing else. Tracked work, which has a row in the database, is
begun a bounded number of times by the database's own count, so that Celery need not bound retries
of it. A message that makes no sense fails at once, with one line in the log.
"""

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from time import perf_counter
from typing import Final, NoReturn

from celery import Task
from celery.exceptions import Reject

from claimwright.domain.errors import (
    BrokerUnavailableError,
    CalculationError,
    ClaimwrightError,
    InvalidInputError,
    NotFoundError,
)
from claimwright.metrics import WORK_RETRIED, WORK_SECONDS
from claimwright.operations.ask_again import ask_for_date
from claimwright.operations.attempt_chunk import attempt_chunk
from claimwright.operations.attempt_policy_day import (
    attempt_policy_day,
    bury_policy,
    have_it_counted,
)
from claimwright.operations.attempt_requests import (
    attempt_evaluations,
    attempt_plan,
    attempt_policies,
)
from claimwright.operations.attempts import Attempt, Result, reason_of
from claimwright.runtime import process_servers
from claimwright.settings import Settings
from claimwright.storage.chunks import ChunkKey
from claimwright.storage.requests import RequestKind
from claimwright.storage.transients import DATABASE_ERRORS
from claimwright.worker import process
from claimwright.worker.broker import (
    CALCULATE_POLICIES,
    EVALUATE_READINGS,
    PLAN_DAY,
    CeleryBroker,
    broker_errors_in_our_words,
)
from claimwright.worker.celery_app import app
from claimwright.worker.logs import log, log_attempts

_MOST_IDS: Final = 10_000
_LARGEST_ID: Final = 2**63 - 1
#: What a passing trouble of a server raises past the operations' own retries.
_SERVER_ERRORS: Final = (*DATABASE_ERRORS, BrokerUnavailableError)


def _task(name: str) -> Callable[[Callable[..., None]], Task]:
    """Define a task by its name in messages; Celery does not bound its retries."""

    def define(body: Callable[..., None]) -> Task:
        return app.task(name=name, bind=True, max_retries=None, throws=(ClaimwrightError,))(body)

    return define


@_task(EVALUATE_READINGS)
def evaluate_readings_task(self: Task, request_ids: Sequence[int]) -> None:
    """Evaluate the readings of requests of kind evaluate."""
    ids = _ids(self, request_ids)
    with _timed(self) as seconds:
        attempts = process.run(lambda runtime: attempt_evaluations(runtime, ids))
    _conclude(self, attempts, seconds())


@_task(CALCULATE_POLICIES)
def calculate_policies_task(self: Task, request_ids: Sequence[int]) -> None:
    """Calculate the whole term of the policies of requests of kind policy."""
    ids = _ids(self, request_ids)
    with _timed(self) as seconds:
        attempts = process.run(lambda runtime: attempt_policies(runtime, ids))
    _conclude(self, attempts, seconds())


@_task(PLAN_DAY)
def plan_day_task(self: Task, request_id: int) -> None:
    """Cut a request of kind calculate into chunks and send a message for each of them."""
    (request_id,) = _ids(self, [request_id])
    with _timed(self) as seconds:
        attempt, chunks = process.run(lambda runtime: attempt_plan(runtime, request_id))
        with broker_errors_in_our_words(app):
            for chunk in chunks:
                calculate_day_task.apply_async(
                    args=[chunk.request_id, chunk.generation, chunk.number]
                )
    _conclude(self, [attempt], seconds(), args=[request_id])


@_task("claimwright.calculate_day")
def calculate_day_task(self: Task, request_id: int, generation: int, number: int) -> None:
    """Calculate one chunk of a day."""
    key = ChunkKey(*_ids(self, [request_id, generation, number]))
    with _timed(self) as seconds:
        attempt = process.run(lambda runtime: attempt_chunk(runtime, key))
    _conclude(self, [attempt], seconds(), args=[request_id, generation, number])


@_task("claimwright.calculate_policy_claims")
def calculate_policy_claims_task(self: Task, policy_id: int, target_date: str) -> None:
    """Calculate one policy and local date, under a lease; again is harmless.

    Nothing in the database counts how often it is begun. So a message that comes back, which may be
    because it ended its worker, becomes a request for the policy, whose attempts are counted; and
    one that failed for the last time leaves a dead letter.
    """
    (policy_id,) = _ids(self, [policy_id])
    day = _day(self, target_date)
    with _timed(self) as seconds:
        if (self.request.delivery_info or {}).get("redelivered"):
            asked = process.run(lambda runtime: have_it_counted(runtime, policy_id))
            log(logging.WARNING, "came back", policy=policy_id, asked=asked, task=self.name)
            return
        try:
            claims = process.run(lambda runtime: attempt_policy_day(runtime, policy_id, day))
        except (CalculationError, *DATABASE_ERRORS) as error:
            _again_or_bury(self, policy_id, error)
        except ClaimwrightError as error:
            _refuse(self, error)
    log(
        logging.INFO, "work", kind="policy and date", policy=policy_id, day=day, claims=len(claims),
        calculation_id=claims[0].calculation_id if claims else None, outcome=Result.FINISHED.value,
        seconds=round(seconds(), 3), task_id=self.request.id,
    )  # fmt: skip


@_task("claimwright.calculate_all_claims_for_date")
def calculate_all_claims_for_date(self: Task, target_date: str) -> None:
    """Ask for every calculation of a local date again, and send what can be sent at once."""
    day = _day(self, target_date)
    with _timed(self) as seconds:
        asked = process.run(lambda runtime: ask_for_date(runtime, CeleryBroker(app), day))
    log(
        logging.INFO, "asked", day=day, requests=asked.requests, sent=asked.sent,
        seconds=round(seconds(), 3), task_id=self.request.id,
    )  # fmt: skip


def pause_seconds(attempt: int, longest: float) -> float:
    """How long to wait after a failed attempt: twice as long each time, less a random half."""
    return min(longest, 2.0 ** min(attempt - 1, 20)) * random.uniform(0.5, 1)  # noqa: S311 - to spread


def _conclude(
    task: Task, attempts: Sequence[Attempt], seconds: float, *, args: Sequence[object] | None = None
) -> None:
    """Write a line for each attempt; do again what failed.

    Args:
        task: the task that made them.
        attempts: what became of each request.
        seconds: how long all of them took.
        args: what to send again; by default the failed requests' ids.

    Raises:
        NotFoundError: a request of the message does not exist.
    """
    log_attempts(attempts, task_id=task.request.id, seconds=seconds)
    failed = [attempt for attempt in attempts if attempt.result is Result.FAILED]
    if failed:
        _again(
            task,
            max(attempt.number for attempt in failed),
            args or [[attempt.request_id for attempt in failed]],
        )
    for attempt in attempts:
        if attempt.result is Result.UNKNOWN:
            raise NotFoundError("work request", attempt.request_id)


@contextmanager
def _timed(task: Task) -> Iterator[Callable[[], float]]:
    """Measure a task; one that a server's trouble stopped is done again, and not for ever.

    Its row says in any case that it is still to do, and the relay finds it.
    """
    began = perf_counter()
    try:
        yield lambda: perf_counter() - began
    except _SERVER_ERRORS as error:
        tries = task.request.retries + 1
        log(
            logging.WARNING, "server trouble", task=task.name, attempt=tries,
            reason=reason_of(error), task_id=task.request.id,
        )  # fmt: skip
        if tries >= _settings().work_attempts:
            raise CalculationError(f"{reason_of(error)}; the relay hands it on again") from error
        _again(task, tries, None)
    finally:
        WORK_SECONDS.labels(task.name).observe(perf_counter() - began)


def _again(task: Task, attempt: int, args: Sequence[object] | None) -> NoReturn:
    """Send the task once more, later; where that cannot be sent, this message comes back."""
    pause = pause_seconds(attempt, _settings().retry_wait_seconds)
    try:
        raise task.retry(args=args, countdown=pause)
    except Reject as rejected:
        # Celery would have the broker throw it away.
        raise Reject(rejected.reason, requeue=True) from rejected


def _again_or_bury(task: Task, policy_id: int, error: Exception) -> NoReturn:
    tries, reason = task.request.retries + 1, reason_of(error)
    dead = tries >= _settings().work_attempts
    log(
        logging.ERROR if dead else logging.WARNING, "work", kind="policy and date",
        policy=policy_id, attempt=tries, reason=reason, task_id=task.request.id,
        outcome=(Result.DEAD if dead else Result.FAILED).value,
    )  # fmt: skip
    if not dead:
        WORK_RETRIED.labels(RequestKind.POLICY).inc()
        _again(task, tries, None)
    process.run(lambda runtime: bury_policy(runtime, policy_id, reason))
    raise CalculationError(f"policy {policy_id} is a dead letter: {reason}") from error


def _ids(task: Task, values: object) -> list[int]:
    """The positive whole numbers of a message."""
    if not isinstance(values, list | tuple) or len(values) > _MOST_IDS:
        _refuse(task, InvalidInputError(f"a message carries up to {_MOST_IDS} ids in a list"))
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _LARGEST_ID:
            _refuse(task, InvalidInputError("a message carries ids, which are whole and positive"))
    return list(values)


def _day(task: Task, value: object) -> date:
    try:
        day = date.fromisoformat(str(value))
    except ValueError:
        day = None
    if day is None or day.isoformat() != value:
        _refuse(task, InvalidInputError("a message carries dates as YYYY-MM-DD"))
    return day


def _refuse(task: Task, error: ClaimwrightError) -> NoReturn:
    """Fail for good: sent once more, the message would say the same."""
    log(
        logging.ERROR, "refused", task=task.name, reason=str(error), task_id=task.request.id,
    )  # fmt: skip
    raise error


def _settings() -> Settings:
    return process_servers()[0]
