"""What docstrings say, for tables of the reference."""

import ast
import re
from inspect import getdoc, getsource
from textwrap import dedent


def section(documented: object, name: str) -> dict[str, str]:
    """The entries of a section of a docstring, as of ``Args``; empty without it."""
    described = (getdoc(documented) or "").partition(f"{name}:\n")[2]
    entries: dict[str, str] = {}
    entry = ""
    for line in described.splitlines():
        if not line.startswith("    "):
            break
        if not line.startswith("     "):
            entry, _, text = line.strip().partition(": ")
            entries[entry] = text
        else:
            entries[entry] += " " + line.strip()
    return entries


def first_sentence(documented: object) -> str:
    """The first paragraph of a docstring, on one line."""
    return cell((getdoc(documented) or "").partition("\n\n")[0])


def members(kind: type) -> dict[str, str]:
    """The strings below the assignments in a class, by the name that is assigned."""
    (defined,) = ast.parse(dedent(getsource(kind))).body
    assert isinstance(defined, ast.ClassDef)  # noqa: S101 - a class is what was given
    found: dict[str, str] = {}
    for line, below in zip(defined.body, defined.body[1:], strict=False):
        match line, below:
            case (
                ast.Assign(targets=[ast.Name(id=name)]),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = cell(text)
    return found


def cell(text: str) -> str:
    """Text for a cell of a table in Markdown."""
    return re.sub("``([^`]+)``", r"`\1`", " ".join(text.split())).replace("|", "\\|")
