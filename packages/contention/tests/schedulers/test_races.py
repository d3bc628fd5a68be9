"""The exhaustive search against the truth: every state of a small database that can be reached."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contention.schedulers.exhaustive import ExhaustiveScheduler

from .database import ROWS
from .requests import (
    Add,
    AddAll,
    AddAlone,
    AddInTime,
    Commit,
    Get,
    GiveBack,
    Lock,
    Programs,
    Put,
    Read,
    ReadAll,
    Request,
    Rollback,
    Snapshot,
    Take,
    TryLock,
    Write,
    WriteSum,
)
from .searching import every_outcome, explore

LOST_UPDATE: list[Request] = [Read(1), Write(1), Commit()]
LOCKED: list[Request] = [Lock(1), Write(1), Commit()]
UPWARDS: list[Request] = [Add(1), Add(2), Commit()]
DOWNWARDS: list[Request] = [Add(2), Add(1), Commit()]
LEASED: list[Request] = [Take("l", is_lease=True), Get("x"), Put("x"), GiveBack("l")]

rows, keys, locks = st.sampled_from(ROWS), st.sampled_from("xy"), st.sampled_from("lm")
indexes = st.sampled_from(["t_pkey", "t_name_key"])
ends: st.SearchStrategy[Request] = st.sampled_from([Commit(), Commit(), Rollback()])
simple = st.one_of(
    st.builds(Read, rows), st.builds(Lock, rows), st.builds(Write, rows), st.builds(Add, rows)
)
hard = st.one_of(
    st.builds(ReadAll),
    st.builds(Lock, rows, indexes),
    st.builds(Add, rows, indexes),
    st.builds(TryLock, rows),
    st.builds(AddAll),
    st.builds(WriteSum, rows),
    st.builds(AddAlone, rows),
    st.builds(Snapshot),
)
in_time = st.builds(AddInTime, rows)
on_keys = st.one_of(
    st.builds(Get, keys),
    st.builds(Put, keys),
    st.builds(Take, locks, st.booleans()),
    st.builds(GiveBack, locks),
)


def programs_of(requests: st.SearchStrategy[Request]) -> st.SearchStrategy[Programs]:
    """Two workers of up to three requests and an end, or three of up to two."""

    def worker(most: int) -> st.SearchStrategy[list[Request]]:
        parts = st.tuples(st.lists(requests, min_size=1, max_size=most), ends)
        return parts.map(lambda pair: [*pair[0], pair[1]])

    two = st.lists(worker(3), min_size=2, max_size=2)
    three = st.lists(worker(2), min_size=3, max_size=3)
    return (two | three).filter(has_few_leases)


def has_few_leases(programs: Programs) -> bool:
    """Whether few moments are there at which a lease may run out."""
    requests = [request for program in programs for request in program]
    return sum(isinstance(request, Take) and request.is_lease for request in requests) <= 1


def assert_nothing_is_missed(programs: Programs) -> int:
    """Compare with the truth; the number of runs."""
    found, runs = explore(programs, ExhaustiveScheduler())
    assert found == every_outcome(programs)
    return runs


@given(programs_of(simple))
@settings(max_examples=100, deadline=None)
def test_nothing_is_missed_of_transactions_that_lock_row_by_row(programs: Programs) -> None:
    assert_nothing_is_missed(programs)


@given(programs_of(simple | hard))
@settings(max_examples=100, deadline=None)
def test_nothing_is_missed_of_transactions_of_every_kind(programs: Programs) -> None:
    assert_nothing_is_missed(programs)


@given(programs_of(on_keys))
@settings(max_examples=60, deadline=None)
def test_nothing_is_missed_of_keys_that_are_polled_and_run_out(programs: Programs) -> None:
    assert_nothing_is_missed(programs)


@given(programs_of(simple | hard | on_keys))
@settings(max_examples=100, deadline=None)
def test_nothing_is_missed_of_rows_and_keys_together(programs: Programs) -> None:
    assert_nothing_is_missed(programs)


@given(programs_of(simple | in_time))
@settings(max_examples=60, deadline=None)
def test_nothing_is_missed_of_waits_that_may_end_by_a_limit(programs: Programs) -> None:
    assert_nothing_is_missed(programs)


@pytest.mark.prove
@given(programs_of(simple | in_time | hard | on_keys))
@settings(max_examples=2_000, deadline=None)
def test_nothing_is_missed_of_waits_of_every_kind(programs: Programs) -> None:
    assert_nothing_is_missed(programs)


def test_a_limit_costs_a_run_for_each_who_may_give_up() -> None:
    limited: list[Request] = [AddInTime(1), Write(1), Commit()]
    assert assert_nothing_is_missed([limited, LOCKED]) <= 5


def test_the_unreduced_search_finds_the_truth_too() -> None:
    programs: Programs = [LOST_UPDATE, LOCKED]
    assert explore(programs, ExhaustiveScheduler(is_reduced=False))[0] == every_outcome(programs)


def test_a_lost_update_of_two_takes_four_runs_and_of_three_about_one_a_class() -> None:
    assert assert_nothing_is_missed([LOST_UPDATE] * 2) == 4
    assert assert_nothing_is_missed([LOST_UPDATE] * 3) <= 38


def test_row_locks_are_granted_in_every_order_once() -> None:
    assert assert_nothing_is_missed([LOCKED] * 2) == 2
    assert assert_nothing_is_missed([LOCKED] * 3) == 6
    assert explore([LOCKED] * 4, ExhaustiveScheduler())[1] == 24


def test_work_on_different_rows_is_run_in_one_order() -> None:
    assert assert_nothing_is_missed([[Add(1), Commit()], [Add(2), Commit()]]) == 1


def test_either_of_two_can_be_the_victim_of_their_deadlock() -> None:
    outcomes, runs = explore([UPWARDS, DOWNWARDS], ExhaustiveScheduler())
    assert {told for outcome in outcomes for told in victims(outcome)} == {(), (0,), (1,)}
    assert runs == 4


def victims(outcome: object) -> list[tuple[int, ...]]:
    assert isinstance(outcome, tuple)
    return [tuple(at for at, (seen, _) in enumerate(outcome[2]) if "deadlock" in seen)]


def test_each_of_three_can_be_the_victim_of_a_ring() -> None:
    ring: Programs = [
        [Add(1), Add(2), Commit()],
        [Add(2), Add(3), Commit()],
        [Add(3), Add(1), Commit()],
    ]
    outcomes, _ = explore(ring, ExhaustiveScheduler())
    assert {told for outcome in outcomes for told in victims(outcome)} == {(), (0,), (1,), (2,)}


def test_a_reader_that_sleeps_does_not_stand_for_what_has_to_come_before_it() -> None:
    programs: Programs = [[Read(1), Add(1)], [Add(2), Add(1), Commit()], [Read(2), Add(1)]]
    assert_nothing_is_missed(programs)


def test_a_snapshot_from_before_the_wait_is_told_apart_from_one_after_it() -> None:
    outcomes, _ = explore([[WriteSum(1), Commit()], [Add(1), Commit()]], ExhaustiveScheduler())
    assert len(outcomes) == 2
    assert_nothing_is_missed([[WriteSum(1), Commit()], [Add(1), Commit()]])


def test_rows_locked_by_different_keys_can_be_worked_on_side_by_side() -> None:
    one: list[Request] = [Add(1), Put("x"), Get("y"), Commit()]
    other: list[Request] = [Add(2, "t_name_key"), Put("y"), Get("x"), Commit()]
    outcomes, _ = explore([one, other], ExhaustiveScheduler())
    assert outcomes == every_outcome([one, other])
    assert len(outcomes) == 3


def test_a_lease_may_run_out_until_it_is_given_back() -> None:
    owner: list[Request] = [Take("l", is_lease=True), GiveBack("l")]
    outcomes, _ = explore([owner, [Take("l"), Get("x")]], ExhaustiveScheduler())
    assert outcomes == every_outcome([owner, [Take("l"), Get("x")]])


def test_two_who_hold_a_lease_that_ran_out_lose_an_update() -> None:
    outcomes, runs = explore([LEASED, LEASED], ExhaustiveScheduler())
    assert outcomes == every_outcome([LEASED, LEASED])
    assert runs <= 90


def test_nobody_who_polls_side_by_side_is_the_only_one_to_give_up() -> None:
    taker: list[Request] = [Take("l"), Take("m")]
    pollers: Programs = [[Take("l"), Put("x")], [Take("m"), Get("x")]]
    assert_nothing_is_missed([taker, *pollers])


def test_who_is_free_when_nobody_else_is_might_have_been_freed_before() -> None:
    one: list[Request] = [Take("l"), AddAll(), Commit()]
    other: list[Request] = [Take("l", is_lease=True), Take("l"), TryLock(1), Commit()]
    assert_nothing_is_missed([one, other])
