"""Tasks: what a message may say, and what becomes of one that makes no sense."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import date
from typing import Any, TypeVar

import pytest
from celery import states
from worker.test_attempts import POISON

from claimwright import worker
from claimwright.domain.errors import CalculationError, InvalidInputError, NotFoundError
from claimwright.embedded import ServerAddresses
from claimwright.storage.policies import Policy
from claimwright.testing import create_test_policy, create_test_risk_event
from claimwright.worker import calculate_policies_task, calculate_policy_claims_task, process
from claimwright.worker.tasks import pause_seconds
from support.databases import plain_connections
from support.leases import free_port

Outcome = TypeVar("Outcome")
DAY = "2025-01-15"


@pytest.fixture(autouse=True)
def _loop_of_this_process(default_environment: dict[str, str]) -> Iterator[None]:
    del default_environment
    yield
    process.close()


@pytest.fixture
def policy() -> Policy:
    """A policy with one event on 15 January 2025."""

    async def store() -> Policy:
        policy = await create_test_policy()
        await create_test_risk_event(policy.coverage_region)
        return policy

    return process.run(lambda _: store())


def ask(database: ServerAddresses, query: str, *values: object) -> Any:  # noqa: ANN401 - what rows hold
    async def main() -> object:
        async with plain_connections(database) as connections:
            return await (await connections.superuser()).fetchval(query, *values)

    return asyncio.run(main())


def tell(database: ServerAddresses, script: str) -> None:
    async def main() -> None:
        async with plain_connections(database) as connections:
            await (await connections.superuser()).execute(script)

    asyncio.run(main())


CLAIMS = "SELECT count(*) FROM claims WHERE policy_id = $1"


def test_one_policy_and_date_is_paid_once_however_often_it_is_applied(
    policy: Policy, session_database: ServerAddresses
) -> None:
    for _ in range(2):
        result = calculate_policy_claims_task.apply(args=[policy.id, DAY])
        assert result.state == states.SUCCESS
        assert ask(session_database, CLAIMS, policy.id) == 1


def test_one_policy_and_date_is_logged_with_the_calculation_that_its_claims_carry(
    policy: Policy, session_database: ServerAddresses, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="claimwright.work")
    calculate_policy_claims_task.apply(args=[policy.id, DAY])
    of_claim = "SELECT calculation_id::text FROM claims WHERE policy_id = $1"
    assert f"calculation_id={ask(session_database, of_claim, policy.id)} " in caplog.text


def test_a_message_that_came_back_is_left_to_those_who_count(
    policy: Policy, session_database: ServerAddresses
) -> None:
    """It may have ended its worker, and nothing says how often."""
    task = calculate_policy_claims_task
    task.push_request(delivery_info={"redelivered": True})
    try:
        task.run(policy.id, DAY)
    finally:
        task.pop_request()
    assert ask(session_database, CLAIMS, policy.id) == 0
    pending = "SELECT finished_generation < generation FROM work_requests WHERE policy_id = $1"
    assert ask(session_database, pending, policy.id)


def test_after_its_last_retry_a_policy_is_a_dead_letter(
    policy: Policy, session_database: ServerAddresses
) -> None:
    calculated = calculate_policies_task.apply(args=[[request_of(policy, session_database)]])
    assert calculated.state == states.SUCCESS
    other = process.run(lambda _: store_event(policy))
    tell(session_database, POISON.format(policy.id))
    try:
        result = calculate_policy_claims_task.apply(args=[policy.id, other])
    finally:
        tell(session_database, "DROP FUNCTION poison CASCADE")
    assert result.state == states.FAILURE
    assert isinstance(result.result, CalculationError)
    dead = """
        SELECT dead_generation = generation AND failure LIKE '%P0001%' FROM work_requests
        WHERE policy_id = $1
        """
    assert ask(session_database, dead, policy.id)


def request_of(policy: Policy, database: ServerAddresses) -> int:
    return int(ask(database, "SELECT id FROM work_requests WHERE policy_id = $1", policy.id))


async def store_event(policy: Policy) -> str:
    await create_test_risk_event(policy.coverage_region, day=date(2025, 2, 3))
    return "2025-02-03"


@pytest.mark.parametrize(
    ("task", "arguments", "sentence"),
    [
        ("calculate_policy_claims_task", [7, "15 January"], "dates as YYYY-MM-DD"),
        ("calculate_policy_claims_task", [7, "20250115"], "dates as YYYY-MM-DD"),
        ("calculate_policy_claims_task", [7, None], "dates as YYYY-MM-DD"),
        ("calculate_policy_claims_task", ["7", DAY], "ids, which are whole and positive"),
        ("calculate_policy_claims_task", [True, DAY], "ids, which are whole and positive"),
        ("calculate_policy_claims_task", [2**63, DAY], "ids, which are whole and positive"),
        ("calculate_all_claims_for_date", ["yesterday"], "dates as YYYY-MM-DD"),
        ("calculate_policies_task", [7], "ids in a list"),
        ("calculate_policies_task", [[7, -1]], "ids, which are whole and positive"),
        ("evaluate_readings_task", [[7.0]], "ids, which are whole and positive"),
        ("evaluate_readings_task", [list(range(1, 10_002))], "up to 10000 ids"),
        ("plan_day_task", ["DROP TABLE"], "ids, which are whole and positive"),
        ("calculate_day_task", [1, 1, 0], "ids, which are whole and positive"),
    ],
)
def test_a_message_that_makes_no_sense_fails_at_once_with_one_line(
    task: str,
    arguments: list[object],
    sentence: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR, logger="claimwright.work")
    result = getattr(worker, task).apply(args=arguments)
    assert result.state == states.FAILURE
    assert isinstance(result.result, InvalidInputError)
    (line,) = [record for record in caplog.records if record.name == "claimwright.work"]
    assert sentence in line.getMessage()


@pytest.mark.parametrize(
    ("task", "arguments", "noun"),
    [
        ("calculate_policy_claims_task", [9, DAY], "policy"),
        ("evaluate_readings_task", [[10**15]], "work request"),
        ("plan_day_task", [10**15], "work request"),
        ("calculate_day_task", [10**15, 1, 1], "work request"),
    ],
)
def test_what_does_not_exist_fails_at_once(
    task: str,
    arguments: list[object],
    noun: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR, logger="claimwright.work")
    result = getattr(worker, task).apply(args=arguments)
    assert result.state == states.FAILURE
    assert isinstance(result.result, NotFoundError)
    assert result.result.noun == noun
    assert len([one for one in caplog.records if one.name == "claimwright.work"]) == 1


def test_pauses_double_up_to_the_longest_less_a_random_half() -> None:
    for attempt, most in ((1, 1), (2, 2), (3, 4), (7, 60), (1_000, 60)):
        pauses = [pause_seconds(attempt, 60) for _ in range(100)]
        assert most / 2 <= min(pauses) < max(pauses) <= most


def test_importing_and_looking_at_tasks_reads_no_environment_and_reaches_no_server() -> None:
    program = """
