"""The files in deploy/ name commands, options, settings and metrics that exist."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from claimwright.metrics import REGISTRY
from claimwright.settings import PREFIX, Settings
from support.commands import Commands

DEPLOY = Path(__file__).parents[4] / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
CONTAINER = DEPLOY / "container" / "Containerfile"
DASHBOARD = DEPLOY / "grafana" / "claimwright.json"
METRIC = re.compile(r"\bclaimwright_\w+")


def command_lines() -> Iterator[list[str]]:
    """What is run, without the program's own path."""
    for unit in UNITS:
        (line,) = re.findall(r"^ExecStart=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)
        program, *arguments = shlex.split(line)
        assert program.endswith("/bin/claimwright")
        yield arguments
    (entry,) = re.findall(r"^CMD (\[.*\])$", CONTAINER.read_text(encoding="utf-8"), re.MULTILINE)
    yield json.loads(entry)


def test_there_is_a_unit_for_workers_and_one_for_the_relay() -> None:
    assert [unit.name for unit in UNITS] == [
        "claimwright-beat.service",
        "claimwright-worker@.service",
    ]


@pytest.mark.parametrize("arguments", list(command_lines()), ids=" ".join)
def test_what_is_started_is_a_command_with_these_options(
    arguments: list[str], command: Commands
) -> None:
    found = command(arguments[0], "--help")
    assert found.code == 0
    for option in (word for word in arguments[1:] if word.startswith("--")):
        assert f"{option} " in found.out


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_gives_no_privileges(unit: Path) -> None:
    text = unit.read_text(encoding="utf-8")
    for line in ("User=claimwright", "NoNewPrivileges=true", "ProtectSystem=strict"):
        assert line in text.splitlines()


def test_the_environments_variables_are_settings() -> None:
    text = (DEPLOY / "systemd" / "claimwright.env.example").read_text(encoding="utf-8")
    named = set(re.findall(rf"\b{PREFIX}(\w+)=", text))
    assert named
    assert named <= {name.upper() for name in Settings.model_fields}


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    known = {
        name
        for family in REGISTRY.collect()
        for name in (
            family.name,
            *(f"{family.name}_{end}" for end in ("total", "bucket", "sum", "count")),
        )
    }
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    named = {name for expression in asked for name in METRIC.findall(expression)}
    assert named <= known
    families = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in named}
    shown_nowhere = {family.name for family in REGISTRY.collect()} - families
    assert shown_nowhere == set()
