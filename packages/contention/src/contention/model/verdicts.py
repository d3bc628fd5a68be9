"""What a search may say. UNKNOWN is never green."""

from dataclasses import dataclass
from enum import StrEnum


class VerdictKind(StrEnum):
    """The three answers, and the two strengths of the good one."""

    LEGAL = "legal"
    """Every schedule that matters was run and none broke the promise; nothing was cut."""
    LEGAL_UP_TO = "legal up to"
    """No schedule with at most so many preemptions broke it."""
    ILLEGAL = "illegal"
    """A schedule broke it; it is replayable."""
    UNKNOWN = "unknown"
    """Schedules or time ran out, somebody outside blocked, or a worker fell silent."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A search's answer, with what bounds it.

    Attributes:
        preemptions: the bound of a ``LEGAL_UP_TO``; `None` otherwise.
        reason: why it is ILLEGAL or UNKNOWN, as a sentence; empty when legal.
    """

    kind: VerdictKind
    preemptions: int | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        if (self.kind is VerdictKind.LEGAL_UP_TO) != (self.preemptions is not None):
            raise ValueError("a bound of preemptions belongs to LEGAL_UP_TO alone")
        if (self.kind in {VerdictKind.ILLEGAL, VerdictKind.UNKNOWN}) != bool(self.reason):
            raise ValueError("ILLEGAL and UNKNOWN say why, the others have nothing to say")

    @property
    def is_green(self) -> bool:
        """Whether a test may pass on it."""
        return self.kind in {VerdictKind.LEGAL, VerdictKind.LEGAL_UP_TO}

    def __str__(self) -> str:
        if self.kind is VerdictKind.LEGAL_UP_TO:
            plural = "" if self.preemptions == 1 else "s"
            return f"LEGAL up to {self.preemptions} preemption{plural}"
        return self.kind.value.upper() + (f": {self.reason}" if self.reason else "")
