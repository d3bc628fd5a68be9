"""Write the pages of docs/reference that follow from the code; `--check` says which are stale.

Run by `make docs`, and with `--check` by a test.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import contention_pages
import typer
from docstrings import cell, first_sentence, section
from prometheus_client import Counter
from prometheus_client.metrics import MetricWrapperBase
from typer.cli import get_docs_for_click

from claimwright import metrics
from claimwright.cli.commands import app
from claimwright.cli.exits import EXIT_OF_ERROR, Exit, exit_of
from claimwright.cli.failures import Failure
from claimwright.domain.errors import ClaimwrightError, NotFoundError
from claimwright.domain.lifecycle import TRANSITIONS
from claimwright.files.conversions import NAMED_CONVERSIONS
from claimwright.files.tables import PARQUET_TYPES
from claimwright.operations.export_claims import COLUMNS
from claimwright.settings import PREFIX, Settings

REFERENCE = Path(__file__).with_name("reference")
GENERATED = "<!-- Written by docs/build.py; change the code and run `make docs`. -->\n\n"


def main() -> int:
    """Write the stale pages, or with `--check` name them and fail."""
    stale = [
        name
        for name, text in pages().items()
        if not (REFERENCE / name).exists() or (REFERENCE / name).read_text(encoding="utf-8") != text
    ]
    if "--check" in sys.argv:
        print("\n".join(stale) or "The generated pages are up to date.")
        return 1 if stale else 0
    REFERENCE.mkdir(exist_ok=True)
    for name in stale:
        (REFERENCE / name).write_text(pages()[name], encoding="utf-8")
        print(f"wrote docs/reference/{name}")
    return 0


def pages() -> dict[str, str]:
    """Every generated page by its name."""
    return {
        "claims-export.md": _page("Exported claims", _export_columns()),
        "cli.md": _page("The command line", _commands()),
        "conversions.md": _page("Named conversions", _conversions()),
        "exit-codes.md": _page("Exit codes", _exits()),
        "life-cycle.md": _page("The life of a claim", _life_cycle()),
        "metrics.md": _page("Metrics", _metrics()),
        "settings.md": _page("Settings", _settings()),
        **{name: _page(*page) for name, page in contention_pages.pages().items()},
    }


def _page(title: str, lines: Iterable[str]) -> str:
    return f"# {title}\n\n{GENERATED}" + "\n".join(lines).rstrip() + "\n"


def _commands() -> Iterator[str]:
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="claimwright")
    text = get_docs_for_click(obj=command, ctx=context, name="claimwright")
    yield text.partition("\n")[2].strip()


def _export_columns() -> Iterator[str]:
    yield "What `claimwright claims export` writes, one row a claim, by policy and claim.\n"
    yield "In CSV and JSON, amounts and percentages are exact decimal text.\n"
    yield "| column | kind | meaning |\n|---|---|---|"
    for column in COLUMNS:
        yield f"| `{column.name}` | {column.kind} | {cell(column.meaning)} |"
    yield "\n| kind | in Parquet |\n|---|---|"
    for kind, name in PARQUET_TYPES.items():
        yield f"| {kind} | `{name}` |"


def _conversions() -> Iterator[str]:
    yield "What `convert.named` of a mapping can say: `value * multiply + add`, exactly.\n"
    yield "| name | multiply | add |\n|---|---|---|"
    for name, conversion in NAMED_CONVERSIONS.items():
        yield f"| `{name}` | {conversion.multiply} | {conversion.add} |"


def _exits() -> Iterator[str]:
    yield "| code | name | meaning |\n|---|---|---|"
    for code, meaning in _documented(Exit):
        yield f"| {code.value} | {code.name.lower().replace('_', ' ')} | {meaning} |"
    yield "\n## Errors\n\nThe most exact class of an error decides.\n"
    yield "| error | code | meaning |\n|---|---|---|"
    for kind in sorted(_tree(ClaimwrightError), key=lambda kind: kind.__name__):
        code = next(EXIT_OF_ERROR[base] for base in kind.__mro__ if base in EXIT_OF_ERROR)
        yield f"| `{kind.__name__}` | {code.value} | {first_sentence(kind)} |"
    yield from _json_errors()


def _json_errors() -> Iterator[str]:
    error = NotFoundError("product", "nyc-rian")
    failure = Failure(type(error).__name__, exit_of(error), str(error), vars(error))
    yield "\n## With `--json`\n"
    yield "Standard output holds one JSON document, whatever becomes of the command. One that"
    yield "failed prints this, and the message on the error stream as well:\n"
    yield f"```json\n{failure.as_json()}\n```\n"
    yield "| key of `error` | meaning |\n|---|---|"
    yield "| `kind` | the name of the exit code, with `_` for spaces |"
    yield (
        "| `type` | an error of the table above, `UsageError` for a wrong option or argument, "
        "`Interrupted`, or a defect's class |"
    )
    yield "| `message` | what the error stream says |"
    yield "| `facts` | the error's own values by name; often none |"
    yield "| `exit_code` | the exit code |"
    yield "\nA command that finished its work prints its own document, whatever its exit code:"
    yield "`verify` with 1 and 6 what differs or is pending, `doctor` with 4 its checks,"
    yield "`calculate` with 5 its `failures`, an import with 7 its `refusals`."


def _documented(codes: type[Exit]) -> Iterator[tuple[Exit, str]]:
    source = Path(sys.modules[codes.__module__].__file__ or "").read_text(encoding="utf-8")
    for code in codes:
        after = source.split(f"    {code.name} = {code.value}\n", 1)[1]
        meaning = after.split('"""')[1] if after.lstrip().startswith('"""') else "Done."
        yield code, meaning


def _life_cycle() -> Iterator[str]:
    yield "What is not in the picture is forbidden, by the rules and by the database.\n"
    yield "```mermaid\nstateDiagram-v2\n    [*] --> calculated"
    for before, ways in TRANSITIONS.items():
        for after in sorted(ways):
            yield f"    {before} --> {after}"
    yield "```"


def _metrics() -> Iterator[str]:
    yield "| metric | labels | meaning |\n|---|---|---|"
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            labels = ", ".join(metric._labelnames)  # noqa: SLF001 - there is no public name
            name = f"{metric._name}{'_total' if isinstance(metric, Counter) else ''}"  # noqa: SLF001
            yield f"| `{name}` | {labels} | {metric._documentation} |"  # noqa: SLF001


def _settings() -> Iterator[str]:
    yield "Read once from the environment; an unknown variable of the prefix is an error.\n"
    yield "| variable | default | meaning |\n|---|---|---|"
    meanings = section(Settings, "Attributes")
    for name, info in Settings.model_fields.items():
        default = "" if info.default_factory else info.default
        shown = f"`{default}`" if isinstance(default, int | float | str) else ""
        yield f"| `{PREFIX}{name.upper()}` | {shown} | {meanings.get(name, '')} |"


def _tree(root: type[ClaimwrightError]) -> Iterator[type[ClaimwrightError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


if __name__ == "__main__":
    sys.exit(main())
