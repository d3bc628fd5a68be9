"""The key, one writer: changes of a claim's status, and what a void claim frees."""

from itertools import permutations

import pytest

from claimwright.domain.lifecycle import TRANSITIONS, ClaimStatus
from support.databases import Connection

from .guards import Constraint, Line
from .refusals import Refusal, check_guards, check_refused, each, outcome, rolled_back
from .world import claim, storing

FROM_THE_TOP = Line("move_claims", "AND a.exhaustion_minor = m.high")
ONE_AFTER_ANOTHER = Line("move_claims", "broken > 0", "false")
LIFE_CYCLE = Line("move_claims", "c.from_status <> c.to_status", "false")

VOID = "UPDATE claims SET status = 'void' WHERE policy_id = 1 AND attachment_minor"
OF_THE_VOID_CLAIM = claim(policy=6, event=1, day="2025-01-15").replace(
    "(6,", "((SELECT id FROM claims WHERE policy_id = 6), 6,"
)

REFUSALS = [
    Refusal(
        "the lowest layer becomes void",
        f"{VOID} = 0",
        "23P01 claims_layers_contiguous",
        [FROM_THE_TOP],
    ),
    Refusal(
        "a layer in the middle becomes void",
        f"{VOID} = 20000",
        "23P01 claims_layers_contiguous",
        [FROM_THE_TOP],
    ),
    Refusal(
        "the lowest and the highest become void at once",
        f"{VOID} <> 20000",
        "23P01 claims_layers_contiguous",
        [ONE_AFTER_ANOTHER],
    ),
    Refusal(
        "a void claim becomes live",
        "UPDATE claims SET status = 'calculated' WHERE policy_id = 6",
        "23514 claims_life_cycle",
        [LIFE_CYCLE],
    ),
    Refusal(
        "a void claim becomes live by an upsert",
        storing(OF_THE_VOID_CLAIM).replace("(policy_id", "(id, policy_id")
        + " ON CONFLICT (policy_id, id) DO UPDATE SET status = 'approved'",
        "23514 claims_life_cycle",
        [LIFE_CYCLE],
    ),
    Refusal(
        "a void claim becomes live by MERGE",
        "MERGE INTO claims c USING policies p ON p.id = c.policy_id AND p.id = 6"
        " WHEN MATCHED THEN UPDATE SET status = 'paid'",
        "23514 claims_life_cycle",
        [LIFE_CYCLE],
    ),
    Refusal(
        "a void claim and live ones become paid in one statement",
        "UPDATE claims SET status = 'approved'",
        "23514 claims_life_cycle",
        [LIFE_CYCLE],
    ),
    Refusal(
        "a status that there is not",
        "UPDATE claims SET status = 'forgotten' WHERE policy_id = 1",
        "23514 claims_(status_check|life_cycle)",
        [Constraint("claims", "claims_status_check"), LIFE_CYCLE],
    ),
]


@each(REFUSALS)
async def test_it_is_refused_whoever_writes(
    refusal: Refusal, writers: dict[str, Connection]
) -> None:
    await check_refused(writers, refusal)


@each(REFUSALS)
async def test_it_goes_through_without_its_guards(
    refusal: Refusal, writers: dict[str, Connection]
) -> None:
    await check_guards(writers["a superuser"], refusal)


async def test_the_database_has_the_life_cycle_of_the_domain(
    writers: dict[str, Connection],
) -> None:
    rows = await writers["the application"].fetch("SELECT * FROM claim_transitions")
    due = {(before.value, after.value) for before in TRANSITIONS for after in TRANSITIONS[before]}
    assert {tuple(row) for row in rows} == due


@pytest.mark.parametrize(("before", "after"), list(permutations(ClaimStatus, 2)))
async def test_a_claim_changes_its_status_as_the_table_says(
    before: ClaimStatus, after: ClaimStatus, writers: dict[str, Connection]
) -> None:
    change = "UPDATE claims SET status = '{}' WHERE policy_id = 4"
    connection = writers["the application"]
    async with rolled_back(connection):
        for status in way_to(before):
            await connection.execute(change.format(status))
        said = await outcome(connection, change.format(after))
    assert said == "stored" if after in TRANSITIONS[before] else "claims_life_cycle" in said


def way_to(status: ClaimStatus) -> list[ClaimStatus]:
    """The statuses a new claim goes through to get there, itself the last."""
    if status is ClaimStatus.CALCULATED:
        return []
    before = next(before for before in TRANSITIONS if status in TRANSITIONS[before])
    return [*way_to(before), status]


FROM_TOP_TO_BOTTOM = [
    [f"{VOID} = 50000", f"{VOID} = 20000", f"{VOID} = 0"],
    [f"{VOID} >= 20000", f"{VOID} = 0"],
    [f"{VOID} >= 0"],
]


@pytest.mark.parametrize("statements", FROM_TOP_TO_BOTTOM, ids=["one by one", "two", "all at once"])
async def test_a_period_voided_from_the_top_can_be_paid_again(
    statements: list[str], writers: dict[str, Connection]
) -> None:
    for connection in writers.values():
        async with rolled_back(connection):
            for statement in statements:
                await connection.execute(statement)
            again = claim(policy=1, event=1, day="2025-01-15", high=100_000)
            assert await outcome(connection, storing(again)) == "stored"


async def test_a_layer_above_those_that_stay_can_be_paid_again(
    writers: dict[str, Connection],
) -> None:
    connection = writers["the application"]
    again = claim(policy=1, event=3, tier="tier3", day="2025-01-15", low=50_000, high=90_000)
    async with rolled_back(connection):
        await connection.execute(f"{VOID} = 50000")
        assert await outcome(connection, storing(again)) == "stored"


VOID_AND_PAY_UP_TO_THE_LIMIT = (
    "UPDATE claims SET status = 'void' WHERE policy_id = 4;"
    + storing(claim(policy=4, event=32, product=4, high=100_000))
)  # fmt: skip


async def test_a_void_claim_frees_its_part_of_the_limit(writers: dict[str, Connection]) -> None:
    for connection in writers.values():
        async with rolled_back(connection):
            assert await outcome(connection, VOID_AND_PAY_UP_TO_THE_LIMIT) == "stored"


async def test_a_limit_that_a_void_claim_does_not_free_is_caught(
    writers: dict[str, Connection],
) -> None:
    connection = writers["a superuser"]
    frees = Line(
        "move_claims", "paid_minor = a.paid_minor - w.width_minor", "paid_minor = a.paid_minor"
    )
    async with rolled_back(connection):
        await frees.remove(connection)
        said = await outcome(connection, VOID_AND_PAY_UP_TO_THE_LIMIT)
        assert "claims_within_limit" in said
