"""The key, one writer: facts are only ever added; policies keep what they pay."""

from collections.abc import Container
from itertools import chain

from claimwright.storage.claims import Claim
from claimwright.storage.policies import Policy
from claimwright.storage.products import ProductVersion
from claimwright.storage.readings import QuarantinedReading, StoredReading
from claimwright.storage.risk_events import RiskEvent
from support.databases import Connection

from .guards import Constraint, Line, Trigger
from .refusals import Refusal, check_guards, check_refused, each, outcome, rolled_back
from .world import claim, storing

UNITS = ["variable", "unit", "named_at"]
WITHDRAWALS = ["policy_id", "event_id", "reason", "actor", "withdrawn_at"]

#: Each table of facts, with the tables that refer to it, and a row that nothing refers to.
FACTS = {
    "claims": ([], "policy_id = 6"),
    "risk_events": (["event_withdrawals"], "id = 44"),
    "readings": (["quarantined_readings"], "id = 1"),
    "quarantined_readings": ([], "true"),
    "event_withdrawals": ([], "true"),
    "policies": (["event_withdrawals"], "id = 3"),
    "product_versions": (
        ["policies", "risk_events", "quarantined_readings", "event_withdrawals"],
        "id = 9",
    ),
    "variable_units": ([], "true"),
    "known_zones": ([], "true"),
    "known_currencies": ([], "true"),
}
A_PRODUCT_OF_ITS_OWN = """
    INSERT INTO product_versions (id, code, version, terms, terms_sha256)
    SELECT 9, code, 9, terms || ' ', sha256(convert_to(terms || ' ', 'UTF8'))
    FROM product_versions WHERE id = 1
    """

DELETES = [
    Refusal(
        f"DELETE from {table}",
        f"DELETE FROM {table} WHERE {where}",
        "23001 .* rows are only ever added",
        [Trigger(table, f"{table}_keep")],
        before=A_PRODUCT_OF_ITS_OWN,
        application_may_write=False,
    )
    for table, (_, where) in FACTS.items()
]
TRUNCATES = [
    Refusal(
        f"TRUNCATE of {table}",
        f"TRUNCATE {table} CASCADE",
        "23001 .* rows are only ever added",
        [Trigger(kept, f"{kept}_keep_all") for kept in [table, *referring]],
        application_may_write=False,
    )
    for table, (referring, _) in FACTS.items()
]


def changes(
    table: str, columns: list[str], changeable: Container[str] = frozenset()
) -> list[Refusal]:
    """An UPDATE of each column that cannot change, to the value that it has."""
    return [
        Refusal(
            f"UPDATE of {table}.{column}",
            f"UPDATE {table} SET {column} = {column}",
            "23001 .* is refused",
            [Trigger(table, f"{table}_immutable")],
            application_may_write=False,
        )
        for column in columns
        if column not in changeable
    ]


def columns_of(model: type) -> list[str]:
    return [column.key for column in model.__table__.columns if column.computed is None]  # type: ignore[attr-defined]


CHANGES = [
    *changes("claims", columns_of(Claim), {"status"}),
    *changes("risk_events", columns_of(RiskEvent), {"note"}),
    *changes("readings", columns_of(StoredReading)),
    *changes("quarantined_readings", columns_of(QuarantinedReading)),
    *changes("event_withdrawals", WITHDRAWALS),
    *changes("variable_units", UNITS),
    *changes("known_zones", ["name"]),
    *changes("known_currencies", ["code"]),
    *changes("product_versions", columns_of(ProductVersion)),
    *changes("policies", columns_of(Policy), {"last_day", "cancelled_on"}),
]

