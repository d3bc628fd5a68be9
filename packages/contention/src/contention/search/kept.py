"""Schedules that failed, kept in files until they are seen to be green."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from contention.model.schedules import InvalidTokenError, Schedule

FOLDER: Final = Path(".contention")
"""Where they are kept, unless a test run says otherwise; version control ignores it."""


@dataclass(frozen=True, slots=True)
class FolderMemory:
    """One small file a test, named after the test's name; two runs at once keep whole files.

    Attributes:
        folder: made when there is something to keep.
    """

    folder: Path = FOLDER

    def recall(self, name: str) -> list[Schedule]:
        """The schedules that failed; a file that nobody can read is worth nothing and is left."""
        try:
            kept = json.loads(self._file(name).read_text(encoding="utf-8"))
            return [Schedule.from_token(str(token)) for token in kept["tokens"]]
        except (OSError, ValueError, KeyError, TypeError, InvalidTokenError):
            return []

    def remember(self, name: str, schedule: Schedule) -> None:
        """Keep one that failed, before those kept already."""
        tokens = [schedule.token()]
        tokens += [token for one in self.recall(name) if (token := one.token()) not in tokens]
        self.folder.mkdir(parents=True, exist_ok=True)
        ignoring = self.folder / ".gitignore"
        if not ignoring.exists():
            ignoring.write_text("*\n", encoding="utf-8")
        file = self._file(name)
        whole = file.with_suffix(".new")
        kept = {"test": name, "tokens": tokens[:_MOST_KEPT]}
        whole.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        whole.replace(file)

    def forget(self, name: str) -> None:
        """Drop what was kept."""
        self._file(name).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self.folder / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.json"


_MOST_KEPT: Final = 10
