"""Silence is over when nobody has moved or computed for long; a busy machine makes none."""

from contention.wire.silence import Silence


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def looked_at(silence: Silence, clock: Clock, until: float, share: float, began: float = 0) -> bool:
    """Look ten times a second at a worker that computes for a share of the time."""
    over = False
    while clock.now < until:
        clock.now += 0.1
        over = silence.is_over({"w1": began + clock.now * share})
    return over


def test_who_does_nothing_is_silent_after_the_limit() -> None:
    clock = Clock()
    silence = Silence(5, clock)
    assert not looked_at(silence, clock, until=4.9, share=0)
    assert looked_at(silence, clock, until=5.3, share=0)


def test_a_move_breaks_it() -> None:
    clock = Clock()
    silence = Silence(5, clock)
    looked_at(silence, clock, until=4.9, share=0)
    silence.broken()
    assert not looked_at(silence, clock, until=9.7, share=0)


def test_who_computes_now_and_then_is_not_silent() -> None:
    clock = Clock()
    assert not looked_at(Silence(5, clock), clock, until=30, share=0.1)


def test_a_loop_that_only_looks_at_a_clock_is_silent() -> None:
    clock = Clock()
    assert looked_at(Silence(5, clock), clock, until=5.3, share=0.01)


def test_who_computes_for_ever_is_silent_in_the_end() -> None:
    clock = Clock()
    assert looked_at(Silence(5, clock), clock, until=51, share=1)


def test_what_was_computed_before_the_first_look_does_not_count() -> None:
    clock = Clock()
    assert looked_at(Silence(5, clock), clock, until=5.3, share=0, began=100)
