import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contention.model.footprints import NOTHING, UNKNOWN, reads, writes
from contention.model.schedules import Choice, Schedule
from contention.model.steps import Effect
from contention.schedulers.bounded import BoundedScheduler
from contention.schedulers.exhaustive import ExhaustiveScheduler
from contention.schedulers.pct import PctScheduler
from contention.schedulers.replay import ReplayScheduler
from contention.schedulers.scheduler import NotDeterministicError

from .toy import Acquire, Load, Operation, Program, Release, Store, explore

LOST_UPDATE: Program = [[Load("x"), Store("x")], [Load("x"), Store("x")]]
GUARDED: Program = [
    [Acquire("l"), Load("x"), Store("x"), Release("l")],
    [Acquire("l"), Load("x"), Store("x"), Release("l")],
    [Acquire("l"), Load("x"), Store("x"), Release("l")],
]
OPPOSITE_ORDER: Program = [
    [Acquire("a"), Acquire("b"), Release("b"), Release("a")],
    [Acquire("b"), Acquire("a"), Release("a"), Release("b")],
]
SEPARATE: Program = [[Load("x"), Store("x")], [Load("y"), Store("y")]]

operations: st.SearchStrategy[Operation] = st.one_of(
    st.builds(Load, st.sampled_from("xyz")),
    st.builds(Store, st.sampled_from("xyz"), st.integers(1, 3)),
)
programs = st.lists(st.lists(operations, max_size=3), min_size=2, max_size=3)


def final_x(outcomes: set[tuple[object, ...]]) -> set[object]:
    return {dict(outcome[0]).get("x") for outcome in outcomes}  # type: ignore[call-overload]


def test_a_lost_update_is_found_in_a_handful_of_runs() -> None:
    scheduler = ExhaustiveScheduler()
    outcomes, runs = explore(LOST_UPDATE, scheduler)
    assert final_x(outcomes) == {1, 2}
    assert scheduler.is_complete
    assert runs <= 6


def test_three_guarded_workers_have_one_outcome_and_few_schedules() -> None:
    outcomes, runs = explore(GUARDED, ExhaustiveScheduler())
    assert final_x(outcomes) == {3}
    assert runs <= 12


def test_steps_that_touch_nothing_in_common_are_run_in_one_order() -> None:
    scheduler = ExhaustiveScheduler()
    outcomes, _ = explore(SEPARATE, scheduler)
    assert len(outcomes) == 1
    unreduced = ExhaustiveScheduler(is_reduced=False)
    _, all_runs = explore(SEPARATE, unreduced)
    assert all_runs == 6


def test_a_deadlock_of_opposite_orders_is_reached() -> None:
    outcomes, _ = explore(OPPOSITE_ORDER, ExhaustiveScheduler())
    assert {outcome[2] for outcome in outcomes} == {(), (0, 1)}


@given(programs)
@settings(max_examples=150, deadline=None)
def test_reduced_and_unreduced_search_find_the_same_outcomes(
    program: list[list[Operation]],
) -> None:
    reduced, _ = explore(program, ExhaustiveScheduler())
    everything, _ = explore(program, ExhaustiveScheduler(is_reduced=False))
    assert reduced == everything


@given(programs)
@settings(max_examples=100, deadline=None)
def test_a_bound_that_is_high_enough_cuts_nothing(program: list[list[Operation]]) -> None:
    scheduler = BoundedScheduler(20)
    outcomes, _ = explore(program, scheduler)
    assert scheduler.is_complete
    assert outcomes == explore(program, ExhaustiveScheduler(is_reduced=False))[0]


def test_no_preemption_means_one_worker_after_another() -> None:
    scheduler = BoundedScheduler(0)
    outcomes, runs = explore(LOST_UPDATE, scheduler)
    assert final_x(outcomes) == {2}
    assert runs == 2
    assert scheduler.has_finished
    assert not scheduler.is_complete
    assert scheduler.cut_reason == "schedules with more than 0 preemptions"


def test_one_preemption_is_enough_to_lose_an_update() -> None:
    outcomes, _ = explore(LOST_UPDATE, BoundedScheduler(1))
    assert final_x(outcomes) == {1, 2}