import threading
from claimwright.worker import calculate_policy_claims_task as task
print(task.name, task.acks_late, threading.active_count())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "CLAIMWRIGHT_NO_SUCH_SETTING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "claimwright.calculate_policy_claims True 1\n",
        "",
    )


def run_twice(operation: Callable[[Any], Awaitable[Outcome]]) -> list[Outcome]:
    return [process.run(operation) for _ in range(2)]


def test_a_process_has_one_loop_and_one_runtime_until_it_is_closed() -> None:
    async def loop_and_engine(runtime: Any) -> tuple[int, int]:  # noqa: ANN401 - a Runtime
        return id(asyncio.get_running_loop()), id(runtime.engine)

    first, second = run_twice(loop_and_engine)
    assert first == second
    process.close()
    process.close()
    assert process.run(loop_and_engine)


def test_a_forked_child_has_a_loop_of_its_own() -> None:
    async def thread_lives(_: Any) -> bool:  # noqa: ANN401 - a Runtime
        return True

    assert process.run(thread_lives)
    child = os.fork()
    if not child:
        signal.alarm(30)  # ends a child that waits for its parent's loop
        os._exit(0 if process.run(thread_lives) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_retry_that_cannot_be_sent_goes_back_to_the_queue_instead_of_being_thrown_away() -> None:
    program = """
from celery.exceptions import Reject
from claimwright.worker import calculate_policy_claims_task as task, tasks
task.push_request(id="1", args=[7, "2025-01-15"], called_directly=False, is_eager=False)
try:
    tasks._again(task, 1, None)
except Reject as rejected:
    print(rejected.requeue)
"""
    port = free_port()
    servers = {
        "CLAIMWRIGHT_DATABASE_URL": "postgresql://nobody@127.0.0.1/nothing",
        "CLAIMWRIGHT_REDIS_URL": f"redis://127.0.0.1:{port}/0",
        "CLAIMWRIGHT_BROKER_URL": f"redis://127.0.0.1:{port}/1",
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **servers},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
