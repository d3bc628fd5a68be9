"""`claimwright work`: what is asked for and still to do, and dead letters, as people see them."""

import asyncio
from pathlib import Path

import pytest
from stamina.instrumentation import get_on_retry_hooks

from claimwright.cli.exits import Exit
from claimwright.embedded import ServerAddresses
from support.commands import Commands
from support.databases import plain_connections

DIE = """
    UPDATE work_requests SET attempted_generation = generation, attempts = 8, attempted_at = now(),
        handed_on_generation = generation, handed_on_at = now(),
        dead_generation = generation, failure = 'the database said 55P03' WHERE id = 1
    """


@pytest.fixture
def insured(command: Commands, examples: Path, fresh_database: ServerAddresses) -> Commands:
    """Policies that are asked for, the first of them a dead letter."""
    for name in ("nyc-rain", "nyc-wind"):
        command("products", "add", examples / f"{name}.toml")
    done = command("policies", "import", examples / "policies.csv")
    assert done.code == Exit.DONE, done

    async def die() -> None:
        async with plain_connections(fresh_database) as connections:
            await (await connections.superuser()).execute(DIE)

    asyncio.run(die())
    return command


def test_without_work_it_says_so(command: Commands) -> None:
    assert command("work", "list").out == "Nothing is pending.\n"
    assert command("work", "list", "--dead").out == "No dead letters.\n"
    assert command("work", "retry", "--all-dead").out == "0 requests waiting to be handed on.\n"


def test_pending_requests_are_listed_with_what_became_of_them(insured: Commands) -> None:
    listed = insured("work", "list")
    dead, waiting = [line for line in listed.out.splitlines() if " policy " in line][:2]
    assert " dead " in dead
    assert "55P03" in dead
    assert " waiting " in waiting
    document = insured.json("work", "list", "--dead")
    (one,) = document["requests"]
    assert (one["id"], one["state"], one["attempts"]) == (1, "dead", 8)
    assert (one["kind"], one["failure"]) == ("policy", "the database said 55P03")
    assert document["next"] is None


def test_what_was_given_up_is_not_only_pending_to_who_verifies(insured: Commands) -> None:
    found = insured("verify")
    assert found.code == Exit.PENDING
    assert "(1 of them given up: claimwright work list --dead)" in " ".join(found.out.split())


def test_who_tries_again_does_not_speak_for_itself(command: Commands) -> None:
    command("work", "list")
    assert get_on_retry_hooks() == ()


def test_a_page_says_how_to_go_on(insured: Commands) -> None:
    document = insured.json("work", "list", "--limit", "1")
    assert [one["id"] for one in document["requests"]] == [1]
    assert document["next"] == "1"
    assert "--after 1" in insured("work", "list", "--limit", "1").err
    assert insured.json("work", "list", "--after", "1")["requests"][0]["id"] == 2


def test_dead_letters_are_tried_again_by_id_or_all_of_them(insured: Commands) -> None:
    assert insured("work", "retry", "1").out == "1 request waiting to be handed on.\n"
    (one,) = insured.json("work", "list", "--limit", "1")["requests"]
    assert (one["state"], one["attempts"], one["failure"]) == ("waiting", 0, "")
    assert insured.json("work", "retry", "--all-dead") == {"retried": 0}


def test_what_is_not_pending_cannot_be_tried_again(insured: Commands) -> None:
    finished = insured("work", "retry", "1", "999")
    assert finished.code == Exit.NOT_FOUND
    assert "there is no pending request 999" in finished.err
    assert [one["id"] for one in insured.json("work", "list", "--dead")["requests"]] == [1]


@pytest.mark.parametrize("arguments", [(), ("1", "--all-dead")])
def test_one_says_which_to_try_again(command: Commands, arguments: tuple[str, ...]) -> None:
    finished = command("work", "retry", *arguments)
    assert finished.code == Exit.INVALID
    assert "--all-dead" in finished.err
