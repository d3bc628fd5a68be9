"""Workers that ask for several things at the same time: every end is found."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contention.schedulers.exhaustive import ExhaustiveScheduler

from .side_by_side import Phase, Program, every_outcome, explore
from .toy import Acquire, Load, Operation, Release, Store

variables, locks = st.sampled_from("xyz"), st.sampled_from("lm")
operations: st.SearchStrategy[Operation] = st.one_of(
    st.builds(Load, variables),
    st.builds(Store, variables, st.sampled_from((1, 10))),
    st.builds(Acquire, locks),
    st.builds(Release, locks),
)


def lanes_of(most: int, longest: int) -> st.SearchStrategy[tuple[tuple[Operation, ...], ...]]:
    lane = st.lists(operations, min_size=1, max_size=longest).map(tuple)
    return st.lists(lane, min_size=1, max_size=most).map(tuple)


def worker_of(phases: int, lanes: int, longest: int) -> st.SearchStrategy[list[Phase]]:
    phase = st.builds(Phase, lanes_of(lanes, longest), st.booleans())
    return st.lists(phase, min_size=1, max_size=phases)


programs = st.one_of(
    st.lists(worker_of(2, 2, 2), min_size=2, max_size=2),
    st.tuples(worker_of(1, 3, 2), worker_of(2, 1, 2)).map(list),
    st.tuples(worker_of(1, 2, 2), worker_of(1, 1, 2), worker_of(1, 1, 2)).map(list),
)


def assert_nothing_is_missed(program: Program) -> int:
    found, runs = explore(program, ExhaustiveScheduler())
    assert found == every_outcome(program)
    return runs


@given(programs)
@settings(max_examples=40, deadline=None)
def test_nothing_is_missed_of_lanes_side_by_side(program: Program) -> None:
    assert_nothing_is_missed(program)


@pytest.mark.prove
@given(programs)
@settings(max_examples=3_000, deadline=None)
def test_nothing_is_missed_of_many_lanes_side_by_side(program: Program) -> None:
    assert_nothing_is_missed(program)


def test_two_that_are_asked_at_once_are_answered_in_either_order() -> None:
    assert assert_nothing_is_missed([[Phase(((Load("x"),), (Load("y"),)))]]) == 2


def test_a_lane_that_waits_for_the_others_answer_is_no_race() -> None:
    one_after_another = [Phase(((Load("x"),),)), Phase(((Load("y"),),))]
    assert assert_nothing_is_missed([one_after_another]) == 1


def test_what_another_does_between_two_lanes_is_seen_by_either_of_them() -> None:
    both = [Phase(((Load("x"), Store("y")), (Load("z"), Store("y", 10))))]
    other = [Phase(((Store("x", 5),),)), Phase(((Store("z", 7),),))]
    assert_nothing_is_missed([both, other])


def test_whoever_is_let_go_unasked_does_not_sleep_on_under_its_name() -> None:
    hasty = [
        Phase(((Store("x", 1),), (Load("y"), Store("y", 3))), is_race=True),
        Phase(((Load("x"),), (Store("y", 2),))),
    ]
    assert_nothing_is_missed([hasty, [Phase(((Load("y"), Store("x", 4)),))]])


def test_an_answer_that_another_worker_brings_may_come_before_or_after_ones_own() -> None:
    waits = [Phase(((Load("y"),), (Load("z"), Acquire("l"))))]
    holds = [Phase(((Acquire("l"), Store("x", 10), Release("l")),))]
    assert_nothing_is_missed([waits, [Phase(((Store("x"),),))], holds])


def test_who_lets_the_others_go_unanswered_leaves_their_place_in_the_queue() -> None:
    hasty = [Phase(((Load("x"),), (Acquire("m"), Release("m"))), is_race=True)]
    holds = [Phase(((Acquire("m"), Release("m")), (Store("x"), Load("x"))), is_race=True)]
    assert_nothing_is_missed([hasty, holds])
