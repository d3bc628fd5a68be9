"""Schedules: who went when, as a value that a fresh process can replay."""

import base64
import json
import re
import zlib
from dataclasses import dataclass
from typing import Final

EXPIRE: Final = "expire "
"""How the choices begin by which the time limit of a wait fires."""
AGE: Final = "age "
"""How the choices begin by which a key's time-out fires."""
_OF_A_WORKER: Final = re.compile(rf"(?:{EXPIRE})?(?P<worker>w\d+)(?:/\d+(?: \w+)?)?")


def worker_of(actor: str) -> str:
    """The worker that a choice lets go on, as in ``w1`` for ``w1/2`` and ``expire w1/2``.

    Returns:
        the choice itself where it lets no worker go on, as when a lease runs out.
    """
    found = _OF_A_WORKER.fullmatch(actor)
    return found["worker"] if found else actor


@dataclass(frozen=True, slots=True, order=True)
class Choice:
    """One decision of a scheduler.

    Attributes:
        actor: whose request goes on, as in ``w1``, or ``w1/2`` where it holds others too; or the
            lease that runs out now, as in ``age lock:a``; or the wait whose time limit fires, as in
            ``expire w1/2``.
    """

    actor: str


class InvalidTokenError(ValueError):
    """A replay token that cannot be read, with the reason."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The decisions of one run, in order."""

    choices: tuple[Choice, ...]

    @property
    def switches(self) -> int:
        """How often another actor went on: what shrinking makes few."""
        pairs = zip(self.choices, self.choices[1:], strict=False)
        return sum(before.actor != after.actor for before, after in pairs)

    def token(self) -> str:
        """The schedule as text for a command line: letters, digits, ``-`` and ``_``."""
        actors = [choice.actor for choice in self.choices]
        packed = zlib.compress(json.dumps(actors, separators=(",", ":")).encode(), 9)
        return "c1" + base64.urlsafe_b64encode(packed).decode().rstrip("=")

    @classmethod
    def from_token(cls, token: str) -> "Schedule":
        """The schedule behind a token.

        Raises:
            InvalidTokenError: the text is not a token of this version.
        """
        if not token.startswith("c1"):
            raise InvalidTokenError("a replay token begins with c1")
        text = token[2:]
        try:
            packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            actors = json.loads(zlib.decompressobj().decompress(packed, 1_000_000))
            return cls(tuple(Choice(str(actor)) for actor in actors))
        except (ValueError, zlib.error, TypeError) as error:
            raise InvalidTokenError(f"the replay token is damaged: {error}") from None
