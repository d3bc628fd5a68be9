"""Explorations as text."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contention.model.schedules import Schedule
from contention.model.steps import Link, Step
from contention.model.verdicts import Verdict, VerdictKind
from contention.search.exploration import Exploration, PromiseBrokenError
from contention.search.story import WIDTH, shortened, story

from . import samples

PAGE = Path(__file__).parents[4] / "docs/how-to/read-a-contention-report.md"


def token_of(found: Exploration) -> str:
    assert found.counterexample is not None
    return found.counterexample.schedule.token()


def test_a_lost_update_is_told_step_by_step() -> None:
    found = samples.lost_update()
    assert str(found).splitlines() == [
        "ILLEGAL: the invariant does not hold: sold 2 of 1",
        "  workers  w1 buy, w2 buy",
        "  ran      1,204 schedules in 4.2 s, 37 of them given up early as known; 12 more",
        "           to shorten the failure; 4 more to rehearse, repeat and compare",
        "  end      the first schedule that failed ended the search",
        "",
        "  1  w1  SELECT amount FROM stock WHERE item = $1 -- tea  ->  (1)  [shop.py:12]",
        "  2  w2  SELECT amount FROM stock WHERE item = $1 -- tea  ->  (1)  [shop.py:12]",
        "  3  w1  UPDATE stock SET amount = $1 WHERE item = $2 -- 0, tea  ->  UPDATE 1",
        "         [shop.py:14]",
        "  4  w2  UPDATE stock SET amount = $1 WHERE item = $2 -- 0, tea",
        "         ->  BLOCKED by w1 (row of stock, held since step 3)  [shop.py:14]",
        "  5  w1  COMMIT  ->  COMMIT  [shop.py:11]",
        "  6  w2  answer to step 4: UPDATE stock SET amount = …E item = $2 -- 0, tea",
        "         ->  UPDATE 1  [shop.py:14]",
        "  7  w2  COMMIT  ->  COMMIT  [shop.py:11]",
        "",
        f"  replay: {token_of(found)}",
        "      under pytest:  pytest --contention-replay TOKEN",
        "      in a script:   scheduler=ReplayScheduler(Schedule.from_token(TOKEN))",
    ]


def test_the_how_to_page_shows_the_text_as_it_is() -> None:
    assert f"```\n{samples.lost_update()}\n```" in PAGE.read_text(encoding="utf-8")


def test_the_error_that_a_test_fails_with_says_all_of_it() -> None:
    assert str(PromiseBrokenError(samples.deadlock())) == str(samples.deadlock())


@pytest.mark.parametrize(
    "found",
    [
        samples.lost_update(),
        samples.deadlock(),
        samples.lease_too_short(),
        samples.forty_steps(),
        samples.nasty(),
        samples.legal(),
    ],
)
def test_only_the_verdict_and_the_token_may_be_wider_than_a_terminal(found: Exploration) -> None:
    _, *lines = str(found).splitlines()
    assert [line for line in lines if len(line) > WIDTH and "replay: " not in line] == []


def test_time_that_passes_is_told_as_such() -> None:
    told = str(samples.lease_too_short())
    assert "  3  time  the time-out of lock:claim_calc:12345:2025-01-15 fires: 120 s pass" in told


def test_a_worker_with_several_connections_to_a_server_is_told_by_connection() -> None:
    steps = [
        Step(number, "w1", f"w1/{lane}", link, "X", "OK")
        for number, (lane, link) in enumerate(
            [(1, Link.POSTGRES), (2, Link.REDIS), (3, Link.POSTGRES)], start=1
        )
    ]
    assert [line.split()[1] for line in story(steps)] == ["w1/1", "w1", "w1/3"]


def test_what_a_terminal_would_obey_is_shown_as_escapes() -> None:
    told = str(samples.nasty())
    assert not {"\x1b", "\u202e"} & set(told)
    assert "\\x1b[31m\\u202e" in told


@pytest.mark.parametrize(
    ("verdict", "end"),
    [
        (Verdict(VerdictKind.LEGAL), "every schedule that matters was run, nothing was cut"),
        (
            Verdict(VerdictKind.LEGAL_UP_TO, preemptions=1),
            "every schedule with at most 1 preemption was run, none with more",
        ),
        (
            Verdict(VerdictKind.UNKNOWN, reason="9 schedules ran out"),
            "the search was not finished, so this is no pass",
        ),
    ],
)
def test_the_end_of_a_search_is_told(verdict: Verdict, end: str) -> None:
    found = Exploration({"w1": "buy"}, verdict, schedules=1, seconds=0.06)
    assert str(found).splitlines() == [
        str(verdict),
        "  workers  w1 buy",
        "  ran      1 schedule in 0.1 s",
        f"  end      {end}",
    ]


@given(st.text(), st.integers(1, 60))
def test_a_shortened_text_is_one_printable_line_that_is_short_enough(text: str, most: int) -> None:
    line = shortened(text, most)
    assert len(line) <= most
    assert line.isprintable()


@given(st.text(), st.text(), st.integers(40, 100))
def test_no_text_makes_a_line_wider_than_asked(text: str, result: str, width: int) -> None:
    lines = story([Step(1, "w1", "w1/1", Link.POSTGRES, text, result)], width)
    assert all(len(line) <= width and line.isprintable() for line in lines)
    assert lines[0].startswith("  1  w1")


def test_the_token_that_is_told_replays_the_schedule() -> None:
    found = samples.lease_too_short()
    (line,) = [one for one in str(found).splitlines() if "replay: " in one]
    assert found.counterexample is not None
    assert Schedule.from_token(line.split()[1]) == found.counterexample.schedule
