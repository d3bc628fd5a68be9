"""Which mechanism keeps the key of claims, and what does each cost?

Sets up one schema per mechanism on one throw-away server, measures bulk and small writes side by
side, runs the same races against each, and prints ratios to a table without any key.
"""

import argparse
import asyncio
import io
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import asyncpg
from _key_races import COVER_MINOR, RACES, Stage, Verdict, is_always_sound
from _key_variants import TABLES, VARIANTS, Variant
from _postgres import throwaway_postgres

CHUNK_ROWS = 10_000
LAYERS_PER_POLICY = 2
OLD_PLAN_POLICIES = 20
OLD_PLAN_LIMIT_ROWS = 100
EVENTS = 100
WRITERS = ("one", "two", "holder")
COLUMNS = (
    "policy_id, period_key, event_id, attachment_minor, exhaustion_minor,"
    " terms_sha256, calculation_id, tier_level, payout_percentage, engine_version"
)
# Two layers a policy, as a day that crosses two tiers makes them.
OFFER = """
CREATE TABLE public.offer AS
SELECT n, 1 + n / 2 AS policy_id, '2013-06-07'::text AS period_key,
       1 + n / 2 % {events} AS event_id,
       CASE n % 2 WHEN 0 THEN 0 ELSE 2000 END::bigint AS attachment_minor,
       CASE n % 2 WHEN 0 THEN 2000 ELSE 5000 END::bigint AS exhaustion_minor,
       sha256(''::bytea) AS terms_sha256, gen_random_uuid() AS calculation_id,
       CASE n % 2 WHEN 0 THEN 'tier1' ELSE 'tier2' END AS tier_level,
       CASE n % 2 WHEN 0 THEN 20 ELSE 30 END::numeric AS payout_percentage, '1.0' AS engine_version
FROM generate_series(0, {rows}::bigint - 1) AS n;
ALTER TABLE public.offer ADD PRIMARY KEY (n);
ANALYZE public.offer
"""
BULK = f"INSERT INTO claims ({COLUMNS}) SELECT {COLUMNS} FROM public.offer WHERE n >= $1 AND n < $2"
SMALL = f"""
INSERT INTO claims ({COLUMNS})
SELECT $1::bigint, '2013-06-08', 1 + $1::bigint % {EVENTS}, l.low, l.high,
       '\\xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'::bytea,
       '6f6b5a0e-8f0a-4a40-9a51-3d8b4a4b4f0e'::uuid, l.tier, 20, '1.0'
FROM unnest($2::bigint[], $3::bigint[], $4::text[]) AS l (low, high, tier)
"""
FIRST_LAYER = ([0], [2_000], ["tier1"])
TOP_UPS = ([2_000, 5_000], [5_000, 10_000], ["tier2", "tier3"])


@dataclass(frozen=True, slots=True)
class Size:
    """How much is written: rows in bulk and how often, policies in small transactions."""

    rows: int
    repeats: int
    small_policies: int

    @property
    def policies(self) -> int:
        """Policies needed: those of the bulk rows, then fresh ones for small transactions."""
        return self.rows // LAYERS_PER_POLICY + self.small_policies


@dataclass(slots=True)
class Lane:
    """One variant with its connections and what was measured on them."""

    variant: Variant
    bulk: asyncpg.Connection
    small: asyncpg.Connection
    rates: dict[str, list[float]] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    old_plan_rows: float = 0.0

    def ratio(self, measure: str, baseline: "Lane") -> float:
        """Return the median of the ratios to the baseline's rate a moment before."""
        pairs = zip(self.rates[measure], baseline.rates[measure], strict=True)
        return median(mine / theirs for mine, theirs in pairs)


def say(text: str) -> None:
    """Tell the person at the terminal what is going on."""
    print(text, file=sys.stderr, flush=True)


Offer = Sequence[bytes]
Measure = Callable[[Lane, Offer, int], Awaitable[int]]
MEASURES = ("insert_chunk", "copy_chunk", "write_small")


