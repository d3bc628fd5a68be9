"""The matrix of a real PostgreSQL is what its manual says, and checks tell anomalies apart."""

import csv
import io
import json

import pytest
from rich.console import Console

from contention.isolation.anomalies import ANOMALIES, Anomaly, Seen
from contention.isolation.lanes import execute, open_connection
from contention.isolation.matrix import Level, Matrix, Record, Verdict, judge, run_matrix
from contention.isolation.matrix_formats import (
    matrix_as_csv,
    matrix_as_json,
    matrix_as_markdown,
    matrix_as_table,
)
from contention.isolation.parsing import parse_spec

DOCUMENTED = {  # READ UNCOMMITTED is READ COMMITTED in PostgreSQL
    "G0": ("blocked", "error 40001", "error 40001"),
    "G1a": ("prevented", "prevented", "prevented"),
    "G1b": ("prevented", "prevented", "prevented"),
    "G1c": ("prevented", "prevented", "error 40001"),
    "OTV": ("blocked", "error 40001", "error 40001"),
    "P2": ("possible", "prevented", "prevented"),
    "P3": ("possible", "prevented", "prevented"),
    "PMP": ("possible", "error 40001", "error 40001"),
    "P4": ("possible", "error 40001", "error 40001"),
    "A5A": ("possible", "prevented", "prevented"),
    "A5B": ("possible", "possible", "error 40001"),
    "G2": ("possible", "possible", "error 40001"),
    "ROA": ("possible", "possible", "error 40001"),
}


@pytest.fixture(name="matrix", scope="module")
def _matrix(server_url: str) -> Matrix:
    return run_matrix(server_url)


@pytest.mark.parametrize("anomaly", ANOMALIES, ids=lambda anomaly: anomaly.code)
def test_postgresql_allows_what_its_manual_says(anomaly: Anomaly, matrix: Matrix) -> None:
    cells = next(cells for row, cells in matrix.rows() if row is anomaly)
    committed, repeatable, serializable = DOCUMENTED[anomaly.code]
    assert list(map(str, cells)) == [committed, committed, repeatable, serializable]


def test_serializable_allows_nothing_and_each_anomaly_is_tried_at_each_level(
    matrix: Matrix,
) -> None:
    tried = [(cell.anomaly.code, cell.level) for cell in matrix.cells]
    assert tried == [(anomaly.code, level) for anomaly in ANOMALIES for level in Level]
    strongest = {cell.verdict for cell in matrix.cells if cell.level is Level.SERIALIZABLE}
    assert Verdict.POSSIBLE not in strongest


def test_the_schema_is_gone_afterwards(matrix: Matrix, server_url: str) -> None:
    connection = open_connection(server_url)
    query = b"SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'contention%'"
    left = execute(connection, query).get_value(0, 0)
    connection.finish()
    assert matrix.server_version.startswith("18")
    assert left == b"0"


def record_of(anomaly: Anomaly, values: dict[str, list[str]], waited: bool = False) -> Record:  # noqa: FBT001, FBT002 - a table of cases
    record = Record()
    record.starting(parse_spec(anomaly.script.encode()).permutations[0])
    for step in record.seen:
        record.seen[step] = Seen(command="COMMIT" if step.startswith("c") else "UPDATE 1")
    for step, column in values.items():
        record.seen[step] = Seen(tuple((value,) for value in column), "SELECT")
    record.has_waited = waited
    return record


HAPPENED: dict[str, dict[str, list[str]]] = {
    "G0": {"final": ["11", "22"]},
    "G1a": {"r2a": ["101"], "r2b": ["10"]},
    "G1b": {"r2a": ["101"], "r2b": ["11"]},
    "G1c": {"r1": ["22"], "r2": ["11"]},
    "OTV": {"r3a": ["12"], "r3b": ["19"], "r3c": ["18"], "r3d": ["12"]},
    "P2": {"r1a": ["10"], "r1b": ["12"]},
    "P3": {"r1a": ["2"], "r1b": ["2", "3"]},
    "PMP": {"final": ["20", "30"]},
    "P4": {"final": ["11", "20"]},
    "A5A": {"r1a": ["10"], "r1b": ["18"]},
    "A5B": {"r1": ["30"], "r2": ["30"]},
    "G2": {"r1": [], "r2": []},
    "ROA": {"r2": ["10", "20"], "r3": ["10", "40"]},
}
"""What a server would show that allows the anomaly; PostgreSQL never shows some of them."""

