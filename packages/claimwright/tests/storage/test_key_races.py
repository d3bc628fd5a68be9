"""The key, two writers without any locks of their own: the order is forced by the server's waits.

The second writer's transaction has its snapshot before the first one commits, comes to wait for
the first inside its statement, and goes on when the first has committed.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pytest

from support.databases import Connection, Connections
from support.ordering import blocks

from .guards import Guard, Line, Trigger
from .refusals import outcome
from .world import claim, storing

of_the_15th = partial(claim, policy=1, event=3, tier="tier3", day="2025-01-15")
VOID_THE_TOP = "UPDATE claims SET status = 'void' WHERE policy_id = 1 AND attachment_minor = 50000"
CANCEL = "UPDATE policies SET cancelled_on = '2025-01-10' WHERE id = 5"
MEET_AT_THE_ACCOUNT = Line(
    "check_policy_days",
    "UPDATE policy_accounts SET paid_minor = paid_minor WHERE policy_id = OLD.id;",
)
OPENS_ONCE = Line("admit_claims", "WHERE a.exhaustion_minor = 0")
BEGINS_AT_THE_END = Line("admit_claims", "AND a.exhaustion_minor = m.low")
WITHIN_LIMIT = Line("admit_claims", "AND a.paid_minor + w.width_minor <= p.limit_minor")
FROM_THE_TOP = Line("move_claims", "AND a.exhaustion_minor = m.high")
LIFE_CYCLE = Line("move_claims", "c.from_status <> c.to_status", "false")

LAYERS_THAT_DO_NOT_FOLLOW = """
    SELECT policy_id FROM (
        SELECT policy_id, attachment_minor, coalesce(lag(exhaustion_minor) OVER (
            PARTITION BY policy_id, period_key ORDER BY attachment_minor), 0) AS below
        FROM claims WHERE status <> 'void') l
    WHERE attachment_minor <> below
    """
ABOVE_THE_LIMIT = """
    SELECT p.id FROM policies p JOIN claims c ON c.policy_id = p.id AND c.status <> 'void'
    GROUP BY p.id HAVING sum(c.amount_minor) > p.limit_minor
    """
NOT_COVERED = """
    SELECT p.id FROM policies p JOIN claims c ON c.policy_id = p.id AND c.status <> 'void'
    WHERE c.event_date NOT BETWEEN p.first_day AND p.last_day OR c.event_date >= p.cancelled_on
    """
RESURRECTED = "SELECT policy_id FROM claims WHERE status = 'approved'"
WRONG = f"""
    {LAYERS_THAT_DO_NOT_FOLLOW} UNION {ABOVE_THE_LIMIT} UNION {NOT_COVERED} UNION {RESURRECTED}
    """


@dataclass(frozen=True, slots=True)
class Race:
    """Two statements of which the second must not be stored after the first."""

    name: str
    first: str
    second: str
    says: str
    guards: Sequence[Guard]


RACES = [
    Race(
        "the same first layer",
        storing(claim()),
        storing(claim()),
        "23P01 claims_layers_contiguous",
        [OPENS_ONCE],
    ),
    Race(
        "the same next layer",
        storing(of_the_15th(low=70_000, high=90_000)),
        storing(of_the_15th(low=70_000, high=90_000)),
        "23P01 claims_layers_contiguous",
        [BEGINS_AT_THE_END],
    ),
    Race(
        "two next layers of which one is higher",
        storing(of_the_15th(low=70_000, high=80_000)),
        storing(of_the_15th(low=70_000, high=100_000)),
        "23P01 claims_layers_contiguous",
        [BEGINS_AT_THE_END],
    ),
    Race(
        "two periods that share a limit",
        storing(claim(policy=4, event=32, product=4, high=30_000)),
        storing(
            claim(policy=4, event=31, product=4, day="2025-01-15", low=60_000, high=80_000)
        ),
        "23P01 claims_within_limit",
        [WITHIN_LIMIT],
    ),
    Race(
        "a layer on top of one that becomes void",
        VOID_THE_TOP,
        storing(of_the_15th(low=70_000, high=90_000)),
        "23P01 claims_layers_contiguous",
        [BEGINS_AT_THE_END],
    ),
    Race(
        "a void below a layer that comes on top",
        storing(of_the_15th(low=70_000, high=90_000)),
        VOID_THE_TOP,
        "23P01 claims_layers_contiguous",
        [FROM_THE_TOP],
    ),
    Race(
        "an approval of a claim that becomes void",
        VOID_THE_TOP,
        "UPDATE claims SET status = 'approved' WHERE policy_id = 1 AND attachment_minor = 50000",
        "23514 claims_life_cycle",
        [LIFE_CYCLE],
    ),
    Race(
        "a cancellation under a claim",
        storing(claim()),
        CANCEL,
        "23514 policies_cancelled_after_claims",
        [MEET_AT_THE_ACCOUNT],
    ),
    Race(
        "a claim after a cancellation",
        CANCEL,
        storing(claim()),
        "23514 claims_fit_their_event",
        [MEET_AT_THE_ACCOUNT],
    ),
]  # fmt: skip
OF_LAYERS = RACES[:4]

each_race = pytest.mark.parametrize("race", RACES, ids=lambda race: race.name)


async def run(
    connections: Connections,
    race: Race,
    *,
    isolation: str = "read committed",
    first_commits: bool = True,
) -> tuple[bool, str]:
    """Whether the second writer had to wait for the first, and what the database said to it."""
    first, second = await connections.application(), await connections.application()
    watcher = await connections.superuser()
    await first.execute("BEGIN")
    await second.execute(f"BEGIN ISOLATION LEVEL {isolation}")
    await second.fetch("SELECT FROM claims")
    assert await outcome(first, race.first) == "stored"
    task = asyncio.create_task(outcome(second, race.second))
    waited = await blocks(watcher, second.get_server_pid(), task)
    await first.execute("COMMIT" if first_commits else "ROLLBACK")
    said = await task
    await second.execute("COMMIT" if said == "stored" else "ROLLBACK")
    return waited, said


async def what_is_wrong(connections: Connections) -> list[int]:
    """Policies whose live layers, total or days break a promise."""
    watcher = await connections.superuser()
    return [row[0] for row in await watcher.fetch(WRONG)]


@each_race
async def test_the_second_writer_waits_and_is_refused(race: Race, fresh_world: Connections) -> None:
    waited, said = await run(fresh_world, race)
    assert waited
    assert said.startswith(race.says)
    assert await what_is_wrong(fresh_world) == []


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
@each_race
async def test_a_writer_with_an_old_snapshot_waits_and_has_to_begin_again(
    race: Race, isolation: str, fresh_world: Connections
) -> None:
    waited, said = await run(fresh_world, race, isolation=isolation)
    assert waited
    assert said.startswith("40001")
    assert await what_is_wrong(fresh_world) == []


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
@each_race
async def test_the_second_writer_goes_on_when_the_first_gives_up(
    race: Race, isolation: str, fresh_world: Connections
) -> None:
    waited, said = await run(fresh_world, race, isolation=isolation, first_commits=False)
    assert (waited, said) == (True, "stored")


@each_race
async def test_it_goes_through_without_its_guard(race: Race, fresh_world: Connections) -> None:
    superuser = await fresh_world.superuser()
    for guard in race.guards:
        await guard.remove(superuser)
    _, said = await run(fresh_world, race)
    assert said == "stored"
    assert await what_is_wrong(fresh_world) != []


@pytest.mark.parametrize("race", OF_LAYERS, ids=lambda race: race.name)
async def test_an_old_snapshot_pays_twice_without_the_guard(
    race: Race, fresh_world: Connections
) -> None:
    await Trigger("claims", "claims_admitted").remove(await fresh_world.superuser())
    assert await run(fresh_world, race, isolation="repeatable read") == (False, "stored")
    assert await what_is_wrong(fresh_world) != []


async def test_a_claim_voided_by_two_writers_frees_its_money_once(
    fresh_world: Connections,
) -> None:
    race = Race("twice void", VOID_THE_TOP, VOID_THE_TOP, "", [])
    assert await run(fresh_world, race) == (True, "stored")
    watcher = await fresh_world.superuser()
    assert await account(watcher, 1) == 50_000


async def account(connection: Connection, policy: int) -> int:
    """What the guard has noted as paid to the policy."""
    paid: int = await connection.fetchval(
        "SELECT paid_minor FROM policy_accounts WHERE policy_id = $1", policy
    )
    return paid