async def set_up(lane: Lane, policies: int) -> None:
    """Create a variant's schema; note what small transactions read when their plans are old.

    The plans are made while the tables are tiny, then the tables grow and nothing analyses them:
    the first minute of a new installation.
    """
    await lane.bulk.execute(f"CREATE SCHEMA {lane.variant.schema}")
    await lane.bulk.execute(TABLES)
    await lane.bulk.execute(lane.variant.ddl)
    await lane.bulk.execute(
        f"INSERT INTO risk_events SELECT n, 'tier1' FROM generate_series(1, {EVENTS}) AS n"
    )
    await add_policies(lane, 1, OLD_PLAN_POLICIES)
    await lane.bulk.execute(f"VACUUM (ANALYZE) {', '.join(lane.variant.tables)}")
    await write_policies(lane, range(1, 2))
    await add_policies(lane, OLD_PLAN_POLICIES + 1, policies)
    before = await rows_read(lane)
    await write_policies(lane, range(2, OLD_PLAN_POLICIES + 1))
    transactions = 2 * (OLD_PLAN_POLICIES - 1)
    lane.old_plan_rows = (await rows_read(lane) - before) / transactions


async def add_policies(lane: Lane, first: int, last: int) -> None:
    """Create policies with their accounts."""
    rows = f"SELECT n, {COVER_MINOR}, {COVER_MINOR} FROM generate_series({first}, {last}) AS n"
    await lane.bulk.execute(f"INSERT INTO policies {rows}")
    if lane.variant.has_policy_accounts:
        await lane.bulk.execute(f"INSERT INTO policy_accounts {rows}")


async def rows_read(lane: Lane) -> int:
    """Return the rows of this variant's accounts and claims read so far, by whatever scan."""
    await lane.small.execute("SELECT pg_stat_force_next_flush()")
    await lane.small.execute("SELECT 1")
    query = """
        SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_user_tables
        WHERE schemaname = $1 AND relname IN ('claims', 'policy_accounts', 'period_accounts')"""
    return int(await lane.bulk.fetchval(query, lane.variant.schema))


async def reset(lane: Lane) -> None:
    """Empty the claims and put every account back to nothing paid."""
    await lane.bulk.execute("TRUNCATE claims")
    if lane.variant.has_period_accounts:
        await lane.bulk.execute("TRUNCATE period_accounts")
    if lane.variant.has_policy_accounts:
        await lane.bulk.execute(
            "TRUNCATE policy_accounts; INSERT INTO policy_accounts"
            " SELECT id, cover_minor, limit_minor, 0 FROM policies"
        )
        await lane.bulk.execute("VACUUM (ANALYZE) policy_accounts")
    await lane.bulk.execute("VACUUM (ANALYZE) policies")


async def insert_chunk(lane: Lane, _offer: Offer, chunk: int) -> int:
    """Write a chunk by INSERT … SELECT in a transaction; return its rows."""
    statement = await lane.bulk.prepare(BULK)
    await statement.fetch(chunk * CHUNK_ROWS, (chunk + 1) * CHUNK_ROWS)
    return CHUNK_ROWS


async def copy_chunk(lane: Lane, offer: Offer, chunk: int) -> int:
    """Write a chunk by binary COPY in a transaction; return its rows."""
    source = io.BytesIO(offer[chunk])
    await lane.bulk.copy_to_table(
        "claims", source=source, columns=COLUMNS.split(", "), format="binary"
    )
    return CHUNK_ROWS


async def write_small(lane: Lane, offer: Offer, number: int) -> int:
    """Write one policy that the bulk left alone; return the transactions."""
    policy = 1 + len(offer) * CHUNK_ROWS // LAYERS_PER_POLICY + number
    await write_policies(lane, range(policy, policy + 1))
    return 2


async def write_policies(lane: Lane, policies: range) -> None:
    """Write each policy's layers in two transactions of one and of two rows."""
    statement = await lane.small.prepare(SMALL)
    for policy in policies:
        await statement.fetch(policy, *FIRST_LAYER)
        await statement.fetch(policy, *TOP_UPS)


