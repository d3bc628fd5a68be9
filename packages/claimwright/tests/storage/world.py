"""A small insured world that is stored once, and the statements that are tried on it.

All events lie in region JFK and all policies are in UTC with a cover of 100,000 minor units for
2025, unless it is said otherwise.

====== ============================================ ===========================================
policy terms                                        live layers, in thousands
====== ============================================ ===========================================
1      1: once a day, limit 300 %                   2025-01-15: (0, 20] (20, 50] (50, 70]
2      2: once a month, limit 300 %                 none
3      3: once a policy, limit 300 %                none
4      4: once a day, limit 100 %                   2025-01-15: (0, 60]
5      1                                            none
6      1                                            none; one of 2025-01-15, (0, 20], is void
====== ============================================ ===========================================
"""

from datetime import UTC, date, datetime
from functools import partial
from typing import Final

from claimwright.testing import terms_for_testing
from support.databases import Connection

_PRODUCTS: Final = {
    1: terms_for_testing("once_per_day", 300),
    2: terms_for_testing("once_per_month", 300),
    3: terms_for_testing("once_per_policy", 300),
    4: terms_for_testing("once_per_day", 100),
}
_POLICIES: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 1, 6: 1}
_EVENTS: Final = [
    # id, product, day, hour, tier; region and zone are JFK and none
    (1, 1, 15, 12, "tier1"),
    (2, 1, 15, 14, "tier2"),
    (3, 1, 15, 16, "tier3"),
    (4, 1, 16, 12, "tier1"),
    (11, 2, 16, 12, "tier1"),
    (21, 3, 16, 12, "tier1"),
    (31, 4, 15, 12, "tier1"),
    (32, 4, 16, 12, "tier1"),
]
_EVENT_COLUMNS: Final = "id, product_version_id, region, triggered_at, tier_level, zone, local_date"
_ODD_EVENTS: Final = """
    (41, 1, 'LGA', '2025-01-16T12:00Z', 'tier1', NULL, NULL),
    (42, 1, 'JFK', '2025-01-16T12:00Z', 'tier1', 'America/New_York', '2025-01-16'),
    (43, 1, 'JFK', '2025-01-16T12:00Z', 'tier1', 'UTC', '2025-01-16'),
    (44, 1, 'JFK', '2024-12-31T12:00Z', 'tier1', NULL, NULL)
    """


def claim(
    *,
    policy: object = 5,
    event: object = 4,
    day: str = "2025-01-16",
    period: str | None = None,
    tier: str = "tier1",
    low: int = 0,
    high: int = 20_000,
    status: str = "calculated",
    product: int = 1,
) -> str:
    """The values of a claim's row, by default a right one: the first layer of policy 5."""
    return (
        f"({policy}, {event}, '{day}', '{period or day}', '{tier}', {low}, {high}, 20, '{status}',"
        f" (SELECT terms_sha256 FROM product_versions WHERE id = {product}),"
        " gen_random_uuid(), 'by hand')"
    )


def storing(*rows: str) -> str:
    """One statement that stores these claims."""
    return (
        "INSERT INTO claims (policy_id, event_id, event_date, period_key, tier_level,"
        " attachment_minor, exhaustion_minor, payout_percentage, status, terms_sha256,"
        f" calculation_id, engine_version) VALUES {', '.join(rows)}"
    )


async def store_world(connection: Connection) -> None:
    """Store the world above."""
    for product, terms in _PRODUCTS.items():
        await connection.execute(
            "INSERT INTO product_versions (id, code, version, terms, terms_sha256)"
            " VALUES ($1, $2, $3, $4, $5)",
            product, terms.code, product, terms.canonical_json, terms.sha256,
        )  # fmt: skip
    for policy, product in _POLICIES.items():
        limit_minor = _PRODUCTS[product].limit_minor(100_000)
        await connection.execute(
            "INSERT INTO policies (id, policy_number, product_version_id, coverage_region, zone,"
            " coverage_minor, limit_minor, currency, first_day, last_day)"
            " VALUES ($1, $2, $3, 'JFK', 'UTC', 100000, $4, 'USD', $5, $6)",
            policy, f"P-{policy}", product, limit_minor, date(2025, 1, 1), date(2025, 12, 31),
        )  # fmt: skip
    await _store_events_and_readings(connection)
    await _store_claims(connection)


async def _store_events_and_readings(connection: Connection) -> None:
    for number, product, day, hour, tier in _EVENTS:
        await connection.execute(
            f"INSERT INTO risk_events ({_EVENT_COLUMNS})"
            " VALUES ($1, $2, 'JFK', $3, $4, NULL, NULL)",
            number, product, datetime(2025, 1, day, hour, tzinfo=UTC), tier,
        )  # fmt: skip
    await connection.execute(f"INSERT INTO risk_events ({_EVENT_COLUMNS}) VALUES {_ODD_EVENTS}")
    await connection.execute(
        """
        INSERT INTO readings (region, variable, observed_at, value) VALUES
            ('JFK', 'precipitation-for-testing', '2025-01-15T12:00Z', 3.14),
            ('JFK', 'precipitation-for-testing', '2025-01-15T13:00Z', 1048.36);
        INSERT INTO quarantined_readings VALUES (1, 2, 'above the plausible maximum');
        INSERT INTO event_withdrawals VALUES (6, 1, 'a broken gauge', 'somebody');
        """
    )


async def _store_claims(connection: Connection) -> None:
    of_the_15th = partial(claim, policy=1, day="2025-01-15")
    await connection.execute(
        storing(
            of_the_15th(event=1, low=0, high=20_000),
            of_the_15th(event=2, tier="tier2", low=20_000, high=50_000),
            of_the_15th(event=3, tier="tier3", low=50_000, high=70_000),
        )
    )
    await connection.execute(
        storing(claim(policy=4, event=31, day="2025-01-15", high=60_000, product=4))
    )
    await connection.execute(storing(claim(policy=6, event=1, day="2025-01-15")))
    await connection.execute("UPDATE claims SET status = 'void' WHERE policy_id = 6")
