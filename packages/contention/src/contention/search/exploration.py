"""What a search found, and the errors that carry it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from contention.model.steps import Run, Step
from contention.model.verdicts import Verdict, VerdictKind


@dataclass(slots=True)
class Exploration:
    """What a search found.

    Attributes:
        workers: the workers' functions by name, as in ``{"w1": "buy"}``.
        verdict: the answer.
        schedules: how many were run in the search, those given up early as known included.
        given_up: how many of them were given up early, since what follows was known.
        shrinking: how many more were run to find a shorter counterexample.
        counterexample: the run that broke the promise, the shortest that was found.
        notes: what a reader should know beside the verdict, as sentences.
        seconds: how long the search took.
    """

    workers: dict[str, str] = field(default_factory=dict)
    verdict: Verdict = field(
        default_factory=lambda: Verdict(VerdictKind.UNKNOWN, reason="nothing was run")
    )
    schedules: int = 0
    given_up: int = 0
    shrinking: int = 0
    counterexample: Run | None = None
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        shown = [str(self.verdict), f"{self.schedules} schedules in {self.seconds:.1f} s"]
        if self.counterexample is not None:
            shown += story(self.counterexample.steps)
            shown.append(f"replay: {self.counterexample.schedule.token()}")
        return "\n".join(shown + self.notes)


class NotGreenError(AssertionError):
    """A search whose verdict is not green.

    Attributes:
        exploration: what was found.
    """

    def __init__(self, exploration: Exploration) -> None:
        super().__init__(str(exploration))
        self.exploration = exploration


class PromiseBrokenError(NotGreenError):
    """ILLEGAL: a schedule broke the promise; its run is the counterexample."""


class UndecidedError(NotGreenError):
    """UNKNOWN: the search could not be finished; the verdict says why."""


def story(steps: Sequence[Step]) -> list[str]:
    """A run's steps, a line each."""
    return [_line(step) for step in steps]


def _line(step: Step) -> str:
    blockers = ", ".join(map(str, step.blocked_by))
    result = f"BLOCKED by {blockers}" if step.is_blocked else step.result
    where = f"  [{step.source}]" if step.source else ""
    return f"  {step.number:>3}  {step.actor}  {step.text}{where}  ->  {result}"