SERIAL: dict[str, dict[str, list[str]]] = {
    "G0": {"final": ["12", "22"]},
    "G1a": {"r2a": ["10"], "r2b": ["10"]},
    "G1b": {"r2a": ["10"], "r2b": ["11"]},
    "G1c": {"r1": ["20"], "r2": ["11"]},
    "OTV": {"r3a": ["11"], "r3b": ["19"], "r3c": ["18"], "r3d": ["12"]},
    "P2": {"r1a": ["10"], "r1b": ["10"]},
    "P3": {"r1a": ["2"], "r1b": ["2"]},
    "PMP": {"final": ["30"]},
    "P4": {"final": ["12", "20"]},
    "A5A": {"r1a": ["10"], "r1b": ["20"]},
    "ROA": {"r2": ["10", "20"], "r3": ["-1", "40"]},
}
"""What a serial execution shows; write skew and its kin are known by who could commit alone."""


@pytest.mark.parametrize("anomaly", ANOMALIES, ids=lambda anomaly: anomaly.code)
def test_each_check_knows_its_anomaly(anomaly: Anomaly) -> None:
    assert judge(anomaly, record_of(anomaly, HAPPENED[anomaly.code])) == (Verdict.POSSIBLE, None)


@pytest.mark.parametrize("code", SERIAL)
def test_each_check_knows_a_serial_execution(code: str) -> None:
    anomaly = next(anomaly for anomaly in ANOMALIES if anomaly.code == code)
    assert judge(anomaly, record_of(anomaly, SERIAL[code])) == (Verdict.PREVENTED, None)
    waited = record_of(anomaly, SERIAL[code], waited=True)
    assert judge(anomaly, waited) == (Verdict.BLOCKED, None)


@pytest.mark.parametrize("code", ["P4", "A5B", "G2", "ROA"])
def test_a_commit_that_rolled_back_is_no_anomaly(code: str) -> None:
    anomaly = next(anomaly for anomaly in ANOMALIES if anomaly.code == code)
    record = record_of(anomaly, HAPPENED[code])
    record.seen["w2"] = Seen(sqlstate="40001")
    record.seen["c2"] = Seen(command="ROLLBACK")
    assert judge(anomaly, record) == (Verdict.ERROR, "40001")


def test_exports_have_every_cell(matrix: Matrix) -> None:
    cells = json.loads(matrix_as_json(matrix))["cells"]
    rows = list(csv.DictReader(matrix_as_csv(matrix).splitlines()))
    assert len(cells) == len(rows) == len(ANOMALIES) * len(Level)
    skew = {
        "code": "A5B",
        "anomaly": "write skew",
        "level": "serializable",
        "verdict": "error",
        "sqlstate": "40001",
        "has_waited": False,
    }
    assert skew in cells
    assert {key: str(value) for key, value in skew.items()} in rows


def test_markdown_and_the_terminal_have_a_row_for_each_anomaly(matrix: Matrix) -> None:
    markdown = matrix_as_markdown(matrix)
    assert (
        "| A5B write skew | possible | possible | possible | error 40001 |" in markdown.splitlines()
    )
    assert len(markdown.splitlines()) == len(ANOMALIES) + 2
    assert matrix_as_table(matrix).row_count == len(ANOMALIES)


def test_the_table_breaks_only_between_words_on_80_columns(matrix: Matrix) -> None:
    screen = io.StringIO()
    Console(file=screen, width=80, color_system=None).print(matrix_as_table(matrix))
    shown = set(screen.getvalue().replace("─", " ").split())
    wanted = {word for anomaly in ANOMALIES for word in anomaly.name.split()}
    assert wanted | {"SERIALIZABLE", "UNCOMMITTED", "40001", "prevented"} <= shown
