"""Policies come in: once, exactly as the file says, or refused with the reason."""

import re
from decimal import Decimal
from pathlib import Path

import pytest

from claimwright.domain.errors import InvalidInputError
from claimwright.domain.terms_text import terms_from_toml
from claimwright.operations.add_product import add_product
from claimwright.operations.import_policies import PoliciesReport, import_policies
from claimwright.operations.list_policies import list_policies
from claimwright.runtime import Runtime
from support.databases import Connections

HEADER = "policy_number,product,region,coverage_amount,currency,zone,first_day,last_day"
GOOD = "P-1,nyc-rain,EWR,100.00,USD,America/New_York,2013-01-01,2013-12-31"
TERMS = (Path(__file__).parents[4] / "examples" / "nyc-rain.toml").read_text(encoding="utf-8")


async def imported(
    runtime: Runtime, folder: Path, *rows: str, header: str = HEADER, dry_run: bool = False
) -> PoliciesReport:
    await add_product(runtime, terms_from_toml(TERMS))
    path = folder / "policies.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return await import_policies(runtime, path, dry_run=dry_run)


def mend(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def numbers(runtime: Runtime) -> list[str]:
    page = await list_policies(runtime, limit=1_000)
    return [policy.policy_number for policy in page.items]


async def test_policies_are_stored_once_with_the_limit_of_their_terms(
    fresh_runtime: Runtime, tmp_path: Path
) -> None:
    rows = [GOOD, "P-2,nyc-rain,JFK,7,JPY,Asia/Tokyo,2013-01-01,2013-01-01"]
    first = await imported(fresh_runtime, tmp_path, *rows)
    again = await imported(fresh_runtime, tmp_path, *rows)
    assert (first.rows, first.added, first.known, first.refused) == (2, 2, 0, 0)
    assert (again.rows, again.added, again.known, again.refused) == (2, 0, 2, 0)
    page = await list_policies(fresh_runtime, region="EWR", limit=10)
    (policy,) = page.items
    assert (policy.coverage_amount, policy.aggregate_limit) == (Decimal(100), Decimal(200))
    assert str(policy.coverage_amount) == "100.00"


IMPOSSIBLE = (
    (0, "", "policy_number: is empty"),
    (0, "P\t1", "policy_number: .* cannot be printed"),
    (1, "nyc-hail", "there is no product nyc-hail"),
    (2, "", "region: is empty"),
    (3, "", "coverage_amount: '' is not a number"),
    (3, "1.005", "coverage_amount: 1.005 has more than the 2 decimals of USD"),
    (3, "1_000", "coverage_amount: '1_000' is not a number"),
    (3, "0", "coverage_amount: 0 is not above 0"),
    (3, "-5", "coverage_amount: -5 is not above 0"),
    (3, "1e15", "coverage_amount: 1E.15 USD is beyond the largest amount"),
    (4, "usd", "coverage_amount: 'usd' is not an ISO 4217 currency code"),
    (5, "New York", "'New York' is not an IANA time zone"),
    (5, "../../etc/passwd", "is not an IANA time zone"),
    (6, "01/02/2013", "first_day: '01/02/2013' is not a date"),
    (6, "2013-02-29", "first_day: '2013-02-29' is not a date"),
    (6, "20130101", "first_day: '20130101' is not a date"),
    (7, "2012-12-31", "first_day 2013-01-01 lies after last_day 2012-12-31"),
    (7, "9999-12-31", "last_day: '9999-12-31' is not a date such as"),
)


async def test_a_row_that_cannot_be_a_policy_is_refused_and_the_others_are_stored(
    fresh_runtime: Runtime, tmp_path: Path
) -> None:
    rows = []
    for cell, value, _ in IMPOSSIBLE:
        cells = GOOD.split(",")
        cells[cell] = value
        rows.append(",".join(cells))
    report = await imported(fresh_runtime, tmp_path, *rows, GOOD.replace("P-1", "P-2"))
    assert [refusal.row for refusal in report.refusals] == list(range(2, len(IMPOSSIBLE) + 2))
    for refusal, (_, _, reason) in zip(report.refusals, IMPOSSIBLE, strict=True):
        assert re.search(reason, refusal.reason), refusal.reason
    assert await numbers(fresh_runtime) == ["P-2"]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (HEADER.replace("region,", ""), "the file has no column 'region'"),
        (HEADER + ",premium,note", "unknown columns 'premium', 'note'; known are policy_number"),
        (HEADER + ",zone", "more than one column 'zone'"),
        ("", "has no header"),
    ],
)
async def test_a_header_with_missing_unknown_or_repeated_columns_names_them(
    fresh_runtime: Runtime, tmp_path: Path, header: str, reason: str
) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        await imported(fresh_runtime, tmp_path, GOOD, header=header)


