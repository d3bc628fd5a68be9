"""The commands print, compare, count and leave as they say."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contention.isolation.cli import isolation
from contention.isolation.lanes import execute, open_connection

FOLDER = Path(__file__).parent
SPEC = FOLDER / "specs/lock-wait.spec"
EXPECTED = FOLDER / "expected/lock-wait.out"

NEVER_ENDS = """
setup    { CREATE ROLE contention_caller; }
teardown { DROP ROLE contention_caller; }
session holder
step hold { SELECT pg_advisory_lock(7300); }
session waiter
step wait { SELECT pg_advisory_lock(7300); }
step next { SELECT 1; }
permutation hold wait next
"""


def invoke(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(isolation, list(map(str, arguments)))
    return result.exit_code, result.stdout, result.stderr


def test_run_prints_the_transcript_to_standard_output(database: str) -> None:
    code, output, errors = invoke("run", SPEC, "--url", database, "--use-existing")
    assert (code, output.encode(), errors) == (0, EXPECTED.read_bytes(), "")


def test_run_takes_several_files_and_writes_each_transcript(database: str, tmp_path: Path) -> None:
    other = FOLDER / "specs/tables.spec"
    folder = tmp_path / "new" / "folder"
    common = ("--url", database, "--use-existing", "--output", folder)
    assert invoke("run", SPEC, other, *common)[0] == 0
    assert (folder / "lock-wait.out").read_bytes() == EXPECTED.read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == ["lock-wait.out", "tables.out"]


def test_expected_files_are_compared_and_counted(database: str, tmp_path: Path) -> None:
    shutil.copy(EXPECTED, tmp_path / "lock-wait_2.out")
    (tmp_path / "tables.out").write_text("Parsed test spec with 2 sessions\n")
    files = [FOLDER / f"specs/{name}.spec" for name in ("lock-wait", "tables", "errors")]
    common = ("--url", database, "--use-existing", "--expected", tmp_path)
    code, output, _ = invoke("run", *files, *common)
    lines = output.splitlines()
    assert code == 1
    assert lines[0].startswith("equal      lock-wait")
    assert lines[0].endswith("(to lock-wait_2.out)")
    assert "different  tables" in output
    assert "-Parsed test spec with 2 sessions\n+Parsed test spec with 1 sessions\n" in output
    assert lines[-2].startswith("no file    errors")
    assert lines[-1] == "1 of 3 equal"


def test_a_run_that_ends_early_as_expected_is_equal(database: str) -> None:
    spec = FOLDER / "specs/setup-fails.spec"
    common = ("--url", database, "--use-existing")
    assert invoke("run", spec, *common)[0] == 1
    code, output, _ = invoke("run", spec, *common, "--expected", FOLDER / "expected")
    assert code == 0
    assert '(ended early: setup failed: ERROR:  column "missing" does not exist)' in output


def test_json_is_one_document_with_everything(database: str) -> None:
    common = ("--url", database, "--use-existing", "--expected", FOLDER / "expected", "--json")
    code, output, _ = invoke("run", SPEC, *common)
    document = json.loads(output)
    assert (code, document["equal"], document["total"]) == (0, 1, 1)
    (entry,) = document["specs"]
    assert entry["output"].encode() == EXPECTED.read_bytes()
    assert (entry["verdict"], entry["equal_to"], entry["diff"], entry["problem"]) == (
        "equal",
        "lock-wait.out",
        "",
        None,
    )


def test_a_malformed_spec_is_named_with_file_and_line(tmp_path: Path) -> None:
    spec = tmp_path / "bad.spec"
    spec.write_text("session s\nsteps x { }\n")
    assert invoke("run", spec) == (2, "", f'{spec}:2: expected "step", found "steps"\n')


def test_a_missing_file_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "no.spec"
    assert invoke("run", missing)[::2] == (2, f"cannot read {missing}: No such file or directory\n")
    assert invoke("run", tmp_path)[::2] == (2, f"{tmp_path} has no files that end in .spec\n")


def test_a_server_that_is_not_there_has_its_own_exit_code() -> None:
    url = "postgresql://nobody@127.0.0.1:1/none"
    for command in (("run", SPEC), ("matrix",)):
        code, output, errors = invoke(*command, "--url", url)
        assert (code, output) == (3, "")
        assert errors.startswith("cannot connect: ")


@pytest.mark.parametrize(
    "options",
    [
        ("--use-existing",),
        ("--use-existing", "--url", "x", "--load-extension", "tcn"),
        ("--setting", "a=b", "--url", "x"),
        ("--setting", "a"),
        ("--step-seconds", "0"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options: tuple[str, ...]) -> None:
    assert invoke("run", SPEC, *options)[0] == 2


def test_what_the_server_lacks_is_said_beside_a_difference(database: str, tmp_path: Path) -> None:
    spec = tmp_path / "module.spec"
    spec.write_text("session s step load { LOAD 'no_such_module'; }")
    (tmp_path / "module.out").write_text("never so\n")
    common = ("--url", database, "--use-existing", "--expected", tmp_path)
    assert "(the server lacks no_such_module)\n" in invoke("run", spec, *common)[1]
    document = json.loads(invoke("run", spec, *common, "--json")[1])
    assert document["specs"][0]["missing"] == "no_such_module"


def test_client_settings_of_the_environment_do_not_show(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGTZ": "UTC", "PGDATESTYLE": "ISO", "PGCLIENTENCODING": "LATIN1"}.items():
        monkeypatch.setenv(name, value)
    spec = FOLDER / "specs/surroundings.spec"
    common = ("--url", database, "--use-existing", "--expected", FOLDER / "expected")
    assert invoke("run", spec, *common)[0] == 0


def test_the_time_limit_comes_from_the_variable_of_postgresqls_tester(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tmp_path / "never-ends.spec"
    spec.write_text(NEVER_ENDS)
    monkeypatch.setenv("PG_TEST_TIMEOUT_DEFAULT", "1")
    code, output, _ = invoke("run", spec, "--url", database, "--use-existing")
    assert code == 0
    assert "isolationtester: canceling step wait after 2 seconds\n" in output


@pytest.mark.parametrize(
    ("option", "beginning"),
    [("--json", "{"), ("--csv", "code,anomaly,"), ("--markdown", "| anomaly |")],
)
def test_matrix_prints_in_the_format_asked_for(
    server_url: str, option: str, beginning: str
) -> None:
    code, output, _ = invoke("matrix", "--url", server_url, option)
    assert code == 0
    assert output.startswith(beginning)


def test_matrix_takes_one_format() -> None:
    assert invoke("matrix", "--json", "--csv")[0] == 2


@pytest.fixture(name="folder")
def _folder() -> Iterator[Path]:
    """Return a folder for temporary files that the server's system user can enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def start_and_interrupt(
    folder: Path, number: signal.Signals, *options: str
) -> subprocess.CompletedProcess[str]:
    """Start a run that never ends, and send it a signal once a step waits."""
    spec = folder / "never-ends.spec"
    spec.write_text(NEVER_ENDS)
    command = [sys.executable, "-m", "contention", "isolation", "run", str(spec), *options]
    environment = os.environ | {"TMPDIR": str(folder)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "<waiting ...>" in line:
                process.send_signal(number)
                break
        output, errors = process.communicate(timeout=60)
    spec.unlink()
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_nothing_on_a_given_server(
    database: str, folder: Path, number: signal.Signals, code: int
) -> None:
    stopped = start_and_interrupt(folder, number, "--url", database, "--use-existing")
    connection = open_connection(database)
    query = b"""
    SELECT (SELECT count(*) FROM pg_roles WHERE rolname = 'contention_caller')
         + (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7300)
    """
    left = execute(connection, query).get_value(0, 0)
    connection.finish()
    assert (stopped.returncode, left) == (code, b"0"), stopped.stderr


def what_is_left(folder: Path) -> tuple[list[Path], bool]:
    """Return the kit's folders in ``folder``, and whether a server still runs in one."""
    processes = subprocess.check_output(["ps", "-eo", "args"], text=True)  # noqa: S607 - from PATH
    return list(folder.glob("contention-*")), f"-D {folder}" in processes


def test_an_interrupted_run_leaves_no_server_of_its_own(folder: Path) -> None:
    stopped = start_and_interrupt(folder, signal.SIGINT)
    assert stopped.returncode == 130, stopped.stderr
    assert what_is_left(folder) == ([], False)


@pytest.mark.parametrize("sign", ["PG_VERSION", "postmaster.pid"])
def test_an_interruption_while_the_server_starts_leaves_none(folder: Path, sign: str) -> None:
    """The file named appears while the cluster is made, or as soon as its server runs."""
    command = [sys.executable, "-m", "contention", "isolation", "matrix"]
    environment = os.environ | {"TMPDIR": str(folder)}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        while process.poll() is None and not list(folder.glob(f"contention-*/postgres/{sign}")):
            os.sched_yield()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert what_is_left(folder) == ([], False)
