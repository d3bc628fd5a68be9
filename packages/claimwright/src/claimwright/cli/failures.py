"""How a command failed, as the one JSON document that `--json` promises."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final

from claimwright.cli.exits import Exit


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a command did not do what it was asked.

    Attributes:
        type: the class of the error, `UsageError`, `Interrupted`, or a defect's class.
        exit: what the command ends with.
        message: what the error stream says, as one text.
        facts: the error's own values by name, such as the key that is wrong.
    """

    type: str
    exit: Exit
    message: str
    facts: Mapping[str, object] = field(default_factory=dict)

    def as_json(self) -> str:
        """The document; values without a JSON form are text."""
        error = {
            "kind": self.exit.name.lower(),
            "type": self.type,
            "message": self.message,
            "facts": dict(self.facts),
            "exit_code": int(self.exit),
        }
        return json.dumps({"error": error}, default=str, indent=2, ensure_ascii=False)


INTERRUPTED: Final = Failure(
    "Interrupted",
    Exit.INTERRUPTED,
    "Interrupted; nothing is half done, run it again to go on.",
)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for JSON, be it one that cannot be understood otherwise."""
    return "--json" in takewhile(lambda argument: argument != "--", arguments)