async def timed(measure: Measure, lanes: Sequence[Lane], offer: Offer, piece: int) -> None:
    """Do one piece of work in every lane in turn, so that a noisy moment hits all alike."""
    for lane in lanes:
        began = time.perf_counter()
        done = await measure(lane, offer, piece)
        rate = done / (time.perf_counter() - began)
        lane.rates.setdefault(measure.__name__, []).append(rate)


async def measure_all(lanes: Sequence[Lane], size: Size, offer: Offer) -> None:
    """Measure bulk writes on emptied tables, then small ones on top of the last bulk."""
    for repeat in range(size.repeats):
        for measure in (insert_chunk, copy_chunk):
            say(f"{measure.__name__}, round {repeat + 1} of {size.repeats}")
            for lane in lanes:
                await reset(lane)
            for chunk in range(len(offer)):
                await timed(measure, lanes, offer, chunk)
    await lanes[0].bulk.execute("ANALYZE")
    say(f"write_small, {size.small_policies} policies")
    for number in range(size.small_policies):
        await timed(write_small, lanes, offer, number)


async def race_all(lanes: Sequence[Lane], uri: str) -> None:
    """Run every race against every lane whose guard differs."""
    for lane in lanes:
        say(f"races: {lane.variant.name} {lane.variant.title}")
        await reset(lane)
        async with AsyncExitStack() as stack:
            writers = {name: await connect(stack, uri, lane.variant) for name in WRITERS}
            stage = Stage(lane.bulk, writers)
            for race in RACES:
                lane.verdicts.append(await stage.run(race))
                await reset_races(lane)


async def reset_races(lane: Lane) -> None:
    """Take back what a race wrote, without touching the accounts of other policies."""
    await lane.bulk.execute("TRUNCATE claims")
    if lane.variant.has_period_accounts:
        await lane.bulk.execute("TRUNCATE period_accounts")
    if lane.variant.has_policy_accounts:
        await lane.bulk.execute("UPDATE policy_accounts SET paid_minor = 0 WHERE policy_id <= 3")


async def connect(stack: AsyncExitStack, uri: str, variant: Variant) -> asyncpg.Connection:
    """Open a connection to a variant's schema, closed with the stack."""
    connection = await asyncpg.connect(
        uri,
        server_settings={
            "search_path": f"{variant.schema}, public",
            "deadlock_timeout": "100ms",
        },
    )
    stack.push_async_callback(connection.close)
    return connection


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return columns as wide as their widest cell."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, ["-" * width for width in widths], *rows)
    ]
    return "\n".join(lines)


def speeds(lanes: Sequence[Lane]) -> str:
    """Return the table of median rates and their ratios to the first lane."""

    def cell(lane: Lane, measure: str) -> str:
        return f"{median(lane.rates[measure]):9,.0f}  {lane.ratio(measure, lanes[0]):4.2f}"

    rows = [
        [
            lane.variant.name,
            lane.variant.title,
            *(cell(lane, measure) for measure in MEASURES),
            f"{lane.old_plan_rows:9,.0f}",
        ]
        for lane in lanes
    ]
    return table(
        ["", "", "INSERT rows/s", "COPY rows/s", "small tx/s", "rows read, old plan"], rows
    )


def safety(lanes: Sequence[Lane]) -> str:
    """Return the table of what each race left, lanes of the same answers in one column."""
    columns: dict[tuple[str, ...], list[str]] = {}
    for lane in lanes:
        columns.setdefault(tuple(map(str, lane.verdicts)), []).append(lane.variant.name)
    titles = [race.title for race in RACES]
    rows = [list(row) for row in zip(titles, *columns, strict=True)]
    return table(["", *map(" ".join, columns.values())], rows)


def conclusion(lanes: Sequence[Lane]) -> str:
    """Return what the numbers say: who is unsound, who scans, and the price of the best left."""
    sound = [lane for lane in lanes if is_always_sound(lane.verdicts)]
    steady = [lane for lane in sound if lane.old_plan_rows < OLD_PLAN_LIMIT_ROWS]
    sentence = (
        f"Unsound: {names(lane for lane in lanes if lane not in sound)}."
        f" Sound, but scanning whole tables with an old plan:"
        f" {names(lane for lane in sound if lane not in steady)}."
    )
    if not steady:
        return sentence
    best = max(steady, key=lambda lane: lane.ratio("insert_chunk", lanes[0]))
    insert, copy, small = (best.ratio(measure, lanes[0]) for measure in MEASURES)
    return (
        f"{sentence} Fastest of the rest in bulk: {best.variant.name} ({best.variant.title}), at"
        f" {insert:.2f} of the rate without a key for INSERT, {copy:.2f} for COPY and {small:.2f}"
        " for small transactions."
    )