REAL_CHANGES = [
    Refusal(
        "a claim that pays more",
        "UPDATE claims SET exhaustion_minor = 30000 WHERE policy_id = 1 AND attachment_minor = 0",
        "23001",
        [Trigger("claims", "claims_immutable")],
        application_may_write=False,
    ),
    Refusal(
        "a claim whose amount is written",
        "UPDATE claims SET amount_minor = 1 WHERE policy_id = 1",
        "428C9",
        [],
    ),
    Refusal(
        "a policy that covers more, by an upsert",
        "INSERT INTO policies SELECT * FROM policies WHERE id = 1"
        " ON CONFLICT (id) DO UPDATE SET coverage_minor = 999999",
        "23001",
        [Trigger("policies", "policies_immutable")],
        application_may_write=False,
    ),
    Refusal(
        "a policy that covers more, by MERGE",
        "MERGE INTO policies p USING claims c ON c.policy_id = p.id AND p.id = 4"
        " WHEN MATCHED THEN UPDATE SET coverage_minor = 999999",
        "23001",
        [Trigger("policies", "policies_immutable")],
        application_may_write=False,
    ),
]

POLICY_DAYS = [
    Refusal(
        "a policy that is shortened",
        "UPDATE policies SET last_day = '2025-06-30' WHERE id = 5",
        "23514 policies_never_shortened",
        [Line("check_policy_days", "NEW.last_day < OLD.last_day", "false")],
    ),
    Refusal(
        "a policy that is cancelled under a live claim",
        "UPDATE policies SET cancelled_on = '2025-01-15' WHERE id = 1",
        "23514 policies_cancelled_after_claims",
        [Line("check_policy_days", "    IF FOUND THEN", "    IF false THEN")],
    ),
    Refusal(
        "a policy that is cancelled under a live claim, in two steps",
        "UPDATE policies SET cancelled_on = '2025-01-15' WHERE id = 1",
        "23514 policies_cancelled_after_claims",
        [Line("check_policy_days", "    IF FOUND THEN", "    IF false THEN")],
        before="UPDATE policies SET cancelled_on = '2025-01-16' WHERE id = 1",
    ),
    Refusal(
        "a cancellation outside the policy's days",
        "UPDATE policies SET cancelled_on = '2026-01-01' WHERE id = 5",
        "23514 policies_cancelled_within",
        [Constraint("policies", "policies_cancelled_within")],
    ),
]
ALL = list(chain(DELETES, TRUNCATES, CHANGES, POLICY_DAYS))


@each([*ALL, *REAL_CHANGES])
async def test_it_is_refused_whoever_writes(
    refusal: Refusal, writers: dict[str, Connection]
) -> None:
    await check_refused(writers, refusal)


@each([*ALL, *(refusal for refusal in REAL_CHANGES if refusal.guards)])
async def test_it_goes_through_without_its_guards(
    refusal: Refusal, writers: dict[str, Connection]
) -> None:
    await check_guards(writers["a superuser"], refusal)


async def test_a_policy_can_be_extended_cancelled_after_its_claims_and_reinstated(
    writers: dict[str, Connection],
) -> None:
    for connection in writers.values():
        async with rolled_back(connection):
            for change in (
                "last_day = '2026-12-31'",
                "cancelled_on = '2025-01-16'",
                "cancelled_on = '2025-03-01'",
                "cancelled_on = NULL",
            ):
                said = await outcome(connection, f"UPDATE policies SET {change} WHERE id = 1")
                assert said == "stored", change


async def test_a_policy_can_be_cancelled_before_a_claim_that_is_void(
    writers: dict[str, Connection],
) -> None:
    async with rolled_back(writers["the application"]):
        said = await outcome(
            writers["the application"],
            "UPDATE policies SET cancelled_on = '2025-01-10' WHERE id = 6",
        )
    assert said == "stored"


async def test_an_extended_policy_pays_for_its_new_days(writers: dict[str, Connection]) -> None:
    statement = """
        UPDATE policies SET last_day = '2026-12-31' WHERE id = 5;
        INSERT INTO risk_events (id, product_version_id, region, triggered_at, tier_level)
        VALUES (50, 1, 'JFK', '2026-01-02T12:00Z', 'tier1');
        """
    async with rolled_back(writers["the application"]):
        said = await outcome(
            writers["the application"],
            statement + storing(claim(event=50, day="2026-01-02")),
        )
    assert said == "stored"
