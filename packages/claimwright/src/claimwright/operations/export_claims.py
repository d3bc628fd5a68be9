"""Export claims as CSV, JSON or Parquet, all of them from one view of the database."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from claimwright.files.atomic import replacing
from claimwright.files.tables import Column, ColumnKind, TableFormat, table_writer
from claimwright.operations.list_claims import check_filter
from claimwright.runtime import Runtime
from claimwright.storage.database import snapshot
from claimwright.storage.listed_claims import ClaimsFilter, stream_claims

_LONGEST_MINUTES: Final = 60
_CLAIMS_AT_ONCE: Final = 2_000

COLUMNS: Final = (
    Column("reference", ColumnKind.TEXT, "The claim's name: its policy's id and its own."),
    Column("policy_number", ColumnKind.TEXT, "The policy's number."),
    Column("product", ColumnKind.TEXT, "The product's code."),
    Column("product_version", ColumnKind.WHOLE, "The version of its terms."),
    Column("region", ColumnKind.TEXT, "The region the policy covers."),
    Column("event_date", ColumnKind.DATE, "The event's date in the policy's zone."),
    Column(
        "triggered_at",
        ColumnKind.INSTANT,
        "When the trigger happened: in the policy's zone with its offset; in Parquet in UTC.",
    ),
    Column("period", ColumnKind.TEXT, "The benefit period: a day, a month, or `term`."),
    Column("tier", ColumnKind.TEXT, "The tier the event reached."),
    Column("payout_percentage", ColumnKind.PERCENTAGE, "What the claim adds, in % of the cover."),
    Column("amount", ColumnKind.AMOUNT, "What the claim pays: exhaustion less attachment."),
    Column("currency", ColumnKind.TEXT, "ISO 4217 code of the three amounts."),
    Column("attachment", ColumnKind.AMOUNT, "Where the claim's layer of the cover begins."),
    Column("exhaustion", ColumnKind.AMOUNT, "Where it ends."),
    Column("status", ColumnKind.TEXT, "Where the claim stands in its life cycle."),
    Column("event_id", ColumnKind.WHOLE, "The risk event's id."),
    Column("calculated_at", ColumnKind.INSTANT, "When the claim was stored, in UTC."),
)


@dataclass(frozen=True, slots=True)
class ExportReport:
    """How many claims were written, where and how; no path is standard output."""

    claims: int
    path: Path | None
    format: TableFormat


async def export_claims(
    runtime: Runtime,
    wanted: ClaimsFilter,
    target: Path | BinaryIO,
    table_format: TableFormat,
    *,
    notify: Callable[[int], None] = lambda _claims: None,
) -> ExportReport:
    """Write claims by policy and claim; memory is bounded whatever their number.

    Args:
        runtime: the servers.
        wanted: which claims.
        target: a path, whose file is replaced at the end or left as it was, or a stream.
        table_format: how to write them.
        notify: told how many claims are written.

    Raises:
        InvalidInputError: the filter, the format or the path cannot be.
    """
    check_filter(wanted)
    if isinstance(target, Path):
        with replacing(target) as stream:
            count = await _write(runtime, wanted, stream, table_format, notify)
        return ExportReport(count, target, table_format)
    count = await _write(runtime, wanted, target, table_format, notify)
    return ExportReport(count, None, table_format)


async def _write(
    runtime: Runtime,
    wanted: ClaimsFilter,
    stream: BinaryIO,
    table_format: TableFormat,
    notify: Callable[[int], None],
) -> int:
    names = [column.name for column in COLUMNS]
    count = 0
    with table_writer(table_format, stream, COLUMNS) as writer:
        async with (
            runtime.sessions() as session,
            snapshot(session, statement_minutes=_LONGEST_MINUTES) as connection,
        ):
            async for part in stream_claims(connection, wanted, at_once=_CLAIMS_AT_ONCE):
                writer.add([[getattr(claim, name) for name in names] for claim in part])
                count += len(part)
                notify(count)
    return count
