"""With `--json` every command that fails prints one JSON document on standard output."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer

from claimwright.cli.commands import app
from claimwright.cli.exits import Exit
from claimwright.cli.failures import Failure, wants_json
from claimwright.embedded import ServerAddresses
from support.commands import Commands, Finished
from support.databases import plain_connections

#: A line of each command that is right in itself.
LINES: Mapping[str, tuple[str, ...]] = {
    "calculate": (),
    "claims export": ("claims.csv",),
    "claims list": (),
    "claims void": ("1-1", "--reason", "a leak", "--actor", "an auditor"),
    "demo": ("--output", "out"),
    "doctor": (),
    "explain": ("1-1",),
    "init": (),
    "policies import": ("policies.csv",),
    "policies list": (),
    "products add": ("product.toml",),
    "products list": (),
    "products show": ("nyc-rain",),
    "readings import": ("readings.csv", "--mapping", "mapping.toml"),
    "readings list": (),
    "readings quarantined": (),
    "readings restatements": (),
    "verify": (),
    "work list": (),
    "work retry": ("--all-dead",),
}
#: They run until they are told to end, and have no result.
SERVICES = {"beat", "worker"}
# The demo has servers of its own.
ON_YOUR_SERVERS = sorted(set(LINES) - {"demo"})


@pytest.fixture
def files(examples: Path, tmp_path: Path) -> None:
    """The files that the lines name."""
    for name, source in (
        ("product.toml", "nyc-rain.toml"),
        ("mapping.toml", "nyc-readings.toml"),
        ("policies.csv", "policies.csv"),
    ):
        (tmp_path / name).write_text((examples / source).read_text("utf-8"), "utf-8")
    (tmp_path / "readings.csv").write_text("origin,time_hour,precip,wind_speed,wind_gust\n")


def error_of(finished: Finished, code: Exit) -> dict[str, Any]:
    """The document of a failure, which says on both streams what happened."""
    assert finished.code == code, finished
    error: dict[str, Any] = finished.document["error"]
    assert set(error) == {"kind", "type", "message", "facts", "exit_code"}
    assert (error["kind"], error["exit_code"]) == (code.name.lower(), code)
    assert error["message"] in finished.err
    return error


def leaves(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - of Typer's
    for name, inner in getattr(command, "commands", {}).items():
        yield from leaves(inner, f"{path} {name}".strip())
    if not hasattr(command, "commands"):
        yield path, command


def test_every_command_is_here_and_has_the_option() -> None:
    every = dict(leaves(typer.main.get_command(app)))
    found = {path: command for path, command in every.items() if path not in SERVICES}
    assert every.keys() - found.keys() == SERVICES
    assert sorted(found) == sorted(LINES)
    for path, command in found.items():
        assert any("--json" in parameter.opts for parameter in command.params), path


@pytest.mark.parametrize("path", sorted(LINES))
def test_a_wrong_option_is_a_document(command: Commands, path: str) -> None:
    finished = command(*path.split(), *LINES[path], "--json", "--no-such-option")
    error = error_of(finished, Exit.INVALID)
    assert error["type"] == "UsageError"
    assert error["message"].startswith("No such option: --no-such-option")


@pytest.mark.parametrize("path", [path for path in sorted(LINES) if LINES[path][:1] != ()])
def test_a_missing_argument_is_a_document_or_an_error_of_its_own(
    command: Commands, path: str
) -> None:
    if path == "demo":
        return
    error = error_of(command(*path.split(), "--json"), Exit.INVALID)
    assert error["type"] == (
        "InvalidInputError" if path in {"explain", "work retry"} else "UsageError"
    )


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("path", ON_YOUR_SERVERS)
def test_a_wrong_setting_is_a_document(
    command: Commands, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setenv("CLAIMWRIGHT_POOLSIZE", "3")
    error = error_of(command(*path.split(), *LINES[path], "--json"), Exit.INVALID)
    assert error["type"] == "InvalidInputError"
    assert "did you mean CLAIMWRIGHT_POOL_SIZE?" in error["message"]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("path", ON_YOUR_SERVERS)
def test_a_server_that_is_away_is_a_document(
    command: Commands, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setenv("CLAIMWRIGHT_DATABASE_URL", "postgresql://a:hunter2@127.0.0.1:9/claims")
    monkeypatch.delenv("CLAIMWRIGHT_OWNER_DATABASE_URL")
    finished = command(*path.split(), *LINES[path], "--json")
    assert "hunter2" not in finished.out + finished.err
    if path == "doctor":  # which looks on, and says all that it saw
        assert (finished.code, finished.document["healthy"]) == (Exit.UNAVAILABLE, False)
    else:
        assert error_of(finished, Exit.UNAVAILABLE)["type"] == "DatabaseUnavailableError"


def test_the_demo_fails_with_a_document(command: Commands, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    finished = command("demo", "--folder", "taken", "--json")
    assert error_of(finished, Exit(finished.code))["message"]


@pytest.mark.usefixtures("files")
def test_the_facts_of_an_error_have_names(command: Commands, tmp_path: Path) -> None:
    missing = error_of(command("products", "show", "rain", "--json"), Exit.NOT_FOUND)
    assert missing["facts"] == {"noun": "product", "key": "rain"}
    terms = tmp_path / "product.toml"
    terms.write_text(terms.read_text("utf-8").replace("[index]", "[indices]"), "utf-8")
    wrong = error_of(command("products", "add", "product.toml", "--json"), Exit.INVALID)
    assert wrong["type"] == "InvalidTermsError"
    assert set(wrong["facts"]) == {"key", "reason"}


def test_a_defect_is_a_document_besides_its_traceback(
    command: Commands, fresh_database: ServerAddresses
) -> None:
    asyncio.run(_rename_policies(fresh_database))
    finished = command("verify", "--json")
    assert "Traceback" in finished.err
    assert error_of(finished, Exit.DEFECT)["type"] == "ProgrammingError"


@pytest.mark.usefixtures("files")
def test_rows_that_were_refused_are_in_the_document_of_their_import(
    command: Commands, tmp_path: Path
) -> None:
    command("products", "add", "product.toml")
    (tmp_path / "readings.csv").write_text(
        "origin,time_hour,precip,wind_speed,wind_gust\nJFK,yesterday,0,0,0\n"
    )
    report = command.json("policies", "import", "policies.csv", code=Exit.PARTLY_REFUSED)
    assert report["refused"] == len(report["refusals"]) > 0
    arguments = ("readings", "import", "readings.csv", "--mapping", "mapping.toml")
    report = command.json(*arguments, code=Exit.PARTLY_REFUSED)
    assert [refusal["row"] for refusal in report["refusals"]] == [2]


def test_without_the_option_standard_output_stays_empty(command: Commands) -> None:
    finished = command("products", "show", "rain")
    assert (finished.code, finished.out) == (Exit.NOT_FOUND, "")


def test_the_option_counts_wherever_it_stands_before_the_end_of_options() -> None:
    assert wants_json(["claims", "--json", "list"])
    assert not wants_json(["products", "show", "--", "--json"])


def test_a_fact_without_a_json_form_is_text() -> None:
    document = json.loads(Failure("Any", Exit.INVALID, "ü", {"key": Path("a")}).as_json())
    assert document["error"]["facts"] == {"key": "a"}


async def _rename_policies(addresses: ServerAddresses) -> None:
    async with plain_connections(addresses) as connections:
        owner = await connections.owner()
        await owner.execute("ALTER TABLE policies RENAME TO policies_of_another_version")
