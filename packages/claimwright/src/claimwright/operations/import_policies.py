"""Import policies from a CSV file: every good row is stored, every other one reported."""

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.domain.calendar import zone_named
from claimwright.domain.errors import (
    InvalidInputError,
    NotFoundError,
    UnusableRecordError,
)
from claimwright.domain.money import from_minor, to_minor
from claimwright.files.csv_rows import CsvRows
from claimwright.files.mapping import checked_name
from claimwright.files.numbers import number_of_cell
from claimwright.files.quarantine import (
    QUARANTINE_MIB,
    REASON_COLUMN,
    ROW_COLUMN,
    QuarantineFile,
    quarantine_beside,
)
from claimwright.files.rows import Dialect, RefusedRow, Row, positions_of
from claimwright.operations.import_rows import Accepted, Notify, Refusal, Refusals, batches
from claimwright.operations.transactions import retried, transaction
from claimwright.runtime import Runtime
from claimwright.storage.known_names import names_not_known
from claimwright.storage.listed_policies import ListedPolicy, policies_numbered
from claimwright.storage.policies import NewPolicy, insert_policies
from claimwright.storage.products import UnusableVersion, all_versions

COLUMNS: Final = (
    "policy_number",
    "product",
    "region",
    "coverage_amount",
    "currency",
    "zone",
    "first_day",
    "last_day",
)
OPTIONAL_COLUMNS: Final = ("version",)
# A quarantine file has these before the row's own, so that its mended rows can be imported.
_IGNORED_COLUMNS = (ROW_COLUMN, REASON_COLUMN)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_FIRST_YEAR, _LAST_YEAR = 1801, 2199


@dataclass(slots=True)
class PoliciesReport:
    """What an import of policies did, or with ``dry_run`` would do.

    Attributes:
        rows: rows of the file, the header apart.
        added: policies that are new.
        known: policies that were stored already, or stand in the file twice, as they are.
        refused: rows of which nothing was stored.
        refusals: the first of them.
        quarantine: the file with all of them.
        stopped_before: the first row that was not looked at, because that file was full.
    """

    source: str
    dry_run: bool
    rows: int = 0
    added: int = 0
    known: int = 0
    refused: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    quarantine: Path | None = None
    stopped_before: int | None = None


class _PolicyRow(NamedTuple):
    """A policy of the file; ``version`` is `None` where the row leaves it open."""

    policy_number: str
    product: str
    version: int | None
    region: str
    coverage_minor: int
    currency: str
    zone: str
    first_day: date
    last_day: date


async def import_policies(
    runtime: Runtime,
    source: Path,
    *,
    dialect: Dialect | None = None,
    quarantine: Path | None = None,
    quarantine_mib: int = QUARANTINE_MIB,
    dry_run: bool = False,
    notify: Notify = lambda _done, _total, _rows: None,
) -> PoliciesReport:
    """Store the policies of a CSV file, a batch of rows a transaction; run it as often as needed.

    A number that is stored, or was read before, with the same content is known; with other
    content it is refused, because a stored policy never changes in what it pays. A row without a
    version is bound to the product's newest; it is known whichever version it was bound to before.

    Args:
        runtime: the servers.
        source: a CSV file with the columns `COLUMNS`, and perhaps `OPTIONAL_COLUMNS`.
        dialect: how it is written.
        quarantine: where refused rows go; by default beside the source.
        quarantine_mib: the size at which the import stops, because its file fits nothing.
        dry_run: read and check everything, store and write nothing.
        notify: told of progress.

    Raises:
        InvalidInputError: the file cannot be read, a column is missing or unknown, or the
            quarantine file cannot be written.
    """
    dialect = dialect or Dialect()
    products, not_known = await _stored(runtime)
    with CsvRows(source, dialect) as rows:
        reader = _Reader(rows.columns, products, not_known)
        target = None if dry_run else quarantine or quarantine_beside(source)
        with QuarantineFile(
            target, source, rows.columns, dialect, most_mib=quarantine_mib
        ) as refused_rows:
            refusals = Refusals(refused_rows)
            report = PoliciesReport(source.name, dry_run)
            for batch in batches(rows, reader.read, refusals, items_at_once=5_000):
                await _store(runtime, batch, products, refusals, report)
                notify(*rows.progress, report.added + report.known + refusals.count)
    report.rows = report.added + report.known + refusals.count
    report.refused = refusals.count
    report.stopped_before = refusals.stopped_before
    report.refusals = sorted(refusals.first, key=lambda refusal: refusal.row)
    report.quarantine = refused_rows.written
    return report