async def test_a_known_number_with_other_content_is_refused_wherever_it_is_known_from(
    fresh_runtime: Runtime, tmp_path: Path
) -> None:
    changed = GOOD.replace("100.00", "100.01").replace("EWR", "JFK")
    report = await imported(fresh_runtime, tmp_path, GOOD, changed, GOOD)
    assert (report.added, report.known, report.refused) == (1, 1, 1)
    reason = (
        "policy P-1 is known with other content: region is EWR, not JFK, "
        "coverage_amount is 100.00, not 100.01"
    )
    assert [(refusal.row, refusal.reason) for refusal in report.refusals] == [(3, reason)]
    again = await imported(fresh_runtime, tmp_path, changed)
    assert again.refusals[0].reason == reason


async def test_a_row_without_a_version_gets_the_newest_and_stays_known_after_the_next(
    fresh_runtime: Runtime, tmp_path: Path
) -> None:
    header = HEADER + ",version"
    await imported(fresh_runtime, tmp_path, GOOD + ",", header=header)
    newer = terms_from_toml(TERMS.replace("threshold = 3.00", "threshold = 4.00"))
    await add_product(fresh_runtime, newer)
    rows = [GOOD + ",", GOOD.replace("P-1", "P-2") + ",", GOOD.replace("P-1", "P-3") + ",1"]
    report = await imported(fresh_runtime, tmp_path, *rows, header=header)
    assert (report.added, report.known) == (2, 1)
    page = await list_policies(fresh_runtime, limit=10)
    assert [policy.product_version for policy in page.items] == [1, 2, 1]
    wrong = [GOOD + ",2", GOOD + ",3", GOOD + ",one"]
    report = await imported(fresh_runtime, tmp_path, *wrong, header=header)
    assert [refusal.reason for refusal in report.refusals] == [
        "policy P-1 is known with other content: version is 1, not 2",
        "there is no product nyc-rain version 3",
        "version 'one' is not a whole number from 1",
    ]


async def test_a_mended_quarantine_file_is_imported_like_its_source(
    fresh_runtime: Runtime, tmp_path: Path
) -> None:
    report = await imported(fresh_runtime, tmp_path, GOOD.replace("EWR", ""))
    assert report.quarantine is not None
    mend(report.quarantine, "rain,,", "rain,EWR,")
    again = await import_policies(fresh_runtime, report.quarantine)
    assert (again.added, again.refused) == (1, 0)


async def test_a_dry_run_stores_nothing_and_reports_the_same(
    fresh_runtime: Runtime, tmp_path: Path
) -> None:
    await imported(fresh_runtime, tmp_path, GOOD)
    rows = [GOOD, GOOD.replace("P-1", "P-2"), GOOD.replace("P-1", "P-2"), GOOD.replace("E", "x")]
    preview = await imported(fresh_runtime, tmp_path, *rows, dry_run=True)
    assert await numbers(fresh_runtime) == ["P-1"]
    assert names_in(tmp_path) == ["policies.csv"]
    report = await imported(fresh_runtime, tmp_path, *rows)
    for name in ("rows", "added", "known", "refused", "refusals"):
        assert getattr(preview, name) == getattr(report, name), name
    assert (report.added, report.known, report.refused) == (1, 2, 1)


async def test_a_zone_or_currency_that_the_database_does_not_know_yet_is_refused_row_by_row(
    fresh_runtime: Runtime, fresh_connections: Connections, tmp_path: Path
) -> None:
    """As when newer time zone data were installed and nobody ran `claimwright init`."""
    superuser = await fresh_connections.superuser()
    await superuser.execute(
        "ALTER TABLE known_zones DISABLE TRIGGER USER;"
        "ALTER TABLE known_currencies DISABLE TRIGGER USER;"
        "DELETE FROM known_zones WHERE name = 'Europe/Paris';"
        "DELETE FROM known_currencies WHERE code = 'EUR'"
    )
    rows = [GOOD.replace("America/New_York", "Europe/Paris"), GOOD.replace("USD", "EUR"), GOOD]
    for dry_run in (True, False):
        report = await imported(fresh_runtime, tmp_path, *rows, dry_run=dry_run)
        assert [refusal.reason for refusal in report.refusals] == [
            "zone: the database does not know Europe/Paris yet: run `claimwright init`",
            "currency: the database does not know EUR yet: run `claimwright init`",
        ]
        assert (report.added, report.refused) == (1, 2)
    assert await numbers(fresh_runtime) == ["P-1"]


async def test_policies_are_listed_by_number_page_by_page(
    fresh_runtime: Runtime, tmp_path: Path
) -> None:
    rows = [GOOD.replace("P-1", f"P-{number:02}") for number in range(25)]
    await imported(fresh_runtime, tmp_path, *reversed(rows))
    found: list[str] = []
    after: str | None = None
    for _ in range(10):
        page = await list_policies(
            fresh_runtime, product_code="nyc-rain", region="EWR", limit=10, after_number=after
        )
        found += [policy.policy_number for policy in page.items]
        after = page.next_after
        if after is None:
            break
    assert found == [f"P-{number:02}" for number in range(25)]
    with pytest.raises(InvalidInputError, match="a page has 1 to 10,000 rows"):
        await list_policies(fresh_runtime, limit=0)