def test_random_priorities_are_repeatable_from_their_seed_and_never_complete() -> None:
    first, second = PctScheduler(30, seed=7), PctScheduler(30, seed=7)
    assert explore(LOST_UPDATE, first) == explore(LOST_UPDATE, second)
    assert not first.is_complete
    assert "30 random schedules" in first.cut_reason


def test_random_priorities_find_a_lost_update() -> None:
    outcomes, _ = explore(LOST_UPDATE, PctScheduler(100, depth=2, steps=4, seed=1))
    assert 1 in final_x(outcomes)


def test_a_replay_follows_its_schedule_and_then_goes_on() -> None:
    schedule = Schedule((Choice("w0"), Choice("w1"), Choice("w0")))
    outcomes, runs = explore(LOST_UPDATE, ReplayScheduler(schedule))
    assert final_x(outcomes) == {1}
    assert runs == 1


def test_a_replay_of_another_program_is_refused_where_it_parts() -> None:
    with pytest.raises(NotDeterministicError, match="choice 0 offered w7"):
        explore(LOST_UPDATE, ReplayScheduler(Schedule((Choice("w7"),))))


def test_other_options_after_the_same_choices_are_reported() -> None:
    scheduler = ExhaustiveScheduler()
    scheduler.start()
    scheduler.choose(["w0", "w1"])
    scheduler.executed(Effect(UNKNOWN))
    scheduler.choose(["w0", "w1"])
    scheduler.executed(Effect(UNKNOWN))
    scheduler.start()
    scheduler.choose(["w0", "w1"])
    scheduler.executed(Effect(UNKNOWN))
    with pytest.raises(NotDeterministicError, match="choice 1 offered w0, w1"):
        scheduler.choose(["w1"])


class Table:
    """Options and effects by what was chosen before, for what no real program shows on purpose."""

    def __init__(self, options: dict[str, str], effects: dict[str, Effect]) -> None:
        self._options = options
        self._effects = effects

    def schedules(self, scheduler: ExhaustiveScheduler) -> set[str]:
        """Every schedule that was run, those cut included, as the actors' names in order."""
        found = set()
        while scheduler.start():
            chosen: str | None = ""
            path = ""
            while chosen is not None and (options := self._options.get(path, "")):
                chosen = scheduler.choose(list(options))
                if chosen is not None:
                    path += chosen
                    scheduler.executed(self._effects[chosen])
            found.add(path)
        return found


def test_where_nobody_who_could_begin_the_other_order_was_an_option_everybody_is_tried() -> None:
    options = {"": "ae", "a": "be", "ab": "ce", "abc": "e", "e": "a", "ea": "b", "eab": "c"}
    effects = {
        "a": Effect(reads("x")),
        "b": Effect(NOTHING),
        "c": Effect(writes("x")),
        "e": Effect(NOTHING),
    }
    schedules = Table(options, effects).schedules(ExhaustiveScheduler())
    assert schedules == {"abce", "e"}


def test_what_a_step_took_away_is_tried_in_its_place() -> None:
    options = {"": "ab", "a": "", "b": "a"}
    effects = {"a": Effect(writes("x")), "b": Effect(writes("x"))}
    assert Table(options, effects).schedules(ExhaustiveScheduler()) == {"a", "ba"}


def test_a_step_that_took_an_option_away_does_not_sleep_through_it() -> None:
    options = {"": "ab", "a": "", "b": "a"}
    effects = {"a": Effect(writes("x")), "b": Effect(writes("y"))}
    assert Table(options, effects).schedules(ExhaustiveScheduler()) == {"a", "ba"}


def test_where_nothing_explains_what_was_taken_away_everybody_is_tried() -> None:
    options = {"": "abc", "a": "c", "ac": "", "b": "ac", "ba": "c", "bc": "a", "c": "a", "ca": ""}
    effects = {name: Effect(writes(name)) for name in "abc"}
    assert Table(options, effects).schedules(ExhaustiveScheduler()) == {"ac", "bac", "c"}


def test_a_run_that_ends_earlier_than_before_is_reported() -> None:
    scheduler = ExhaustiveScheduler()
    for length in (4, 1):
        scheduler.start()
        for _ in range(length):
            scheduler.choose(["a", "b"])
            scheduler.executed(Effect(UNKNOWN))
    with pytest.raises(NotDeterministicError, match=r"choice 1 offered a, b in .* and nothing"):
        scheduler.start()
