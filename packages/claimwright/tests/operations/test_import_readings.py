"""Readings come in: every good row once, every bad one reported, whatever stops the import."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import text

from claimwright.domain.errors import InvalidInputError
from claimwright.domain.index import Comparison, IndexDefinition, IndexKind
from claimwright.domain.periods import PayoutFrequency
from claimwright.domain.schedule import TIER_PAYOUTS, PayoutSchedule
from claimwright.domain.terms import ProductTerms
from claimwright.embedded import ServerAddresses
from claimwright.files.mapping_text import mapping_from_toml
from claimwright.operations.add_product import add_product
from claimwright.operations.import_readings import import_readings
from claimwright.operations.list_readings import (
    list_quarantined,
    list_readings,
    list_restatements,
    readings_filter,
)
from claimwright.operations.transactions import transaction
from claimwright.runtime import Runtime
from claimwright.storage.listed_readings import ReadingsFilter
from support.databases import Connections, environment_of
from support.ordering import wait_until_blocked_by

MAPPING_TEXT = """
[region]
column = "station"
[observed_at]
column = "at"
[[variables]]
name = "rain"
unit = "mm"
"""
MAPPING = mapping_from_toml(MAPPING_TEXT)
START = datetime(2013, 1, 1, tzinfo=UTC)
EVERYTHING = ReadingsFilter()


def lines_of(count: int) -> list[str]:
    return [f"JFK,{START + timedelta(hours=n):%Y-%m-%dT%H:%M:%SZ},0.{n}" for n in range(count)]


def csv_file(folder: Path, lines: Sequence[str]) -> Path:
    path = folder / "rain.csv"
    path.write_text("\n".join(["station,at,rain", *lines]) + "\n", encoding="utf-8")
    return path


def mend(path: Path, old: str, new: str) -> list[str]:
    """Replace text of a file; returns the lines it had."""
    content = path.read_text(encoding="utf-8")
    path.write_text(content.replace(old, new), encoding="utf-8")
    return content.splitlines()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def terms(maximum: int = 100, unit: str = "mm") -> ProductTerms:
    return ProductTerms(
        code=f"rain-{maximum}-{unit}",
        peril="rain",
        index=IndexDefinition("rain", unit, IndexKind.DAILY_SUM, Decimal(0), Decimal(maximum)),
        comparison=Comparison.AT_LEAST,
        schedule=PayoutSchedule.from_rules(TIER_PAYOUTS),
        thresholds=(Decimal(1), Decimal(2), Decimal(3)),
        frequency=PayoutFrequency.ONCE_PER_DAY,
    )


async def stored(runtime: Runtime) -> list[tuple[str, Decimal, bool]]:
    async with transaction(runtime) as connection:
        rows = await connection.execute(
            text("SELECT region, value, restates_id IS NULL FROM readings ORDER BY id")
        )
        return [(row[0], row[1], row[2]) for row in rows]


async def test_an_import_that_is_run_again_changes_nothing(
    fresh_runtime: Runtime, tmp_path: Path
) -> None:
    source = csv_file(tmp_path, lines_of(50))
    first = await import_readings(fresh_runtime, source, MAPPING)
    again = await import_readings(fresh_runtime, source, MAPPING)
    assert (first.rows, first.added, first.known, first.refused) == (50, 50, 0, 0)
    assert (again.rows, again.added, again.known, again.restated) == (50, 0, 50, 0)
    assert (first.first_observed_at, first.last_observed_at) == (
        START,
        START + timedelta(hours=49),
    )
    assert len(await stored(fresh_runtime)) == 50
    assert names_in(tmp_path) == [source.name]


async def test_another_value_for_a_known_instant_is_kept_beside_the_first_and_listed(
    fresh_runtime: Runtime, tmp_path: Path
) -> None:
    at = "2013-01-01T00:00:00Z"
    await import_readings(fresh_runtime, csv_file(tmp_path, [f"JFK,{at},1.0"]), MAPPING)
    source = csv_file(tmp_path, [f"JFK,{at},2.5", f"JFK,{at},1.00", f"JFK,{at},2.5"])
    report = await import_readings(fresh_runtime, source, MAPPING)
    assert (report.added, report.restated, report.known) == (0, 1, 2)
    page = await list_restatements(fresh_runtime, EVERYTHING, limit=10)
    (item,) = page.items
    assert (item.known_value, item.restated_value) == (Decimal(1), Decimal("2.5"))


async def test_of_one_instant_twice_in_a_file_the_first_row_counts(
    fresh_runtime: Runtime, tmp_path: Path
) -> None:
    at = "2013-01-01T00:00:00Z"
    rows = [f"JFK,{at},{value}" for value in ("9", "3", "9", "5")]
    source = csv_file(tmp_path, rows)
    preview = await import_readings(fresh_runtime, source, MAPPING, dry_run=True)
    report = await import_readings(fresh_runtime, source, MAPPING)
    assert (report.added, report.restated, report.known) == (1, 2, 1)
    assert (preview.added, preview.restated, preview.known) == (1, 2, 1)
    assert (await stored(fresh_runtime))[0] == ("JFK", Decimal(9), True)


async def test_bad_rows_are_reported_and_quarantined_and_every_good_row_is_stored(
    fresh_runtime: Runtime, tmp_path: Path
) -> None:
    lines = lines_of(6)
    lines[1] = "JFK,2013-01-01T01:00:00Z,wet"
    lines[3] = "JFK,yesterday,0.3"
    lines[5] = "JFK,2999-01-01T00:00:00Z,1"
    report = await import_readings(fresh_runtime, csv_file(tmp_path, lines), MAPPING)
    assert [(refusal.row, refusal.reason) for refusal in report.refusals] == [
        (3, "rain: 'wet' is not a number such as 1234.5"),
        (5, "at: 'yesterday' is not of the form 2013-06-07T14:00:00Z"),
        (7, "at: '2999-01-01T00:00:00Z' is not between 1801 and 2199"),
    ]
    assert (report.rows, report.added, report.refused) == (6, 3, 3)
    assert report.quarantine == tmp_path / "rain.csv.quarantine.csv"
    quarantined = mend(report.quarantine, ",wet", ",0.1")
    assert quarantined[0] == "row,reason,station,at,rain"
    assert len(quarantined) == 4
    again = await import_readings(fresh_runtime, report.quarantine, MAPPING)
    assert (again.added, again.refused) == (1, 2)


async def test_a_reading_from_the_future_is_refused(fresh_runtime: Runtime, tmp_path: Path) -> None:
    ahead = datetime.now(UTC) + timedelta(days=3)
    source = csv_file(tmp_path, [f"JFK,{ahead:%Y-%m-%dT%H:%M:%SZ},1"])
    report = await import_readings(fresh_runtime, source, MAPPING)
    assert report.refusals[0].reason.endswith("lies in the future")


async def test_a_dry_run_says_what_would_be_done_and_does_none_of_it(
    fresh_runtime: Runtime, tmp_path: Path
) -> None:
    await add_product(fresh_runtime, terms(maximum=5))
    known = csv_file(tmp_path, lines_of(3))
    await import_readings(fresh_runtime, known, MAPPING)
    before = await stored(fresh_runtime)
    lines = [*lines_of(4), "JFK,2013-01-01T00:00:00Z,7", "bad"]
    source = csv_file(tmp_path, lines)
    preview = await import_readings(fresh_runtime, source, MAPPING, dry_run=True)
    assert await stored(fresh_runtime) == before
    assert names_in(tmp_path) == [source.name]
    report = await import_readings(fresh_runtime, source, MAPPING)
    for name in ("rows", "added", "restated", "known", "implausible", "refused", "refusals"):
        assert getattr(preview, name) == getattr(report, name), name
    assert (report.added, report.restated, report.implausible) == (1, 1, 1)


async def test_an_import_that_stops_between_two_batches_is_completed_by_running_it_again(
    fresh_runtime: Runtime, tmp_path: Path
) -> None:
    lines = lines_of(12_000)
    lines[10] = "JFK,never,1"
    source = csv_file(tmp_path, lines)

    def stop(_done: int, _total: int, rows: int) -> None:
        if rows >= 10_000:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await import_readings(fresh_runtime, source, MAPPING, notify=stop)
    assert len(await stored(fresh_runtime)) == 9_999
    assert names_in(tmp_path) == [source.name]
    report = await import_readings(fresh_runtime, source, MAPPING)
    assert (report.added, report.known, report.restated, report.refused) == (2_000, 9_999, 0, 1)
    assert len(await stored(fresh_runtime)) == 11_999


async def test_a_connection_that_the_server_ends_between_two_batches_costs_nothing(
    fresh_runtime: Runtime, fresh_database: ServerAddresses, tmp_path: Path
) -> None:
    ended: list[int] = []

    async def end_connections() -> None:
        connections = Connections(fresh_database)
        superuser = await connections.superuser()
        ended.append(
            await superuser.fetchval(
                "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() "
                "AND application_name = 'claimwright'"
            )
        )
        await connections.close()

    def end(_done: int, _total: int, rows: int) -> None:
        # In a thread, because the import's own loop is waiting for this function.
        if rows == 5_000:
            with ThreadPoolExecutor(1) as pool:
                pool.submit(asyncio.run, end_connections()).result()

    source = csv_file(tmp_path, lines_of(11_000))
    report = await import_readings(fresh_runtime, source, MAPPING, notify=end)
    assert ended == [1]
    assert (report.added, report.known) == (11_000, 0)
    assert len(await stored(fresh_runtime)) == 11_000


KILLED = """
import asyncio, sys
from contextlib import ExitStack
from pathlib import Path
from claimwright.files.mapping_text import mapping_from_toml
from claimwright.operations.import_readings import import_readings
from claimwright.runtime import open_runtime, reach_servers
from claimwright.settings import load_settings

