"""The anomaly matrix for people and for machines."""

import csv
import io
import json

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from contention.isolation.anomalies import ANOMALIES
from contention.isolation.matrix import Cell, Level, Matrix, Verdict

_STYLES = {
    Verdict.POSSIBLE: "bold red",
    Verdict.ERROR: "yellow",
    Verdict.BLOCKED: "cyan",
    Verdict.PREVENTED: "green",
}

_NAME_WIDTH = max(len(word) for anomaly in ANOMALIES for word in anomaly.name.split())
"""So that a narrow terminal breaks names between words only."""


def matrix_as_table(matrix: Matrix) -> Table:
    """Return the table for a terminal; 80 columns are enough for it."""
    table = Table(
        title=f"What PostgreSQL {matrix.server_version} allows",
        box=SIMPLE_HEAD,
        padding=0,
        show_edge=False,
    )
    table.add_column("", no_wrap=True)
    table.add_column("anomaly", min_width=_NAME_WIDTH)
    for level in Level:
        table.add_column(level.value.upper().replace(" ", "\n"))
    for anomaly, cells in matrix.rows():
        table.add_row(Text(anomaly.code), Text(anomaly.name), *map(_styled, cells))
    return table


def matrix_as_markdown(matrix: Matrix) -> str:
    """Return a Markdown table."""
    lines = [
        ["anomaly", *(level.value.upper() for level in Level)],
        ["---"] * (len(Level) + 1),
        *([f"{anomaly.code} {anomaly.name}", *map(str, cells)] for anomaly, cells in matrix.rows()),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def matrix_as_csv(matrix: Matrix) -> str:
    """Return one line a cell, with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(_fields, matrix.cells))
    return text.getvalue()


def matrix_as_json(matrix: Matrix) -> str:
    """Return one document with a list of cells."""
    document = {
        "server_version": matrix.server_version,
        "cells": [_fields(cell) for cell in matrix.cells],
    }
    return json.dumps(document, indent=2) + "\n"


_FIELDS = ("code", "anomaly", "level", "verdict", "sqlstate", "has_waited")


def _fields(cell: Cell) -> dict[str, str | bool | None]:
    return {
        "code": cell.anomaly.code,
        "anomaly": cell.anomaly.name,
        "level": cell.level.value,
        "verdict": cell.verdict.value,
        "sqlstate": cell.sqlstate,
        "has_waited": cell.has_waited,
    }


def _styled(cell: Cell) -> Text:
    return Text(str(cell), style=_STYLES[cell.verdict])