def names(lanes: Iterable[Lane]) -> str:
    """Return the names of lanes, for a sentence."""
    return ", ".join(lane.variant.name for lane in lanes) or "none"


async def prepare(lanes: Sequence[Lane], size: Size) -> list[bytes]:
    """Create every schema and the rows to write; return those rows as chunks for COPY."""
    connection = lanes[0].bulk
    await connection.execute("ALTER SYSTEM SET autovacuum = off")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.execute("CREATE EXTENSION btree_gist SCHEMA public")
    await connection.execute(OFFER.format(rows=size.rows, events=EVENTS))
    for lane in lanes:
        say(f"set up: {lane.variant.name} {lane.variant.title}")
        await set_up(lane, size.policies)
    chunks = []
    for start in range(0, size.rows, CHUNK_ROWS):
        buffer = io.BytesIO()
        query = (
            f"SELECT {COLUMNS} FROM public.offer WHERE n >= {start} AND n < {start + CHUNK_ROWS}"
        )
        await connection.copy_from_query(query, output=buffer, format="binary")
        chunks.append(buffer.getvalue())
    return chunks


async def run(size: Size, chosen: Sequence[str]) -> tuple[str, list[Lane]]:
    """Measure the named variants; return the server's version and the lanes."""
    with throwaway_postgres() as uri:
        async with AsyncExitStack() as stack:
            lanes = [
                Lane(v, await connect(stack, uri, v), await connect(stack, uri, v))
                for v in VARIANTS
                if v.name in chosen
            ]
            version = str(await lanes[0].bulk.fetchval("SHOW server_version"))
            for setting in ("fsync", "synchronous_commit"):
                assert await lanes[0].bulk.fetchval(f"SHOW {setting}") == "on"
            chunks = await prepare(lanes, size)
            await measure_all(lanes, size, chunks)
            await race_all(lanes, uri)
            return version, lanes


def as_json(version: str, size: Size, lanes: Sequence[Lane]) -> str:
    """Return everything measured as JSON."""
    return json.dumps(
        {
            "postgresql": version,
            "rows": size.rows,
            "repeats": size.repeats,
            "variants": {
                lane.variant.name: {
                    "title": lane.variant.title,
                    "rates": lane.rates,
                    "old_plan_rows": lane.old_plan_rows,
                    "ratios": {m: lane.ratio(m, lanes[0]) for m in lane.rates},
                    "races": {
                        race.title: str(verdict)
                        for race, verdict in zip(RACES, lane.verdicts, strict=True)
                    },
                }
                for lane in lanes
            },
        },
        indent=1,
    )


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=60_000, help="layers written in bulk")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of bulk writes")
    parser.add_argument("--only", help="variants, e.g. A,F,G (A is always the baseline)")
    parser.add_argument("--json", type=Path, help="also write everything measured here")
    parser.add_argument("--quick", action="store_true", help="a fifth of it, under 40 seconds")
    return parser.parse_args()


def main() -> None:
    """Measure, print the two tables and the conclusion."""
    chosen = arguments()
    size = Size(20_000, 1, 50) if chosen.quick else Size(chosen.rows, chosen.repeats, 600)
    variants = [variant.name for variant in VARIANTS]
    if chosen.only:
        variants = ["A", *chosen.only.split(",")]
    version, lanes = asyncio.run(run(size, variants))
    print(
        f"PostgreSQL {version}, fsync on, {size.rows:,} rows; rate and ratio to A, paired medians\n"
    )
    print(speeds(lanes), safety(lanes), conclusion(lanes), sep="\n\n")
    if chosen.json:
        chosen.json.write_text(as_json(version, size, lanes))


if __name__ == "__main__":
    main()