async def main():
    settings = load_settings()
    async with open_runtime(settings, reach_servers(settings, ExitStack())) as runtime:
        await import_readings(
            runtime, Path(sys.argv[1]), mapping_from_toml(sys.argv[2]), notify=stay
        )

def stay(done, total, rows):
    print(rows, flush=True)
    sys.stdin.read()

asyncio.run(main())
"""


async def test_an_import_that_is_killed_is_completed_by_running_it_again(
    fresh_runtime: Runtime, fresh_database: ServerAddresses, tmp_path: Path
) -> None:
    source = csv_file(tmp_path, ["bad", *lines_of(12_000)])
    with subprocess.Popen(  # noqa: ASYNC220 - its lines are waited for; nothing else runs here
        [sys.executable, "-c", KILLED, str(source), MAPPING_TEXT],
        env={**environment_of(fresh_database), "PYTHONPATH": ":".join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"5000\n"
        process.kill()
    killed = await stored(fresh_runtime)
    assert len(killed) == 4_999
    report = await import_readings(fresh_runtime, source, MAPPING)
    assert (report.added, report.known, report.refused) == (7_001, 4_999, 1)
    assert len(await stored(fresh_runtime)) == 12_000


async def test_stored_readings_ask_for_their_evaluation_and_known_ones_do_not(
    fresh_runtime: Runtime, tmp_path: Path
) -> None:
    source = csv_file(tmp_path, lines_of(30))

    async def generations() -> list[tuple[int, int]]:
        async with transaction(fresh_runtime) as connection:
            rows = await connection.execute(
                text("SELECT day - DATE '2013-01-01', generation FROM work_requests ORDER BY 1")
            )
            return [(row[0], row[1]) for row in rows]

    await import_readings(fresh_runtime, source, MAPPING)
    assert await generations() == [(0, 1), (1, 1)]
    await import_readings(fresh_runtime, source, MAPPING)
    assert await generations() == [(0, 1), (1, 1)]


async def test_implausible_readings_are_listed_with_their_reason_and_product(
    fresh_runtime: Runtime, tmp_path: Path
) -> None:
    await add_product(fresh_runtime, terms(maximum=5))
    source = csv_file(tmp_path, ["JFK,2013-01-01T00:00:00Z,1048.36", "JFK,2013-01-01T01:00:00Z,1"])
    report = await import_readings(fresh_runtime, source, MAPPING)
    assert report.implausible == 1
    await add_product(fresh_runtime, terms(maximum=50))
    page = await list_quarantined(fresh_runtime, EVERYTHING, limit=1)
    assert [(item.value, item.product, item.reason) for item in page.items] == [
        (Decimal("1048.36"), "rain-5-mm version 1", "1048.36 is above the plausible maximum 5"),
        (Decimal("1048.36"), "rain-50-mm version 1", "1048.36 is above the plausible maximum 50"),
    ]
    assert page.next_after is None


async def test_a_unit_that_is_not_the_products_is_refused_before_anything_is_read(
    fresh_runtime: Runtime, tmp_path: Path
) -> None:
    await add_product(fresh_runtime, terms(unit="in"))
    with pytest.raises(InvalidInputError, match=r"gives rain in mm, but product rain-100-in"):
        await import_readings(fresh_runtime, tmp_path / "nowhere.csv", MAPPING)
    with pytest.raises(InvalidInputError, match=r"index.unit: rain is measured in in by product"):
        await add_product(fresh_runtime, terms(unit="mm"))


async def test_readings_keep_the_unit_they_came_in_for_the_products_that_follow(
    fresh_runtime: Runtime, tmp_path: Path
) -> None:
    source = csv_file(tmp_path, lines_of(1))
    await import_readings(fresh_runtime, source, MAPPING)
    with pytest.raises(InvalidInputError, match=r"readings of rain are stored in mm, not in in"):
        await add_product(fresh_runtime, terms(unit="in"))
    in_inches = mapping_from_toml(MAPPING_TEXT.replace('"mm"', '"in"'))
    with pytest.raises(InvalidInputError, match=r"its readings are stored in mm: add a conversion"):
        await import_readings(fresh_runtime, source, in_inches)
    await add_product(fresh_runtime, terms(unit="mm"))


async def test_a_file_of_which_nothing_is_stored_names_no_unit(
    fresh_runtime: Runtime, tmp_path: Path
) -> None:
    in_inches = mapping_from_toml(MAPPING_TEXT.replace('"mm"', '"in"'))
    with pytest.raises(InvalidInputError, match="cannot be read"):
        await import_readings(fresh_runtime, tmp_path / "nowhere.csv", in_inches)
    await import_readings(fresh_runtime, csv_file(tmp_path, ["JFK,yesterday,1"]), in_inches)
    await import_readings(fresh_runtime, csv_file(tmp_path, lines_of(1)), in_inches, dry_run=True)
    await import_readings(fresh_runtime, csv_file(tmp_path, lines_of(1)), MAPPING)


async def test_a_product_that_comes_while_an_import_stores_waits_and_keeps_its_unit(
    fresh_runtime: Runtime, fresh_connections: Connections
) -> None:
    importer, watcher = (
        await fresh_connections.application(),
        await fresh_connections.superuser(),
    )
    await importer.execute("BEGIN; INSERT INTO variable_units VALUES ('rain', 'mm')")
    adding = asyncio.create_task(add_product(fresh_runtime, terms(unit="in")))
    await wait_until_blocked_by(watcher, importer.get_server_pid())
    await importer.execute("COMMIT")
    with pytest.raises(InvalidInputError, match=r"readings of rain are stored in mm, not in in"):
        await adding


async def test_readings_are_listed_by_the_days_of_a_zone_page_by_page(
    fresh_runtime: Runtime, tmp_path: Path
) -> None:
    await import_readings(fresh_runtime, csv_file(tmp_path, lines_of(72)), MAPPING)
    day = datetime(2013, 1, 2, tzinfo=UTC).date()
    wanted = readings_filter(
        region="JFK", variable="rain", first_day=day, last_day=day, zone="America/New_York"
    )
    found: list[datetime] = []
    after: int | None = None
    for _ in range(10):
        page = await list_readings(fresh_runtime, wanted, limit=5, after_id=after)
        found += [item.observed_at for item in page.items]
        if page.next_after is None:
            break
        after = int(page.next_after)
    assert found == [START + timedelta(hours=29 + number) for number in range(24)]


async def test_an_import_takes_a_bounded_part_of_its_file_at_a_time(
    fresh_runtime: Runtime, tmp_path: Path
) -> None:
    seen: list[int] = []
    source = csv_file(tmp_path, lines_of(11_000))
    await import_readings(
        fresh_runtime, source, MAPPING, notify=lambda _done, _total, rows: seen.append(rows)
    )
    assert seen == [5_000, 10_000, 11_000]
