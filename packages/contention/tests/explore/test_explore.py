"""Programs whose truth is known, under every order of their requests on real servers."""

import asyncio

import asyncpg
import pytest

from contention.model.verdicts import VerdictKind
from contention.schedulers.bounded import BoundedScheduler
from contention.schedulers.exhaustive import ExhaustiveScheduler
from contention.schedulers.replay import ReplayScheduler
from contention.wire.servers import Links, Servers

from .programs import (
    accounts_hold,
    add_one,
    add_one_locked,
    add_one_under_a_redis_lock,
    add_to_both,
    commit_after_the_lock_is_released,
    found_by,
    one_order,
    order_if_there_is_none,
    order_under_a_unique_key,
)


async def test_a_lost_update_is_found_and_told_step_by_step(servers: Servers) -> None:
    found = await found_by(servers, add_one, add_one, invariant=accounts_hold(2))
    assert found.verdict.kind is VerdictKind.ILLEGAL
    assert found.counterexample is not None
    story = str(found)
    assert "the accounts hold 1, not 2" in story
    assert "SELECT amount FROM accounts WHERE id = 1  ->  (0)" in story
    assert "programs.py:" in story
    assert "replay: c1" in story


async def test_a_counterexample_can_be_replayed(servers: Servers) -> None:
    first = await found_by(servers, add_one, add_one, invariant=accounts_hold(2))
    assert first.counterexample is not None
    again = await found_by(
        servers,
        add_one,
        add_one,
        invariant=accounts_hold(2),
        scheduler=ReplayScheduler(first.counterexample.schedule),
    )
    assert again.schedules == 1
    assert again.counterexample is not None
    assert [(step.actor, step.text) for step in again.counterexample.steps] == [
        (step.actor, step.text) for step in first.counterexample.steps
    ]


async def test_a_row_lock_cures_it_under_every_order(servers: Servers) -> None:
    found = await found_by(servers, add_one_locked, add_one_locked, invariant=accounts_hold(2))
    assert found.verdict.kind is VerdictKind.LEGAL


@pytest.mark.prove
async def test_a_row_lock_cures_it_for_three(servers: Servers) -> None:
    found = await found_by(servers, *[add_one_locked] * 3, invariant=accounts_hold(3))
    assert found.verdict.kind is VerdictKind.LEGAL


async def test_opposite_row_orders_deadlock(servers: Servers) -> None:
    workers = (add_to_both(1, 2), add_to_both(2, 1))
    found = await found_by(servers, *workers, invariant=accounts_hold(4))
    assert found.verdict.kind is VerdictKind.ILLEGAL
    assert "DeadlockDetectedError" in found.verdict.reason


async def test_the_same_row_order_does_not(servers: Servers) -> None:
    workers = (add_to_both(1, 2), add_to_both(1, 2))
    found = await found_by(servers, *workers, invariant=accounts_hold(4))
    assert found.verdict.kind is VerdictKind.LEGAL


@pytest.mark.prove
async def test_a_redis_lock_around_the_work_cures_it(servers: Servers) -> None:
    workers = [add_one_under_a_redis_lock()] * 2
    found = await found_by(servers, *workers, invariant=accounts_hold(2))
    assert found.verdict.kind is VerdictKind.LEGAL


async def test_a_redis_lock_released_before_the_commit_does_not(servers: Servers) -> None:
    workers = (commit_after_the_lock_is_released, commit_after_the_lock_is_released)
    found = await found_by(servers, *workers, invariant=accounts_hold(2))
    assert found.verdict.kind is VerdictKind.ILLEGAL


async def test_two_that_look_before_they_insert_both_insert(servers: Servers) -> None:
    workers = (order_if_there_is_none, order_if_there_is_none)
    found = await found_by(servers, *workers, invariant=one_order)
    assert found.verdict.kind is VerdictKind.ILLEGAL


async def test_a_unique_key_turns_the_second_insert_into_an_error(servers: Servers) -> None:
    workers = (order_under_a_unique_key, order_under_a_unique_key)
    found = await found_by(servers, *workers, invariant=one_order)
    assert "UniqueViolationError" in found.verdict.reason
    expected = (asyncpg.UniqueViolationError,)
    handled = await found_by(servers, *workers, invariant=one_order, may_raise=expected)
    assert handled.verdict.kind is VerdictKind.LEGAL


async def test_reduced_and_unreduced_search_agree(servers: Servers) -> None:
    reduced = await found_by(servers, add_one, add_one_locked, invariant=accounts_hold(2))
    everything = await found_by(
        servers,
        add_one,
        add_one_locked,
        invariant=accounts_hold(2),
        scheduler=ExhaustiveScheduler(is_reduced=False),
    )
    assert reduced.verdict.kind is everything.verdict.kind is VerdictKind.ILLEGAL


async def test_a_bound_that_cuts_says_how_far_it_is_legal(servers: Servers) -> None:
    found = await found_by(
        servers,
        add_one,
        add_one,
        invariant=accounts_hold(2),
        scheduler=BoundedScheduler(0),
    )
    assert str(found.verdict) == "LEGAL up to 0 preemptions"


async def test_a_worker_that_waits_for_nobody_is_unknown_and_not_green(servers: Servers) -> None:
    async def forever(_links: Links) -> None:
        await asyncio.Event().wait()

    found = await found_by(servers, forever, invariant=accounts_hold(0))
    assert found.verdict.kind is VerdictKind.UNKNOWN
    assert "w1 neither ends, waits nor asks" in found.verdict.reason
