"""Two runs of one schedule: connections that only have other numbers are no difference."""

import itertools

import psycopg
import pytest

from contention.model.steps import Link, Step
from contention.model.verdicts import VerdictKind
from contention.search.determinism import difference
from contention.wire.servers import Links, Servers

from .programs import READ, accounts_hold, found_by


def run(*asked: tuple[int, str]) -> list[Step]:
    """The steps of ``w1``: on which connection, and what."""
    return [
        Step(number, "w1", f"w1/{lane}", Link.POSTGRES, text, "done")
        for number, (lane, text) in enumerate(asked, 1)
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (run((1, "a"), (2, "b"), (1, "c")), run((2, "a"), (1, "b"), (2, "c"))),
        (run((1, "a"), (1, "COMMIT"), (1, "b")), run((1, "a"), (1, "COMMIT"), (2, "b"))),
        (run((1, "a"), (1, "rollback;"), (1, "b")), run((2, "a"), (2, "rollback;"), (1, "b"))),
    ],
    ids=["other numbers", "after a commit", "after a rollback"],
)
def test_who_uses_other_connections_in_the_same_way_does_the_same(
    one: list[Step], other: list[Step]
) -> None:
    assert difference(one, other).in_shape == ""


def test_a_request_in_another_open_transaction_is_told_with_both_connections() -> None:
    told = difference(run((1, "a"), (2, "b"), (1, "c")), run((1, "a"), (2, "b"), (2, "c")))
    assert told.in_shape == "step 3, w1 c -> done, was asked on w1/1, then on w1/2"


async def test_a_pool_that_gives_any_of_its_connections_is_undecided_no_more(
    servers: Servers,
) -> None:
    turn = itertools.count()

    def work(links: Links) -> None:
        with psycopg.connect(links.postgres_url) as one, psycopg.connect(links.postgres_url) as two:
            (one, two)[next(turn) % 2].execute(READ)

    found = await found_by(servers, work, invariant=accounts_hold(0))
    assert found.verdict.kind is VerdictKind.LEGAL
    assert next(turn) > 1
