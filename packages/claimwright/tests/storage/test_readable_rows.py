"""Rows that nobody could read: the database refuses what it can see to be unusable, psql's too.

No row is ever removed, so that one of these would stand in everybody's way for ever.
"""

import json
from typing import Any

from claimwright.domain.calendar import zone_names
from claimwright.domain.money import currency_codes
from claimwright.domain.terms_text import terms_from_mapping
from claimwright.embedded import ServerAddresses
from claimwright.storage.schema import upgrade
from claimwright.testing import terms_for_testing
from support.databases import Connection, Connections

from .guards import Constraint, Line, Trigger
from .refusals import Refusal, check_guards, check_refused, each, outcome, rolled_back
from .world import claim, storing

LATER = "20000-01-01T00:00Z"
POLICY_NAMES = Trigger("policies", "policies_names")
EVENT_ZONE = Line("check_new_events", "WHERE zone IS NOT NULL AND", "WHERE false AND")


def policy(zone: str = "UTC", currency: str = "USD", created_at: str = "now") -> str:
    return (
        "INSERT INTO policies (id, policy_number, product_version_id, coverage_region, zone,"
        " coverage_minor, limit_minor, currency, first_day, last_day, created_at) VALUES"
        f" (9, 'P-9', 1, 'JFK', '{zone}', 100000, 300000, '{currency}', '2025-01-01',"
        f" '2025-12-31', '{created_at}')"
    )


def event(
    zone: str = "UTC", value: str = "1.5", reading_ids: str = "{1}", created_at: str = "now"
) -> str:
    return (
        "INSERT INTO risk_events (id, product_version_id, region, triggered_at, tier_level, value,"
        " zone, local_date, reading_ids, created_at) VALUES (9, 1, 'JFK', '2025-01-16T12:00Z',"
        f" 'tier2', {value}, '{zone}', '2025-01-16', '{reading_ids}', '{created_at}')"
    )


def product(document: object, code: str = "another", created_at: str = "now") -> str:
    text = document if isinstance(document, str) else json.dumps(document)
    return (
        "INSERT INTO product_versions (id, code, version, terms, terms_sha256, created_at)"
        f" VALUES (9, '{code}', 1, $terms${text}$terms$,"
        f" sha256(convert_to($terms${text}$terms$, 'UTF8')), '{created_at}')"
    )


