"""The documents that follow from the code follow from the code as it is."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ROOMS = (
    ROOT / "packages" / "claimwright" / "src" / "claimwright",
    ROOT / "packages" / "contention" / "src" / "contention",
)
SOURCE = re.compile(r"`([\w./]+(?:\.py|\.sql|/))`")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
# The target of `[text](target "title")`, or of a definition `[name]: target`.
LINK = re.compile(r"(?:\]\(|^\[[^\]]+\]:\s*)<?([^)\s>]+)", re.MULTILINE)


def test_the_generated_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "build.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"run `make docs`; stale: {done.stdout}{done.stderr}"


def documents() -> list[Path]:
    faces = [
        ROOT / "README.md",
        ROOT / "ARCHITECTURE.md",
        *sorted(ROOT.glob("packages/*/README.md")),
    ]
    return [*faces, *sorted(ROOT.glob("docs/**/*.md"))]


def relative_links(document: Path) -> Iterator[str]:
    """Where the document's links and images lead within the repository, code samples apart."""
    prose = FENCE.sub("", document.read_text(encoding="utf-8"))
    for target in LINK.findall(CODE.sub("", prose)):
        if not target.startswith(("https://", "http://", "mailto:", "#")):
            yield target.partition("#")[0]


def broken_links(document: Path) -> list[str]:
    return [
        f"{document.name} leads to {target}"
        for target in relative_links(document)
        if not (document.parent / target).exists()
    ]


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_that_exists(document: Path) -> None:
    assert broken_links(document) == []


def missing_sources(text: str) -> list[str]:
    """The files and rooms named in tables of a page that are in neither package."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    named = {name for row in rows for name in SOURCE.findall(row)}
    return sorted(name for name in named if not any((room / name).exists() for room in ROOMS))


def test_every_file_that_the_architecture_sends_people_to_exists() -> None:
    assert missing_sources((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")) == []


def test_a_file_that_is_gone_is_found() -> None:
    page = (
        "| a | `cli/`, `runtime.py` |\n| b | `domain/gone.py`, `gone/`, `psql` |\n`prose/`, free\n"
    )
    assert missing_sources(page) == ["domain/gone.py", "gone/"]


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(
        "[here](page.md#part), [gone](missing.md), ![shot](shot.png 'a title'), [out](https://x.y)\n"
        "`[code](sample.md)`\n\n```md\n[fenced](sample.md)\n```\n\n[by name]: also-missing.md\n",
        encoding="utf-8",
    )
    assert broken_links(document) == [
        "page.md leads to missing.md",
        "page.md leads to shot.png",
        "page.md leads to also-missing.md",
    ]
