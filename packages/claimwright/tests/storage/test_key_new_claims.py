"""The key, one writer: claims that must not be stored, whoever writes and with no locks at all."""

from functools import partial

from support.databases import Connection

from .guards import Constraint, Line
from .refusals import Refusal, check_guards, check_refused, each, outcome, rolled_back
from .world import claim, storing

OPENS_ONCE = Line("admit_claims", "WHERE a.exhaustion_minor = 0")
BEGINS_AT_THE_END = Line("admit_claims", "AND a.exhaustion_minor = m.low")
FOLLOW_ONE_ANOTHER = Line(
    "admit_claims", "below IS NOT NULL AND attachment_minor <> below", "false"
)
WITHIN_LIMIT = Line("admit_claims", "AND a.paid_minor + w.width_minor <= p.limit_minor")
ONE_ACCOUNT_EACH = Line(
    "admit_claims", "moved <> (SELECT count(DISTINCT policy_id) FROM new_claims)", "false"
)
ONE_PERIOD = Line("admit_claims", "c.period_key <> n.period_key", "false")
EVENT_EXISTS = Line("admit_claims", "WHERE v.id IS NULL OR e.id IS NULL\n       OR", "WHERE")
EVENTS_DAY = Line(
    "admit_claims",
    "OR abs(n.event_date - (e.triggered_at AT TIME ZONE 'UTC')::date) > 1\n       OR",
    "OR",
)
LAYER = Constraint("claims", "claims_layer")


def period_of(when: str, due: str) -> Line:
    """The comparison of a claim's period with what its terms make of its date."""
    return Line(
        "admit_claims", f"{when} {due}", f"{when} n.period_key{' END' * due.endswith('END')}"
    )


def fits(condition: str) -> Line:
    """One of the conditions of what a claim must have in common with its event and policy."""
    return Line("admit_claims", f"       OR {condition}\n")


of_the_15th = partial(claim, policy=1, event=3, tier="tier3", day="2025-01-15")
limited = partial(claim, policy=4, event=32, product=4)

