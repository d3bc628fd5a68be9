from contention.model.footprints import NOTHING, UNKNOWN, Mode, reads, touching, writes
from contention.model.steps import Effect
from contention.schedulers.history import History, Race


def effect(mode: Mode, *names: str, moved: str = "", is_blocked: bool = False) -> Effect:
    return Effect(touching(mode, *names), frozenset(moved.split()), is_blocked=is_blocked)


def test_every_earlier_step_that_races_is_told_and_not_only_the_last() -> None:
    history = History()
    history.record("w1", Effect(writes("x")))
    history.record("w2", Effect(writes("y")))
    races = history.record("w3", Effect(writes("x", "y")))
    assert races == [Race(0, ("w2",)), Race(1, ("w3",))]


def test_what_happens_before_the_actors_latest_step_does_not_race() -> None:
    history = History()
    history.record("w1", Effect(writes("x")))
    history.record("w2", Effect(writes("x")))
    assert history.record("w2", Effect(writes("x"))) == []


def test_what_a_step_let_go_on_happens_after_it() -> None:
    history = History()
    history.record("w1", effect(Mode.RELEASE, "lock", moved="w2"))
    assert history.record("w2", Effect(UNKNOWN)) == []
    assert [race.position for race in history.record("w3", Effect(UNKNOWN))] == [0, 1]


def test_who_became_an_option_by_what_a_step_touched_does_not_race_with_it() -> None:
    history = History()
    history.record("w1", Effect(writes("lock")))
    history.appeared("age lock")
    assert history.record("age lock", Effect(writes("lock"))) == []


def test_who_became_an_option_because_nobody_else_was_free_came_after_nobody() -> None:
    history = History()
    history.record("w1", Effect(writes("x")))
    history.appeared("w2")
    history.record("w2", Effect(reads("lock")))
    assert [race.position for race in history.record("w2", Effect(reads("x")))] == [0]


def test_what_is_done_before_a_wait_does_not_precede_what_the_holder_does_after_it() -> None:
    history = History()
    history.record("w1", effect(Mode.ACQUIRE, "lock"))
    history.record("w2", Effect(writes("x")))
    history.record("w2", effect(Mode.ACQUIRE, "lock", is_blocked=True))
    history.record("w1", effect(Mode.RELEASE, "lock", moved="w2"))
    races = history.record("w1", Effect(reads("x")))
    assert [race.position for race in races] == [1]


def test_a_race_is_begun_by_what_its_later_step_depends_on() -> None:
    history = History()
    history.record("w1", Effect(writes("x")))
    history.record("w2", Effect(writes("y")))
    history.record("w3", Effect(reads("y")))
    races = history.record("w3", Effect(reads("x")))
    assert races == [Race(0, ("w2",))]


def test_a_run_with_the_same_beginning_is_not_told_its_races_again() -> None:
    history = History()
    for is_first in (True, False):
        history.restart()
        history.record("w1", Effect(writes("x")))
        races = history.record("w2", Effect(writes("x")))
        assert bool(races) is is_first
    history.restart()
    assert history.record("w2", Effect(writes("x"))) == []
    assert history.record("w1", Effect(writes("x"))) != []


def test_a_step_that_touches_nothing_races_with_nobody() -> None:
    history = History()
    history.record("w1", Effect(UNKNOWN))
    assert history.record("w2", Effect(NOTHING)) == []
