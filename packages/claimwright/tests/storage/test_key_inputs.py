"""The key, one writer: terms, policies and events that do not fit, and what the guard keeps."""

from support.databases import Connection

from .guards import Constraint, Line, Trigger
from .refusals import Refusal, check_guards, check_refused, each, outcome, rolled_back
from .world import claim, storing


def policy(product: int = 1, limit_minor: int = 300_000, cover_minor: int = 100_000) -> str:
    return (
        "INSERT INTO policies (id, policy_number, product_version_id, coverage_region, zone,"
        " coverage_minor, limit_minor, currency, first_day, last_day) VALUES"
        f" (9, 'P-9', {product}, 'JFK', 'UTC', {cover_minor}, {limit_minor}, 'USD',"
        " '2025-01-01', '2025-12-31')"
    )


def event(product: int = 1, tier: str = "tier1", zone: str = "NULL", day: str = "NULL") -> str:
    return (
        "INSERT INTO risk_events (id, product_version_id, region, triggered_at, tier_level, zone,"
        f" local_date) VALUES (9, {product}, 'JFK', '2025-01-16T12:00Z', '{tier}', {zone}, {day})"
    )


def reading(
    instant: str,
    restates: str,
    value: str = "7",
    number: str = "DEFAULT",
) -> str:
    return (
        "INSERT INTO readings (id, region, variable, observed_at, value, restates_id) VALUES"
        f" ({number}, 'JFK', 'precipitation-for-testing', '{instant}', {value}, {restates})"
    )


def terms(text: str, code: str = "code", sha256_of: str = "terms") -> str:
    return (
        "INSERT INTO product_versions (id, code, version, terms, terms_sha256)"
        f" SELECT 9, {code}, 9, {text}, sha256(convert_to({sha256_of}, 'UTF8'))"
        " FROM product_versions WHERE id = 1"
    )


WEEKLY = "replace(terms, 'once_per_day', 'once_per_week')"
IN_FURLONGS = """regexp_replace(terms, '"unit":"[^"]*"', '"unit":"furlongs"')"""
TIER_OF_TERMS = Line(
    "check_new_events",
    "WHERE NOT EXISTS (\n        SELECT FROM jsonb",
    "WHERE NOT EXISTS (\n        SELECT UNION ALL SELECT FROM jsonb",
)
RESTATES = Trigger("readings", "readings_restate")
NEXT_READING = "(SELECT max(id) + 1 FROM readings)"
LIMIT_OF_TERMS = Line("open_policy_accounts", "IF FOUND", "IF false")

INPUTS = [
    *(
        Refusal(
            f"a reading of {instant}",
            reading(instant, "NULL"),
            "23514 readings_instant_known",
            [Constraint("readings", "readings_instant_known")],
        )
        for instant in ("infinity", "-infinity", "0044-03-15T12:00Z BC", "9999-12-31T12:00Z")
    ),
    *(
        Refusal(
            f"an event of {instant}",
            event().replace("2025-01-16T12:00Z", instant),
            "23514 risk_events_instant_known",
            [Constraint("risk_events", "risk_events_instant_known")],
        )
        for instant in ("infinity", "1492-10-12T12:00Z")
    ),
    Refusal(
        "an event of a day without end",
        event(zone="'UTC'", day="'infinity'"),
        "23514 risk_events_day_known",
        [Constraint("risk_events", "risk_events_day_known")],
    ),
    Refusal(
        "a policy without end",
        policy().replace("2025-12-31", "infinity"),
        "23514 policies_days_known",
        [Constraint("policies", "policies_days_known")],
    ),
    Refusal(
        "a policy extended without end",
        "UPDATE policies SET last_day = '2200-01-01' WHERE id = 1",
        "23514 policies_days_known",
        [Constraint("policies", "policies_days_known")],
    ),
    Refusal(
        "a limit that is not that of the terms",
        policy(limit_minor=300_001),
        "23514 policies_limit_of_terms",
        [LIMIT_OF_TERMS],
    ),
    Refusal(
        "a policy of no terms",
        policy(product=99),
        "23503 policies_product_version_id_fkey|policies_limit_of_terms",
        [Constraint("policies", "policies_product_version_id_fkey"), LIMIT_OF_TERMS],
    ),
    Refusal(
        "a policy that covers nothing",
        policy(cover_minor=0, limit_minor=0),
        "23514 policies_coverage_minor_check",
        [Constraint("policies", "policies_coverage_minor_check")],
    ),
    Refusal(
        "an event of a tier that its terms do not have",
        event(tier="tier9"),
        "23514 risk_events_tier_of_terms",
        [TIER_OF_TERMS],
    ),
    Refusal(
        "an event of no terms",
        event(product=99),
        "23503 risk_events_product_version_id_fkey|risk_events_tier_of_terms",
        [Constraint("risk_events", "risk_events_product_version_id_fkey"), TIER_OF_TERMS],
    ),
    Refusal(
        "an event with a zone and no date",
        event(zone="'UTC'"),
        "23514 risk_events_origin",
        [Constraint("risk_events", "risk_events_origin")],
    ),
    Refusal(
        "a restatement of another instant",
        reading("2025-01-15T14:00Z", "1"),
        "23514 readings_restate_their_instant",
        [RESTATES],
    ),
    Refusal(
        "a restatement of a restatement",
        reading("2025-01-15T12:00Z", "(SELECT max(id) FROM readings)"),
        "23514 readings_restate_their_instant",
        [RESTATES],
        before=reading("2025-01-15T12:00Z", "1", value="9"),
    ),
    Refusal(
        "a restatement of itself",
        reading("2025-01-15T14:00Z", NEXT_READING, number=NEXT_READING),
        "23514 readings_restate_their_instant",
        [RESTATES],
    ),
    Refusal(
        "a restatement of no reading",
        reading("2025-01-15T14:00Z", "99999"),
        "23503 readings_restates_id_fkey|23514 readings_restate_their_instant",
        [Constraint("readings", "readings_restates_id_fkey"), RESTATES],
    ),
    Refusal(
        "terms with another text's hash",
        terms("terms || ' '", sha256_of="'another text'"),
        "23514 product_versions_hash",
        [Constraint("product_versions", "product_versions_hash")],
    ),
    Refusal(
        "terms of another product",
        terms("terms || ' '", code="'another'", sha256_of="terms || ' '"),
        "23514 product_versions_code",
        [Constraint("product_versions", "product_versions_code")],
    ),
    Refusal(
        "an unknown frequency",
        terms(WEEKLY, sha256_of=WEEKLY),
        "23514 product_versions_frequency",
        [Constraint("product_versions", "product_versions_frequency")],
    ),
    Refusal(
        "terms that measure a known variable in another unit",
        terms(IN_FURLONGS, sha256_of=IN_FURLONGS),
        "23514 product_versions_unit_of_variable",
        [Line("check_units", "IF FOUND", "IF false")],
    ),
    Refusal(
        "the same terms as another version",
        terms("terms"),
        "23505 product_versions_code_terms_sha256_key",
        [Constraint("product_versions", "product_versions_code_terms_sha256_key")],
    ),
]


