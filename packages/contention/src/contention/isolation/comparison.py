"""Compares what a spec printed with expected output files."""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

_MISSING_PART = re.compile(
    r'ERROR:  (?:could not access file "([^"]+)"'
    r'|extension "([^"]+)" is not available'
    r"|(prepared transactions) are disabled)"
)
"""How PostgreSQL says that a module is not installed or a feature is switched off."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How one transcript relates to its expected files.

    Attributes:
        equal_to: the name of the file that is equal to the byte, if one is.
        diff: from the nearest expected file to the transcript, if there is a file and none is
            equal.
    """

    equal_to: str | None
    diff: str


def compare(name: str, output: bytes, folder: Path) -> Comparison:
    """Compare with ``name.out`` and its variants ``name_0.out`` to ``name_9.out`` in ``folder``.

    As in PostgreSQL's tests any variant may match; white space counts here.
    """
    expected = {path.name: path.read_bytes() for path in _expected_files(name, folder)}
    for file_name, content in expected.items():
        if content == output:
            return Comparison(file_name, "")
    diffs = [_unified(file_name, content, output) for file_name, content in expected.items()]
    return Comparison(None, min(diffs, key=lambda diff: diff.count("\n"), default=""))


def missing_part(output: bytes) -> str | None:
    """Return the server part that an error in ``output`` says is not there, if one does."""
    match = _MISSING_PART.search(output.decode("utf-8", "replace"))
    if match is None:
        return None
    return next(part for part in match.groups() if part is not None)


def _expected_files(name: str, folder: Path) -> list[Path]:
    variant = re.compile(rf"{re.escape(name)}(_[0-9])?\.out")
    return sorted(path for path in folder.iterdir() if variant.fullmatch(path.name))


def _unified(file_name: str, expected: bytes, output: bytes) -> str:
    before, after = (
        text.decode("utf-8", "backslashreplace").splitlines(keepends=True)
        for text in (expected, output)
    )
    lines = difflib.unified_diff(before, after, f"expected/{file_name}", "output")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ no line end\n" for line in lines)
