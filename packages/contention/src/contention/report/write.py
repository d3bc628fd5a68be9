"""Reports as files."""

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from contention.report.document import as_json
from contention.report.page import as_html
from contention.search.exploration import Exploration
from contention.search.story import visible

_MOST_OF_A_NAME: Final = 120


def write_report(exploration: Exploration, path: Path | str, title: str = "") -> Path:
    """Write what was found, in the form that the file's suffix says; its folder is made.

    Args:
        exploration: what was found.
        path: ends in ``.txt``, ``.html`` or ``.json``.
        title: what was explored, as a test's name.

    Raises:
        ValueError: the suffix is another one.
    """
    path = Path(path)
    match path.suffix:
        case ".html":
            text = as_html(exploration, title)
        case ".json":
            text = as_json(exploration, title)
        case ".txt":
            text = "\n".join([*([visible(title)] if title else []), str(exploration), ""])
        case other:
            raise ValueError(f"a report is .txt, .html or .json, not {other or 'without a suffix'}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@dataclass(slots=True)
class ReportFolder:
    """A page and a document for each exploration of a test run, named after its test.

    Attributes:
        folder: made when there is something to write.
    """

    folder: Path
    _written: Counter[str] = field(default_factory=Counter)

    def add(self, test: str, exploration: Exploration) -> Path:
        """Write both; the page's path. A test's second exploration is numbered 2."""
        name = _file_name(test)
        self._written[name] += 1
        count = self._written[name]
        page = self.folder / f"{name}{'' if count == 1 else f'.{count}'}.html"
        write_report(exploration, page.with_suffix(".json"), test)
        return write_report(exploration, page, test)


def _file_name(test: str) -> str:
    """A name that every file system takes; where it cannot say all, a digest tells it apart."""
    said = test.replace("/", ".").replace(".py::", "--").replace("::", "-")
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", said).strip(".-")
    if name == said and len(name) <= _MOST_OF_A_NAME:
        return name
    return f"{name[:_MOST_OF_A_NAME]}-{hashlib.sha256(test.encode()).hexdigest()[:8]}"