def kept(table: str, trigger: str, statement: str) -> Refusal:
    return Refusal(
        statement,
        statement,
        "23001 .* is refused",
        [Trigger(table, trigger)],
        application_may_write=False,
    )


OF_THE_GUARD = [
    kept("policy_accounts", "policy_accounts_guarded", statement)
    for statement in (
        "UPDATE policy_accounts SET paid_minor = 0",
        "INSERT INTO policy_accounts VALUES (77, 0)",
        "DELETE FROM policy_accounts",
        "TRUNCATE policy_accounts",
    )
] + [
    kept("period_accounts", "period_accounts_guarded", statement)
    for statement in (
        "UPDATE period_accounts SET exhaustion_minor = 0",
        "INSERT INTO period_accounts VALUES (5, '2025-01-16', 20000)",
        "DELETE FROM period_accounts",
        "TRUNCATE period_accounts",
    )
] + [
    kept("claim_transitions", "claim_transitions_immutable", statement)
    for statement in (
        "UPDATE claim_transitions SET to_status = 'calculated' WHERE from_status = 'paid'",
        "INSERT INTO claim_transitions VALUES ('void', 'paid')",
        "DELETE FROM claim_transitions",
        "TRUNCATE claim_transitions",
    )
]  # fmt: skip


@each([*INPUTS, *OF_THE_GUARD])
async def test_it_is_refused_whoever_writes(
    refusal: Refusal, writers: dict[str, Connection]
) -> None:
    await check_refused(writers, refusal)


@each([*INPUTS, *OF_THE_GUARD])
async def test_it_goes_through_without_its_guards(
    refusal: Refusal, writers: dict[str, Connection]
) -> None:
    await check_guards(writers["a superuser"], refusal)


async def test_right_terms_policies_and_events_are_stored_whoever_writes(
    writers: dict[str, Connection],
) -> None:
    right = [
        terms("terms || ' '", sha256_of="terms || ' '"),
        policy(),
        event(),
        event(zone="'UTC'", day="'2025-01-16'", tier="tier2"),
        reading("2025-01-15T14:00Z", "NULL"),
        reading("2025-01-15T12:00Z", "1"),
    ]
    for connection in writers.values():
        for statement in right:
            async with rolled_back(connection):
                assert await outcome(connection, statement) == "stored"


async def test_temporary_tables_cannot_stand_in_for_the_guards_own(
    writers: dict[str, Connection],
) -> None:
    connection = writers["a superuser"]
    async with rolled_back(connection):
        await connection.execute(
            """
            CREATE TEMPORARY TABLE period_accounts (LIKE public.period_accounts INCLUDING ALL);
            CREATE TEMPORARY TABLE policy_accounts (LIKE public.policy_accounts INCLUDING ALL);
            CREATE TEMPORARY TABLE claim_transitions AS SELECT 'void' from_status, 'paid' to_status;
            INSERT INTO policy_accounts VALUES (1, 0);
            """
        )
        again = storing(claim(policy=1, event=3, tier="tier3", day="2025-01-15"))
        resurrected = "UPDATE claims SET status = 'paid' WHERE policy_id = 6"
        async with rolled_back(connection):
            assert "claims_layers_contiguous" in await outcome(connection, again)
        async with rolled_back(connection):
            assert "claims_life_cycle" in await outcome(connection, resurrected)
