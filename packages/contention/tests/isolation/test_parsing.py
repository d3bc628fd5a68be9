"""Specs are read by the format's rules, and what is wrong is named with its line."""

import pytest

from contention.isolation.errors import SpecError
from contention.isolation.parsing import parse_spec
from contention.isolation.spec import PlannedStep, UntilDone, UntilNotices, WaitsOnce

TWO_SESSIONS = b"""session a
step a1 { A1 }
step a2 { A2 }
session b
step b1 { B1 }
"""


def names(source: bytes) -> list[str]:
    return [
        " ".join(planned.step.name for planned in schedule)
        for schedule in parse_spec(source).schedules()
    ]


def test_without_permutations_all_interleavings_run_first_sessions_first() -> None:
    assert names(TWO_SESSIONS) == ["a1 a2 b1", "a1 b1 a2", "b1 a1 a2"]


def test_written_permutations_run_as_written_with_repeats_and_gaps() -> None:
    assert names(TWO_SESSIONS + b"permutation b1 b1 permutation a2") == ["b1 b1", "a2"]


def test_markers_are_linked_to_their_steps() -> None:
    spec = parse_spec(TWO_SESSIONS + b"permutation a1(*, b1) b1(a2 notices 3) a2")
    a1, a2 = spec.sessions[0].steps
    b1 = spec.sessions[1].steps[0]
    assert spec.permutations == (
        (
            PlannedStep(a1, (WaitsOnce(), UntilDone(b1))),
            PlannedStep(b1, (UntilNotices(a2, 3),)),
            PlannedStep(a2),
        ),
    )


def test_blanks_inside_braces_are_trimmed_and_line_ends_are_not() -> None:
    spec = parse_spec(b"session s step x { \t\f a \n } step y {} step z {\n b\r\n\n\t}")
    assert [step.sql for step in spec.sessions[0].steps] == ["a \n", "", "\n b\r\n\n"]


def test_a_comment_ends_with_its_line_and_is_none_inside_braces() -> None:
    spec = parse_spec(b"session s # step y { no }\nstep x { # kept }")
    assert [step.sql for step in spec.sessions[0].steps] == ["# kept"]


def test_keywords_are_names_in_quotes_only_and_longer_words_are_names() -> None:
    spec = parse_spec(b'session "setup" step "notices" {} step steps {} step "a""b" {}')
    assert spec.sessions[0].name == "setup"
    assert [step.name for step in spec.sessions[0].steps] == ["notices", "steps", 'a"b']


def test_bytes_that_are_not_utf_8_come_through() -> None:
    spec = parse_spec(b"session s step caf\xe9 { SELECT '\xff' }")
    step = spec.sessions[0].steps[0]
    assert step.name.encode("utf-8", "surrogateescape") == b"caf\xe9"
    assert step.sql.encode("utf-8", "surrogateescape") == b"SELECT '\xff'"


def test_unused_steps_are_sorted_by_bytes_and_none_without_permutations() -> None:
    assert parse_spec(TWO_SESSIONS).unused_step_names() == []
    more = b"session c step B {} step a {} permutation a1"
    assert parse_spec(TWO_SESSIONS + more).unused_step_names() == ["B", "a", "a2", "b1"]


@pytest.mark.parametrize(
    ("source", "line", "problem"),
    [
        (b"", 1, 'expected "session", found the end of the file'),
        (b"\nsession s\n", 3, 'expected "step", found the end of the file'),
        (b"session s\nstep { }", 2, "expected a step's name, found an SQL block"),
        (b"session s\nstep step { }", 2, 'expected a step\'s name, found "step"'),
        (b"session s step x\nsession", 2, 'expected an SQL block in braces, found "session"'),
        (b"session s step x { \n\n", 1, "the SQL block that begins here has no closing brace"),
        (b'\n"open\n', 2, "the quoted name that begins here has no closing quote on its line"),
        (b"session s\n\nstep x { } ;", 3, "a spec cannot contain ';' here"),
        (b"session s step x {}\nstep x {}", 2, 'the step name "x" is taken'),
        (TWO_SESSIONS + b"permutation a1 c1", 6, 'no session has a step "c1"'),
        (
            TWO_SESSIONS + b"permutation a1(b1)",
            6,
            '"a1" waits for "b1", which is not in this permutation',
        ),
        (TWO_SESSIONS + b"permutation a1(a2) a2", 6, '"a1" cannot wait for its own session'),
        (TWO_SESSIONS + b"permutation a1(b1\nb1", 7, 'expected "," or ")", found "b1"'),
        (
            TWO_SESSIONS + b"permutation a1(b1 notices) b1",
            6,
            'expected a number of notices, found ")"',
        ),
        (TWO_SESSIONS + b"permutation a1(1)", 6, 'expected a step\'s name or "*", found "1"'),
        (
            b"session s step x {}\nsetup {}",
            2,
            'expected "step", "teardown", "session" or "permutation", found "setup"',
        ),
        (
            TWO_SESSIONS + b"permutation a1 step",
            6,
            'expected a step\'s name or "permutation", found "step"',
        ),
    ],
)
def test_a_malformed_spec_is_refused_with_its_line(source: bytes, line: int, problem: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse_spec(source)
    assert (refused.value.line, refused.value.problem) == (line, problem)