class _Products(NamedTuple):
    """Ids of product versions, each product's newest version, and what is wrong with some."""

    ids: Mapping[tuple[str, int], int]
    newest: Mapping[str, int]
    faults: Mapping[int, str]

    def id_of(self, code: str, version: int | None) -> int:
        number = self.newest.get(code) if version is None else version
        found = None if number is None else self.ids.get((code, number))
        if found is None:
            raise NotFoundError("product", code if version is None else f"{code} version {version}")
        if found in self.faults:
            name = f"{code} version {number}"
            raise UnusableRecordError("product", name, self.faults[found])
        return found


async def _stored(runtime: Runtime) -> tuple[_Products, frozenset[str]]:
    """The products, and the zones and currencies that the database does not know yet."""
    async with transaction(runtime) as connection:
        versions = await all_versions(connection)
        not_known = await names_not_known(connection)
    products = _Products(
        ids={(version.code, version.version): version.id for version in versions},
        # Versions come in rising order, so that the last of a code is its newest.
        newest={version.code: version.version for version in versions},
        faults={v.id: v.fault for v in versions if isinstance(v, UnusableVersion)},
    )
    return products, frozenset(not_known)


class _Reader:
    """Reads rows of a file with these columns."""

    def __init__(
        self, columns: Sequence[str], products: _Products, not_known: AbstractSet[str]
    ) -> None:
        self._products = products
        self._not_known = not_known
        allowed = {*COLUMNS, *OPTIONAL_COLUMNS, *_IGNORED_COLUMNS}
        unknown = [name for name in columns if name not in allowed]
        if unknown:
            raise InvalidInputError(
                f"row 1: the file has unknown columns {', '.join(map(repr, unknown[:50]))}; "
                f"known are {', '.join((*COLUMNS, *OPTIONAL_COLUMNS))}"
            )
        wanted = [*COLUMNS, *(name for name in OPTIONAL_COLUMNS if name in columns)]
        self._at = positions_of(columns, wanted)

    def read(self, row: Row) -> list[_PolicyRow]:
        """The row's policy, checked for all that needs no look at the stored ones."""
        cells = {name: (row.cells[place] or "").strip() for name, place in self._at.items()}
        for name in ("policy_number", "region"):
            checked_name(name, cells[name])
        zone_named(cells["zone"])
        version = _version(cells.get("version", ""))
        try:
            self._products.id_of(cells["product"], version)
        except (NotFoundError, UnusableRecordError) as error:
            raise InvalidInputError(str(error)) from None
        policy = _PolicyRow(
            policy_number=cells["policy_number"],
            product=cells["product"],
            version=version,
            region=cells["region"],
            coverage_minor=_coverage_minor(cells["coverage_amount"], cells["currency"]),
            currency=cells["currency"],
            zone=cells["zone"],
            first_day=_day("first_day", cells["first_day"]),
            last_day=_day("last_day", cells["last_day"]),
        )
        if policy.first_day > policy.last_day:
            raise InvalidInputError(
                f"first_day {policy.first_day} lies after last_day {policy.last_day}"
            )
        self._require_known_names(policy)
        return [policy]

    def _require_known_names(self, policy: _PolicyRow) -> None:
        """Newer time zone data or a newer version may know what the database does not yet."""
        for column, name in (("zone", policy.zone), ("currency", policy.currency)):
            if name in self._not_known:
                raise InvalidInputError(
                    f"{column}: the database does not know {name} yet: run `claimwright init`"
                )


