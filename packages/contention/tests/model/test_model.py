import pytest
from hypothesis import given
from hypothesis import strategies as st

from contention.model.footprints import (
    NOTHING,
    UNKNOWN,
    Footprint,
    Mode,
    Resource,
    reads,
    touching,
    writes,
)
from contention.model.schedules import Choice, InvalidTokenError, Schedule
from contention.model.verdicts import Verdict, VerdictKind


def test_two_reads_can_be_exchanged_and_a_write_cannot() -> None:
    assert not reads("a").conflicts_with(reads("a", "b"))
    assert reads("a").conflicts_with(writes("a"))
    assert writes("a").conflicts_with(writes("a"))
    assert not writes("a").conflicts_with(writes("b"))


def test_what_is_not_known_conflicts_with_everything_that_touches_anything() -> None:
    assert UNKNOWN.conflicts_with(reads("a"))
    assert reads("a").conflicts_with(UNKNOWN)
    assert UNKNOWN.conflicts_with(UNKNOWN)
    assert not UNKNOWN.conflicts_with(NOTHING)


def test_joined_footprints_keep_the_stronger_mode_and_the_doubt() -> None:
    joined = reads("a").joined([writes("a"), reads("b")])
    assert joined == Footprint(((Resource("a"), Mode.WRITE), (Resource("b"), Mode.READ)))
    assert not joined.joined([UNKNOWN]).is_known


def test_rows_of_one_unique_key_are_apart_and_the_table_has_them_all() -> None:
    first, second = (Resource("table t", "t_pkey", value) for value in "12")
    by_name = Resource("table t", "t_name_key", "a")
    assert first.overlaps(first)
    assert not first.overlaps(second)
    assert first.overlaps(by_name)
    assert first.overlaps(Resource("table t"))
    assert not first.overlaps(Resource("table u"))


def test_a_reader_does_not_notice_what_is_not_committed() -> None:
    for mode in (Mode.STAGE, Mode.ACQUIRE, Mode.HELD):
        assert not touching(mode, "a").conflicts_with(reads("a"))
        assert not reads("a").conflicts_with(touching(mode, "a"))
    assert reads("a").races_with(touching(Mode.RELEASE, "a"))


def test_two_who_take_a_lock_race_and_its_holder_races_with_nobody() -> None:
    acquire, held, release = (
        touching(mode, "a") for mode in (Mode.ACQUIRE, Mode.HELD, Mode.RELEASE)
    )
    assert acquire.races_with(acquire)
    for one, other in ((held, acquire), (acquire, held), (release, acquire), (acquire, release)):
        assert not one.races_with(other)


def test_a_lock_is_had_after_its_release_and_asked_for_at_any_time() -> None:
    acquire, release = touching(Mode.ACQUIRE, "a"), touching(Mode.RELEASE, "a")
    assert release.precedes(acquire)
    assert not acquire.precedes(release)
    assert acquire.conflicts_with(release)


def test_rows_named_by_different_keys_keep_no_order_by_their_locks() -> None:
    by_id, by_name = Resource("table t", "t_pkey", "1"), Resource("table t", "t_name_key", "a")
    release = Footprint(((by_id, Mode.RELEASE),))
    acquire = Footprint(((by_name, Mode.ACQUIRE),))
    assert release.races_with(acquire)
    assert acquire.races_with(release)
    assert acquire.races_with(Footprint(((by_id, Mode.HELD),)))


@pytest.mark.parametrize("mode", [Mode.ACQUIRE, Mode.HELD, Mode.RELEASE, Mode.STAGE, Mode.WRITE])
def test_who_stages_or_writes_races_with_all_who_lock(mode: Mode) -> None:
    for other in (Mode.STAGE, Mode.WRITE):
        assert touching(other, "a").races_with(touching(mode, "a"))
        assert touching(mode, "a").races_with(touching(other, "a"))


def test_two_commits_publish_what_is_their_own() -> None:
    release = touching(Mode.RELEASE, "a")
    assert not release.conflicts_with(release)


def test_a_commit_releases_all_that_was_staged_and_keeps_what_was_read() -> None:
    whole = touching(Mode.STAGE, "a").joined([reads("b"), touching(Mode.ACQUIRE, "c")])
    assert whole.released() == touching(Mode.RELEASE, "a", "c").joined([reads("b")])


def test_unknown_is_never_green() -> None:
    assert Verdict(VerdictKind.LEGAL).is_green
    assert Verdict(VerdictKind.LEGAL_UP_TO, preemptions=2).is_green
    assert not Verdict(VerdictKind.UNKNOWN, reason="time ran out").is_green
    assert not Verdict(VerdictKind.ILLEGAL, reason="lost").is_green


def test_a_verdict_says_its_bound_and_its_reason() -> None:
    assert str(Verdict(VerdictKind.LEGAL)) == "LEGAL"
    assert str(Verdict(VerdictKind.LEGAL_UP_TO, preemptions=2)) == "LEGAL up to 2 preemptions"
    assert str(Verdict(VerdictKind.UNKNOWN, reason="time ran out")) == "UNKNOWN: time ran out"


@pytest.mark.parametrize(
    ("kind", "preemptions", "reason"),
    [
        (VerdictKind.LEGAL, 2, ""),
        (VerdictKind.LEGAL_UP_TO, None, ""),
        (VerdictKind.ILLEGAL, None, ""),
        (VerdictKind.LEGAL, None, "why"),
    ],
)
def test_a_verdict_that_contradicts_itself_is_not_made(
    kind: VerdictKind, preemptions: int | None, reason: str
) -> None:
    with pytest.raises(ValueError, match=r"belongs|say why"):
        Verdict(kind, preemptions, reason)


@given(st.lists(st.text(min_size=1)))
def test_a_token_gives_its_schedule_back(actors: list[str]) -> None:
    schedule = Schedule(tuple(Choice(actor) for actor in actors))
    assert Schedule.from_token(schedule.token()) == schedule


@pytest.mark.parametrize("token", ["", "x", "c1", "c1!!!", "c1AAAA", "c2abc"])
def test_a_damaged_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidTokenError):
        Schedule.from_token(token)


def test_switches_count_the_changes_of_actor() -> None:
    schedule = Schedule(tuple(Choice(actor) for actor in ("w1", "w1", "w2", "w1")))
    assert schedule.switches == 2