def changed(path: str, value: object) -> dict[str, Any]:
    """Right terms but for one key, by its dotted path; `None` takes the key away."""
    document: dict[str, Any] = json.loads(terms_for_testing().canonical_json)
    document["product"]["code"] = "another"
    place: Any = document
    *parents, last = path.split(".")
    for key in parents:
        place = place[int(key) if isinstance(place, list) else key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return document


def terms(name: str, constraint: str, path: str, value: object) -> Refusal:
    return Refusal(
        f"terms with {name}",
        product(changed(path, value)),
        f"23514 product_versions_{constraint}",
        [Constraint("product_versions", f"product_versions_{constraint}")],
    )


SHAPES = [
    ("a key that terms do not have", "bonus", {}),
    ("a key that a product does not have", "product.colour", "red"),
    ("a key that an index does not have", "index.colour", "red"),
    ("a key that bounds do not have", "index.plausible.usual", "1"),
    ("a key that a payout does not have", "payout.colour", "red"),
    ("no peril", "product.peril", None),
    ("a peril that is no text", "product.peril", 7),
    ("no cadence", "index.cadence_minutes", None),
    ("no tiers", "payout.tiers", []),
    ("tiers that are no list", "payout.tiers", {"tier1": "20"}),
    ("a tier that is no table", "payout.tiers", ["tier1"]),
    ("a tier without a name", "payout.tiers.1.level", None),
    ("a threshold that is a JSON number", "payout.tiers.1.threshold", 2.5),
    ("a threshold that is no number", "payout.tiers.2.threshold", "deep"),
    ("a payout that is no number", "payout.tiers.0.payout_percent", "NaN"),
    ("a limit that is a JSON number", "payout.aggregate_limit_percent", 100),
]
WORDS = [
    ("an unknown index", "index.kind", "daily_mean"),
    ("an unknown comparison", "payout.comparison", ">"),
    ("an unknown day boundary", "payout.day_boundary", "noon"),
]
NUMBERS = [
    ("a limit of nothing", "payout.aggregate_limit_percent", "0"),
    ("an endless limit", "payout.aggregate_limit_percent", "Infinity"),
    ("a limit that is no number", "payout.aggregate_limit_percent", "NaN"),
    ("bounds that nothing lies between", "index.plausible.minimum", "20"),
    ("a bound that is no number", "index.plausible.maximum", "NaN"),
    ("a bound beyond all readings", "index.plausible.maximum", "1000000000000"),
    ("half a minute of cadence", "index.cadence_minutes", 0.5),
    ("a window for a daily sum", "index.window_hours", 24),
]

ROWS = [
    Refusal(
        "a policy in a zone that nobody knows",
        policy(zone="Mars/Base"),
        "23514 policies_zone_known .*P-9: Mars/Base",
        [POLICY_NAMES],
    ),
    Refusal(
        "a policy in a zone that PostgreSQL alone knows",
        policy(zone="posix/Europe/Paris"),
        "23514 policies_zone_known",
        [POLICY_NAMES],
    ),
    Refusal(
        "a policy in a zone by another case",
        policy(zone="america/new_york"),
        "23514 policies_zone_known",
        [POLICY_NAMES],
    ),
    Refusal(
        "a policy in a currency that nobody knows",
        policy(currency="ZZZ"),
        "23514 policies_currency_known .*P-9: ZZZ",
        [POLICY_NAMES],
    ),
    Refusal(
        "an event of a zone that nobody knows",
        event(zone="Mars/Base"),
        "23514 risk_events_zone_known",
        [EVENT_ZONE],
    ),
    *(
        Refusal(
            f"an event with an index of {value}",
            event(value=value),
            "23514 risk_events_value_bounded",
            [Constraint("risk_events", "risk_events_value_bounded")],
        )
        for value in ("'NaN'", "'-Infinity'", "1e24", "1e-21")
    ),
    *(
        Refusal(
            f"an event of the readings {reading_ids}",
            event(reading_ids=reading_ids),
            "23514 risk_events_readings_listed",
            [Constraint("risk_events", "risk_events_readings_listed")],
        )
        for reading_ids in ("{1,NULL}", "{{1,2},{3,4}}")
    ),
    *(terms(name, "shape", path, value) for name, path, value in SHAPES),
    *(terms(name, "words", path, value) for name, path, value in WORDS),
    *(terms(name, "numbers", path, value) for name, path, value in NUMBERS),
    Refusal(
        "terms whose code is no name",
        product(changed("product.code", "An Other"), code="An Other"),
        "23514 product_versions_words",
        [Constraint("product_versions", "product_versions_words")],
    ),
]


def stamped(table: str, statement: str) -> Refusal:
    return Refusal(
        f"a stamp of {table} that no calendar knows",
        statement,
        f"23514 {table}_stamp_known",
        [Constraint(table, f"{table}_stamp_known")],
    )


STAMPS = [
    stamped("product_versions", product(changed("product.peril", "rain"), created_at=LATER)),
    stamped("policies", policy(created_at=LATER)),
    stamped("risk_events", event(created_at=LATER)),
    stamped(
        "readings",
        "INSERT INTO readings (region, variable, observed_at, value, ingested_at) VALUES"
        f" ('JFK', 'precipitation-for-testing', '2025-01-15T14:00Z', 1, '{LATER}')",
    ),
    stamped(
        "event_withdrawals", f"INSERT INTO event_withdrawals VALUES (5, 1, 'r', 'a', '{LATER}')"
    ),
    stamped(
        "claims",
        storing(claim())
        .replace("engine_version)", "engine_version, calculated_at)")
        .replace("'by hand')", f"'by hand', '{LATER}')"),
    ),
]


@each([*ROWS, *STAMPS])
async def test_it_is_refused_whoever_writes(
    refusal: Refusal, writers: dict[str, Connection]
) -> None:
    await check_refused(writers, refusal)


@each([*ROWS, *STAMPS])
async def test_it_goes_through_without_its_guards(
    refusal: Refusal, writers: dict[str, Connection]
) -> None:
    await check_guards(writers["a superuser"], refusal)


async def test_every_zone_and_currency_of_the_rules_is_stored_whoever_writes(
    writers: dict[str, Connection],
) -> None:
    rows = [(zone, "USD") for zone in sorted(zone_names())]
    rows += [("GMT", code) for code in sorted(currency_codes() - {"USD"})]
    for connection in writers.values():
        async with rolled_back(connection):
            await connection.executemany(
                "INSERT INTO policies (policy_number, product_version_id, coverage_region, zone,"
                " coverage_minor, limit_minor, currency, first_day, last_day) VALUES"
                " ($1 || $2, 1, 'JFK', $1, 100000, 300000, $2, '2025-01-01', '2025-12-31')",
                rows,
            )


async def test_terms_that_the_rules_take_are_stored_whoever_writes(
    writers: dict[str, Connection],
) -> None:
    rolling = changed("index.kind", "rolling_sum")
    rolling["index"] |= {"window_hours": 744, "plausible": {"minimum": "-0.5", "maximum": "999"}}
    rolling["payout"] |= {"comparison": "<=", "aggregate_limit_percent": "50000"}
    for tier, threshold in zip(rolling["payout"]["tiers"], ("-1.5", "-2", "-3.25"), strict=True):
        tier["threshold"] = threshold
    for document in (rolling, changed("payout.day_boundary", "midnight_closes_day")):
        right = product(terms_from_mapping(document).canonical_json)
        for connection in writers.values():
            async with rolled_back(connection):
                assert await outcome(connection, right) == "stored"


async def test_names_that_the_rules_learn_are_known_after_the_next_upgrade(
    fresh_database: ServerAddresses, fresh_connections: Connections
) -> None:
    superuser = await fresh_connections.superuser()
    await superuser.execute(
        "ALTER TABLE known_zones DISABLE TRIGGER USER;"
        "ALTER TABLE known_currencies DISABLE TRIGGER USER;"
        "DELETE FROM known_zones WHERE name = 'Europe/Paris';"
        "DELETE FROM known_currencies WHERE code = 'EUR'"
    )
    for _ in range(2):
        await upgrade(fresh_database.owner_database_url)
        zones = await superuser.fetch("SELECT name FROM known_zones")
        codes = await superuser.fetch("SELECT code FROM known_currencies")
        assert {row[0] for row in zones} == zone_names()
        assert {row[0] for row in codes} == currency_codes()