def _version(text: str) -> int | None:
    if not text:
        return None
    if not _VERSION.fullmatch(text):
        raise InvalidInputError(f"version {text!r} is not a whole number from 1")
    return int(text)


def _coverage_minor(text: str, currency: str) -> int:
    try:
        minor = to_minor(number_of_cell(text), currency)
    except InvalidInputError as error:
        raise InvalidInputError(f"coverage_amount: {error}") from None
    if minor < 1:
        raise InvalidInputError(f"coverage_amount: {text} is not above 0")
    return minor


def _day(name: str, text: str) -> date:
    try:
        day = date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None or not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        raise InvalidInputError(
            f"{name}: {text!r} is not a date such as 2013-06-07 from {_FIRST_YEAR} to {_LAST_YEAR}"
        )
    return day


async def _store(
    runtime: Runtime,
    batch: Sequence[Accepted[_PolicyRow]],
    products: _Products,
    refusals: Refusals,
    report: PoliciesReport,
) -> None:
    """Store what is new of a batch; compare the rest with what is stored or came before it."""
    firsts: dict[str, _PolicyRow] = {}
    for accepted in batch:
        firsts.setdefault(accepted.items[0].policy_number, accepted.items[0])

    async def work(connection: AsyncConnection) -> tuple[set[str], dict[str, ListedPolicy]]:
        added: set[str] = set()
        if not report.dry_run:
            new = [_new_policy(policy, products) for policy in firsts.values()]
            added = set(await insert_policies(connection, new))
        stored = await policies_numbered(connection, list(firsts))
        return (set(firsts) - set(stored) if report.dry_run else added), stored

    added, stored = await retried(runtime, work)
    for accepted in batch:
        policy = accepted.items[0]
        number = policy.policy_number
        if number in added and policy is firsts[number]:
            report.added += 1
            continue
        if difference := _difference_from(policy, stored.get(number), firsts[number]):
            row, cells = accepted.row
            refusals.add(RefusedRow(row, difference, cells))
        else:
            report.known += 1


def _difference_from(
    policy: _PolicyRow, stored: ListedPolicy | None, first: _PolicyRow
) -> str | None:
    """How a row differs from what is stored, or else from the first row of its number."""
    if stored is not None and stored.fault is not None:
        return f"policy {policy.policy_number} is stored and cannot be used: {stored.fault}"
    return _difference(policy, first if stored is None else _row_of(stored))


def _new_policy(policy: _PolicyRow, products: _Products) -> NewPolicy:
    return NewPolicy(
        policy_number=policy.policy_number,
        product_version_id=products.id_of(policy.product, policy.version),
        coverage_region=policy.region,
        coverage_minor=policy.coverage_minor,
        currency=policy.currency,
        zone=policy.zone,
        first_day=policy.first_day,
        last_day=policy.last_day,
    )


def _row_of(stored: ListedPolicy) -> _PolicyRow:
    return _PolicyRow(
        policy_number=stored.policy_number,
        product=stored.product,
        version=stored.product_version,
        region=stored.region,
        coverage_minor=stored.coverage_minor,
        currency=stored.currency,
        zone=stored.zone,
        first_day=stored.first_day,
        last_day=stored.last_day,
    )


def _difference(policy: _PolicyRow, known: _PolicyRow) -> str | None:
    """How a row differs from the policy of its number; `None` where it does not."""
    now, before = _in_words(policy), _in_words(known)
    if policy.version is None:
        now["version"] = before["version"]
    differences = [
        f"{name} is {before[name]}, not {now[name]}" for name in now if now[name] != before[name]
    ]
    if not differences:
        return None
    return f"policy {policy.policy_number} is known with other content: {', '.join(differences)}"


def _in_words(policy: _PolicyRow) -> dict[str, object]:
    words = policy._asdict()
    amount = from_minor(words.pop("coverage_minor"), policy.currency)
    return {**words, "coverage_amount": f"{amount:f}"}
