"""Import readings from a file: every good row is stored, every other one reported."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.domain.errors import InvalidInputError
from claimwright.files.csv_rows import CsvRows
from claimwright.files.mapping import MappedReading, ReadingsMapping, RowMapper
from claimwright.files.parquet_rows import ParquetRows
from claimwright.files.quarantine import QUARANTINE_MIB, QuarantineFile, quarantine_beside
from claimwright.files.rows import Row, RowSource
from claimwright.operations.import_rows import Accepted, Notify, Refusal, Refusals, batches
from claimwright.operations.transactions import retried, transaction
from claimwright.runtime import Runtime
from claimwright.storage.products import units_in_use
from claimwright.storage.readings import (
    NewReading,
    StoredCounts,
    insert_readings,
    preview_readings,
)
from claimwright.storage.units import settle_units, units_of

READINGS_AT_ONCE: Final = 10_000
_PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})
# Clocks differ; a reading that claims to be from further ahead was never measured.
_FURTHEST_AHEAD = timedelta(days=1)


@dataclass(slots=True)
class ReadingsReport:
    """What an import of readings did, or with ``dry_run`` would do.

    Attributes:
        rows: rows of the file, the header apart.
        added: readings of instants that nothing was known of.
        restated: other values for known instants: stored beside the first, not applied.
        known: readings that were stored already, or stand in the file twice.
        implausible: of those added and restated, the ones some product does not believe.
        refused: rows of which nothing was stored.
        refusals: the first of them.
        quarantine: the file with all of them.
        stopped_before: the first row that was not looked at, because that file was full.
        first_observed_at: the earliest instant read.
        last_observed_at: the latest.
    """

    source: str
    dry_run: bool
    rows: int = 0
    added: int = 0
    restated: int = 0
    known: int = 0
    implausible: int = 0
    refused: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    quarantine: Path | None = None
    stopped_before: int | None = None
    first_observed_at: datetime | None = None
    last_observed_at: datetime | None = None


async def import_readings(
    runtime: Runtime,
    source: Path,
    mapping: ReadingsMapping,
    *,
    quarantine: Path | None = None,
    quarantine_mib: int = QUARANTINE_MIB,
    dry_run: bool = False,
    notify: Notify = lambda _done, _total, _rows: None,
) -> ReadingsReport:
    """Store the readings of a CSV or Parquet file, a batch of rows a transaction.

    An import that was killed is simply run again: what is stored already is known, and the
    evaluation of what it touched was requested with it. Memory is bounded whatever the file.

    Args:
        runtime: the servers.
        source: a file whose name ends in ``.parquet`` or ``.pq`` is Parquet, any other is CSV.
        mapping: which cells are what.
        quarantine: where refused rows go; by default beside the source.
        quarantine_mib: the size at which the import stops, because its file fits nothing.
        dry_run: read and check everything, store and write nothing. Each batch is compared with
            what is stored, so an instant that a later batch repeats counts as added twice.
        notify: told of progress.

    Raises:
        InvalidInputError: the file or its header cannot be read, a mapped column is missing, the
            mapping's unit of a variable is not that of a product or of stored readings, or the
            quarantine file cannot be written.
    """
    await _require_units(runtime, mapping)
    with _open(source, mapping) as rows:
        mapper = RowMapper(mapping, rows.columns)
        target = None if dry_run else quarantine or quarantine_beside(source)
        with QuarantineFile(
            target, source, rows.columns, mapping.dialect, most_mib=quarantine_mib
        ) as refused_rows:
            refusals = Refusals(refused_rows)
            run = _Import(runtime, mapper, _units(mapping), source.name, dry_run=dry_run)
            report = await run.complete(rows, refusals, notify)
    report.refused, report.refusals = refusals.count, refusals.first
    report.rows += refusals.count
    report.stopped_before = refusals.stopped_before
    report.quarantine = refused_rows.written
    return report


class _Import:
    def __init__(
        self,
        runtime: Runtime,
        mapper: RowMapper,
        units: Mapping[str, str],
        source: str,
        *,
        dry_run: bool,
    ) -> None:
        self._runtime = runtime
        self._units = units
        self._mapper = mapper
        self._report = ReadingsReport(source, dry_run)
        self._latest = datetime.now(UTC) + _FURTHEST_AHEAD

    async def complete(self, rows: RowSource, refusals: Refusals, notify: Notify) -> ReadingsReport:
        for batch in batches(rows, self._read, refusals, items_at_once=READINGS_AT_ONCE):
            await self._store(batch)
            notify(*rows.progress, self._report.rows + refusals.count)
        return self._report

    def _read(self, row: Row) -> list[MappedReading]:
        readings = self._mapper.readings(row.cells)
        if readings and readings[0].observed_at > self._latest:
            raise InvalidInputError(f"{readings[0].observed_at:%Y-%m-%d %H:%M} lies in the future")
        return readings

    async def _store(self, batch: list[Accepted[MappedReading]]) -> None:
        report = self._report
        readings = [NewReading(*reading) for accepted in batch for reading in accepted.items]
        report.rows += len(batch)
        if not readings:
            return
        counts = await self._counts(readings)
        report.added += counts.added
        report.restated += counts.restated
        report.known += counts.known
        report.implausible += counts.implausible
        instants = [reading.observed_at for reading in readings]
        first, last = report.first_observed_at, report.last_observed_at
        report.first_observed_at = min(instants) if first is None else min(first, *instants)
        report.last_observed_at = max(instants) if last is None else max(last, *instants)

    async def _counts(self, readings: list[NewReading]) -> StoredCounts:
        if self._report.dry_run:
            async with transaction(self._runtime) as connection:
                return await preview_readings(connection, readings)

        async def work(connection: AsyncConnection) -> StoredCounts:
            # With the readings, so that an import of nothing names no unit; and each time, because
            # a product may have named another one since the beginning.
            await settle_units(connection, self._units)
            _refuse_other_units(await units_of(connection, list(self._units)), self._units)
            return await insert_readings(connection, readings, self._report.source)

        return await retried(self._runtime, work)


def is_parquet(source: Path) -> bool:
    """Whether a file is read as Parquet, by its name."""
    return source.suffix.lower() in _PARQUET_SUFFIXES


def _open(source: Path, mapping: ReadingsMapping) -> RowSource:
    if is_parquet(source):
        return ParquetRows(source, mapping.wanted_columns)
    return CsvRows(source, mapping.dialect)


async def _require_units(runtime: Runtime, mapping: ReadingsMapping) -> None:
    """See that the mapping measures in the units that products and stored readings have."""
    units = _units(mapping)
    async with transaction(runtime) as connection:
        in_use = await units_in_use(connection, list(units))
        known = await units_of(connection, list(units))
    for variable in mapping.variables:
        for unit, product in in_use.get(variable.name, {}).items():
            if unit != variable.unit:
                raise InvalidInputError(
                    f"the mapping gives {variable.name} in {variable.unit}, but product {product} "
                    f"measures it in {unit}: add a conversion, or give the variable another name"
                )
    _refuse_other_units(known, units)


def _units(mapping: ReadingsMapping) -> dict[str, str]:
    return {variable.name: variable.unit for variable in mapping.variables}


def _refuse_other_units(known: Mapping[str, str], units: Mapping[str, str]) -> None:
    for name, unit in known.items():
        if unit != units[name]:
            raise InvalidInputError(
                f"the mapping gives {name} in {units[name]}, but its readings are stored in "
                f"{unit}: add a conversion, or give the variable another name"
            )
