"""The reference pages of ``contention`` that follow from its code."""

from collections.abc import Callable, Iterator, Mapping
from inspect import Parameter, getmembers, signature
from typing import TYPE_CHECKING, Any, cast

import typer
from docstrings import cell, first_sentence, members, section
from typer.cli import get_docs_for_click

from contention import (
    BoundedScheduler,
    Bounds,
    Exploration,
    Links,
    NotGreenError,
    PctScheduler,
    Process,
    ReplayScheduler,
    explore,
    pytest_plugin,
)
from contention.cli import app
from contention.model.verdicts import VerdictKind
from contention.schedulers.exhaustive import ExhaustiveScheduler

if TYPE_CHECKING:
    import pytest

_FIXTURE = type(pytest_plugin.postgres)
_WORDS: Mapping[VerdictKind, str] = {
    VerdictKind.LEGAL: "LEGAL",
    VerdictKind.LEGAL_UP_TO: "LEGAL up to n preemptions",
    VerdictKind.ILLEGAL: "ILLEGAL",
    VerdictKind.UNKNOWN: "UNKNOWN",
}


def pages() -> dict[str, tuple[str, Iterator[str]]]:
    """Every page's title and lines, by its name."""
    return {
        "contention-cli.md": ("The command line of `contention`", _commands()),
        "contention-explore.md": ("`explore`", _explore()),
        "contention-pytest.md": ("`contention` under pytest", _pytest()),
    }


def _commands() -> Iterator[str]:
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="contention")
    text = get_docs_for_click(obj=command, ctx=context, name="contention")
    yield text.partition("\n")[2].strip()


def _explore() -> Iterator[str]:
    yield f"```python\n{_call_in_lines(explore)}\n```\n"
    yield f"{first_sentence(explore)}\n"
    yield "| argument | default | meaning |\n|---|---|---|"
    defaults = {name: _default(one) for name, one in signature(explore).parameters.items()}
    for name, meaning in section(explore, "Args").items():
        yield f"| `{name}` | {defaults[name]} | {cell(meaning)} |"
    yield "\nIt returns an `Exploration`, or raises:\n"
    yield "| error | when |\n|---|---|"
    for name, meaning in section(explore, "Raises").items():
        yield f"| `{name}` | {cell(meaning)} |"
    yield (
        f"\nThe first two are a `{NotGreenError.__name__}`, which is an `AssertionError` and has "
        "the `exploration`."
    )
    yield from _verdicts()
    yield from _schedulers()
    for kind in (Links, Process, Bounds, Exploration):
        yield from _attributes(kind)


def _verdicts() -> Iterator[str]:
    yield "\n## Verdicts\n"
    yield "| verdict | a test passes on it | meaning |\n|---|---|---|"
    for name, meaning in members(VerdictKind).items():
        kind = VerdictKind[name]
        is_green = kind in {VerdictKind.LEGAL, VerdictKind.LEGAL_UP_TO}
        yield f"| {_WORDS[kind]} | {'yes' if is_green else 'no'} | {meaning} |"


def _schedulers() -> Iterator[str]:
    yield "\n## Schedulers\n"
    yield "| `scheduler=` | which schedules | the best verdict |\n|---|---|---|"
    best = {
        ExhaustiveScheduler: "LEGAL",
        BoundedScheduler: "LEGAL up to n preemptions",
        PctScheduler: "UNKNOWN",
        ReplayScheduler: "UNKNOWN",
    }
    for kind, verdict in best.items():
        yield f"| `{_call(kind)}` | {first_sentence(kind)} | {verdict} |"
    yield "\nThe first is the one that `explore` takes by itself. The last one runs again what a"
    yield "report's token says: `ReplayScheduler(Schedule.from_token(TOKEN))`."


def _attributes(kind: Any) -> Iterator[str]:  # noqa: ANN401 - a dataclass
    yield f"\n## `{kind.__name__}`\n\n{first_sentence(kind)}\n"
    if kind is Process:
        yield "Made by `process(target, *arguments, environment=None, folder=None)`.\n"
    yield "| attribute | meaning |\n|---|---|"
    for name, meaning in section(kind, "Attributes").items():
        yield f"| `{_attribute(kind, name)}` | {cell(meaning)} |"


def _pytest() -> Iterator[str]:
    yield "The plugin is there once the package is installed.\n"
    yield "## Options\n"
    yield "| option | meaning |\n|---|---|"
    for name, metavar, text in _options():
        yield f"| `{name} {metavar}` | {cell(text)} |"
    yield "\n## Fixtures\n"
    yield "| fixture | what it is |\n|---|---|"
    for name, fixture in getmembers(pytest_plugin, lambda one: isinstance(one, _FIXTURE)):
        yield f"| `{name}` | {first_sentence(fixture)} |"
    yield "\n## In the summary\n"
    yield "Each exploration has its line in the section `contention`: the test, the verdict with"
    yield "its reason, how many schedules, how long. None is left out."


class _Declared:
    """Takes the options that a plugin declares, as pytest's parser and its groups do."""

    def __init__(self) -> None:
        self.options: list[tuple[str, dict[str, str]]] = []

    def getgroup(self, *_: str) -> "_Declared":
        return self

    def addoption(self, name: str, **attributes: str) -> None:
        self.options.append((name, attributes))


def _options() -> Iterator[tuple[str, str, str]]:
    declared = _Declared()
    pytest_plugin.pytest_addoption(cast("pytest.Parser", declared))
    for name, attributes in declared.options:
        text = attributes["help"].replace("%(default)s", attributes.get("default", ""))
        yield name, attributes["metavar"], text


def _call_in_lines(called: Callable[..., object]) -> str:
    """How it is called, a line for each argument."""
    lines = "".join(f"    {_shown(one)},\n" for one in signature(called).parameters.values())
    return f"{called.__name__}(\n{lines})"


def _call(called: Callable[..., object]) -> str:
    """How it is called, without types."""
    shown = [_shown(one) for one in signature(called).parameters.values()]
    return f"{called.__name__}({', '.join(shown)})"


def _attribute(kind: type, name: str) -> str:
    """An attribute, with the number that it is when none is given."""
    one = signature(kind).parameters[name]
    is_number = isinstance(one.default, int | float) and one.default
    return _shown(one) if is_number else name


def _shown(one: Parameter) -> str:
    star = "*" if one.kind is Parameter.VAR_POSITIONAL else ""
    return f"{star}{one.name}" + ("" if one.default is Parameter.empty else f"={one.default!r}")


def _default(one: Parameter) -> str:
    return "" if one.default is Parameter.empty else f"`{one.default!r}`"
