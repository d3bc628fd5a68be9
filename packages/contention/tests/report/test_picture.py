"""What a diagram shows: lanes, waits, circles of waits."""

from contention.model.steps import Blocker, Run
from contention.report.picture import Circle, Lane, LaneKind, Picture, Waiting
from contention.search.exploration import Exploration

from . import samples

UPDATE = "UPDATE accounts SET amount = 0"


def run_of(found: Exploration) -> Run:
    assert found.counterexample is not None
    return found.counterexample


def test_there_is_a_lane_for_each_worker_table_and_key_in_this_order() -> None:
    picture = Picture.of(run_of(samples.lease_too_short()), ["w1", "w2", "w3"])
    assert picture.lanes == (
        Lane(LaneKind.WORKER, "w1"),
        Lane(LaneKind.WORKER, "w2"),
        Lane(LaneKind.WORKER, "w3"),
        Lane(LaneKind.TABLE, "claims"),
        Lane(LaneKind.KEY, "lock:claim_calc:12345:2025-01-15"),
    )


def test_a_table_and_a_key_of_one_name_are_two_lanes() -> None:
    told = samples.Told()
    told.sql("w1", "SELECT * FROM stock", "(1)", "stock")
    told.redis("w1", "GET stock", "1", "stock")
    assert len(Picture.of(told.run("x")).lanes) == 3


def test_a_wait_lasts_from_the_blocked_step_to_its_answer() -> None:
    picture = Picture.of(run_of(samples.lost_update()))
    assert picture.waits == (Waiting("w2", 4, 6, frozenset({"w1"})),)
    assert picture.circles == ()


def test_a_wait_without_an_answer_has_no_end() -> None:
    told = samples.Told()
    told.sql("w1", "LOCK TABLE a")
    told.sql("w2", "LOCK TABLE a", blocked_by=(Blocker("w1"), Blocker("backend 7")))
    assert Picture.of(told.run("x")).waits == (Waiting("w2", 2, None, frozenset({"w1"})),)


def test_a_deadlock_stands_where_the_last_wait_closes_it() -> None:
    picture = Picture.of(run_of(samples.deadlock()))
    assert picture.circles == (Circle(9, ("w1", "w2", "w3"), is_deadlock=True),)


def test_waits_that_end_before_the_next_begins_are_no_circle() -> None:
    told = samples.Told()
    told.sql("w1", UPDATE)
    waiting = told.sql("w2", UPDATE, blocked_by=(Blocker("w1"),))
    told.sql("w1", "COMMIT")
    told.sql("w2", UPDATE, answers=waiting)
    told.sql("w1", UPDATE, blocked_by=(Blocker("w2"),))
    assert Picture.of(told.run("x")).circles == ()


def test_a_circle_that_nobody_calls_a_deadlock_is_not_called_one() -> None:
    told = samples.Told()
    told.sql("w1", UPDATE, blocked_by=(Blocker("w2"),))
    told.sql("w2", UPDATE, blocked_by=(Blocker("w1"),))
    (circle,) = Picture.of(told.run("something else")).circles
    assert circle == Circle(2, ("w1", "w2"), is_deadlock=False)
    (circle,) = Picture.of(told.run("deadlock: w1 waits for w2")).circles
    assert circle.is_deadlock