REFUSALS = [
    # (a) overlapping or non-contiguous layers
    Refusal(
        "a first layer a second time",
        storing(of_the_15th()),
        "23P01 claims_layers_contiguous",
        [OPENS_ONCE],
    ),
    Refusal(
        "the newest layer a second time",
        storing(of_the_15th(low=50_000, high=70_000)),
        "23P01 claims_layers_contiguous",
        [BEGINS_AT_THE_END],
    ),
    Refusal(
        "a layer that overlaps the newest",
        storing(of_the_15th(low=60_000, high=80_000)),
        "23P01 claims_layers_contiguous",
        [BEGINS_AT_THE_END],
    ),
    Refusal(
        "a layer above a gap",
        storing(of_the_15th(low=80_000, high=90_000)),
        "23P01 claims_layers_contiguous",
        [BEGINS_AT_THE_END],
    ),
    Refusal(
        "a period that begins above nothing",
        storing(claim(low=20_000, high=50_000)),
        "23P01 claims_layers_contiguous",
        [Line("admit_claims", "opened + moved <> periods", "false")],
    ),
    Refusal(
        "two equal layers in one statement",
        storing(claim(), claim()),
        "23P01 claims_layers_contiguous",
        [FOLLOW_ONE_ANOTHER],
    ),
    Refusal(
        "two overlapping layers in one statement",
        storing(claim(), claim(low=10_000, high=30_000)),
        "23P01 claims_layers_contiguous",
        [FOLLOW_ONE_ANOTHER],
    ),
    Refusal(
        "two layers with a gap in one statement",
        storing(claim(), claim(low=30_000, high=50_000)),
        "23P01 claims_layers_contiguous",
        [FOLLOW_ONE_ANOTHER],
    ),
    Refusal(
        "an overlap and a gap that cancel in width",
        storing(
            claim(high=30_000),
            claim(low=20_000, high=40_000),
            claim(low=50_000, high=60_000),
        ),
        "23P01 claims_layers_contiguous",
        [FOLLOW_ONE_ANOTHER],
    ),
    Refusal(
        "the same on top of stored layers",
        storing(
            of_the_15th(low=70_000, high=90_000),
            of_the_15th(low=80_000, high=85_000),
            of_the_15th(low=95_000, high=100_000),
        ),
        "23P01 claims_layers_contiguous",
        [FOLLOW_ONE_ANOTHER],
    ),
    Refusal(
        "a right claim and a wrong one in one statement",
        storing(claim(), of_the_15th()),
        "23P01 claims_layers_contiguous",
        [OPENS_ONCE],
    ),
    # (b) a total above the aggregate limit
    Refusal(
        "a total above the limit",
        storing(limited(high=40_001)),
        "23P01 claims_within_limit",
        [WITHIN_LIMIT],
    ),
    Refusal(
        "a total above the limit over two periods of one statement",
        storing(
            limited(high=30_000),
            limited(event=31, day="2025-01-15", low=60_000, high=80_000),
        ),
        "23P01 claims_within_limit",
        [WITHIN_LIMIT],
    ),
    # (c) a layer outside the cover
    Refusal(
        "a layer that ends above the cover",
        storing(claim(high=100_001)),
        "above the cover",
        [fits("n.exhaustion_minor > p.coverage_minor")],
    ),
    Refusal(
        "a layer that begins below nothing",
        storing(claim(low=-1)),
        "23514 claims_layer |claims_layers_contiguous",
        [LAYER, Line("admit_claims", "opened + moved <> periods", "false")],
    ),
    Refusal(
        "a layer of no width",
        storing(of_the_15th(low=70_000, high=70_000)),
        "23514 claims_layer ",
        [LAYER],
    ),
    Refusal(
        "a layer that pays back",
        storing(of_the_15th(low=70_000, high=50_000)),
        "23514 claims_layer ",
        [LAYER],
    ),
    Refusal(
        "a percentage above one hundred",
        storing(claim().replace(", 20, 'calculated'", ", 101, 'calculated'")),
        "23514 claims_payout_percentage_check",
        [Constraint("claims", "claims_payout_percentage_check")],
    ),
    # (d) a claim without its policy or event, or of another one's
    Refusal(
        "a claim of no policy",
        storing(claim(policy=99)),
        "23503 .* policy does not exist",
        [ONE_ACCOUNT_EACH],
    ),
    Refusal(
        "a claim of no event",
        storing(claim(event=99)),
        "do not exist",
        [EVENT_EXISTS],
    ),
    Refusal(
        "an event of other terms",
        storing(claim(event=11)),
        "of other terms",
        [fits("e.product_version_id <> p.product_version_id")],
    ),
    Refusal(
        "an event of another region",
        storing(claim(event=41)),
        "of another region",
        [fits("e.region <> p.coverage_region")],
    ),
    Refusal(
        "an event of another zone",
        storing(claim(event=42)),
        "of another zone",
        [fits("e.zone <> p.zone")],
    ),
    Refusal(
        "a tier that is not the event's",
        storing(claim(tier="tier3")),
        "of another tier",
        [fits("e.tier_level <> n.tier_level")],
    ),
    Refusal(
        "a date that is not the event's",
        storing(claim(day="2025-01-18")),
        "its date is not its event's",
        [EVENTS_DAY],
    ),
    Refusal(
        "a neighbour of the date that the event was made for",
        storing(claim(event=43, day="2025-01-15")),
        "its date is not its event's",
        [fits("e.local_date <> n.event_date")],
    ),
    Refusal(
        "one event in two periods of one statement",
        storing(claim(), claim(day="2025-01-17")),
        "23514 claims_event_in_one_period",
        [ONE_PERIOD],
    ),
    Refusal(
        "an event that has paid in another period",
        storing(claim(policy=1, event=1, day="2025-01-16")),
        "23514 claims_event_in_one_period",
        [ONE_PERIOD],
    ),
    Refusal(
        "a date before the cover begins",
        storing(claim(event=44, day="2024-12-31")),
        "not covered",
        [fits("n.event_date NOT BETWEEN p.first_day AND p.last_day")],
    ),
    Refusal(
        "a date from the cancellation on",
        storing(claim()),
        "not covered",
        [fits("n.event_date >= p.cancelled_on")],
        before="UPDATE policies SET cancelled_on = '2025-01-16' WHERE id = 5",
    ),
    Refusal(
        "a period that is not the date's",
        storing(claim(period="2025-01-15")),
        "its period is not that of its date",
        [period_of("WHEN 'once_per_day' THEN", "to_char(n.event_date, 'YYYY-MM-DD')")],
    ),
    Refusal(
        "a day as the period of monthly terms",
        storing(claim(policy=2, event=11, product=2)),
        "its period is not that of its date",
        [period_of("WHEN 'once_per_month' THEN", "to_char(n.event_date, 'YYYY-MM')")],
    ),
    Refusal(
        "a month as the period of terms that pay once",
        storing(claim(policy=3, event=21, product=3, period="2025-01")),
        "its period is not that of its date",
        [period_of("ELSE", "'term' END")],
    ),
    Refusal(
        "a claim that is born approved",
        storing(claim(status="approved")),
        "born calculated",
        [Line("admit_claims", "OR n.status <> 'calculated'\n")],
    ),
    Refusal(
        "a claim that is born void",
        storing(claim(status="void")),
        "born calculated",
        [Line("admit_claims", "OR n.status <> 'calculated'\n")],
    ),
    Refusal(
        "a claim of other terms' hash",
        storing(claim(product=2)),
        "calculated with other terms",
        [fits("n.terms_sha256 <> v.terms_sha256")],
    ),
]  # fmt: skip


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


async def test_right_claims_are_stored_whoever_writes(writers: dict[str, Connection]) -> None:
    statements = [
        storing(claim()),
        storing(claim(high=20_000), claim(low=20_000, high=100_000)),
        storing(of_the_15th(low=70_000, high=100_000)),
        storing(limited(high=40_000)),
        storing(claim(policy=2, event=11, product=2, period="2025-01")),
        storing(claim(policy=3, event=21, product=3, period="term")),
        storing(claim(event=43)),
        storing(claim(policy=6, event=1, day="2025-01-15")),
    ]
    for connection in writers.values():
        for statement in statements:
            async with rolled_back(connection):
                assert await outcome(connection, statement) == "stored"
