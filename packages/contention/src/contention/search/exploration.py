"""What a search found, and the errors that carry it."""

from dataclasses import dataclass, field
from typing import Final

from contention.model.steps import Run
from contention.model.verdicts import Verdict, VerdictKind
from contention.search.story import counted, listed, story, visible, wrapped


@dataclass(slots=True)
class Exploration:
    """What a search found.

    Attributes:
        workers: the workers' functions by name, as in ``{"w1": "buy"}``.
        verdict: the answer.
        schedules: how many were run in the search, those given up early as known included.
        given_up: how many of them were given up early, since what follows was known.
        shrinking: how many more were run to find a shorter counterexample.
        beside: how many more were run to rehearse, to repeat, and for the serial orders.
        counterexample: the run that broke the promise, the shortest that was found.
        stopped: the run in which an undecided search ended; `None` when it did not end in one.
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
    beside: int = 0
    counterexample: Run | None = None
    stopped: Run | None = None
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def shown(self) -> Run | None:
        """The run that a reader wants to see."""
        return self.counterexample or self.stopped

    @property
    def finished(self) -> int:
        """How many of the search's schedules were run to the end."""
        return self.schedules - self.given_up

    def summary(self) -> str:
        """The verdict and what it rests on, in one line."""
        more = f" and {self.shrinking:,} to shorten the failure" if self.shrinking else ""
        schedules = counted(self.schedules, "schedule")
        verdict, *_ = str(self.verdict).splitlines()
        return f"{verdict} ({schedules}{more} in {self.seconds:.1f} s)"

    def extent(self) -> str:
        """Every schedule that was run, counted."""
        given_up = f", {self.given_up:,} of them given up early as known" if self.given_up else ""
        more = f"; {self.shrinking:,} more to shorten the failure" if self.shrinking else ""
        more += f"; {self.beside:,} more to rehearse, repeat and compare" if self.beside else ""
        return f"{counted(self.schedules, 'schedule')} in {self.seconds:.1f} s{given_up}{more}"

    def end(self) -> str:
        """What ended the search."""
        match self.verdict.kind:
            case VerdictKind.LEGAL:
                return "every schedule that matters was run, nothing was cut"
            case VerdictKind.LEGAL_UP_TO:
                bound = counted(self.verdict.preemptions or 0, "preemption")
                return f"every schedule with at most {bound} was run, none with more"
            case VerdictKind.ILLEGAL:
                return "the first schedule that failed ended the search"
        return "the search was not finished, so this is no pass"

    def __str__(self) -> str:
        """The whole report as text; the verdict's own line is never wrapped."""
        return "\n".join([visible(str(self.verdict)), *self._head(), *self._shown_run()])

    def _head(self) -> list[str]:
        facts = [
            ("workers", listed(self.workers.items())),
            ("ran", self.extent()),
            ("end", self.end()),
            *(("note", visible(note)) for note in self.notes),
        ]
        return [line for name, text in facts if text for line in wrapped(f"  {name:<9}", text)]

    def _shown_run(self) -> list[str]:
        if self.shown is None:
            return []
        token = self.shown.schedule.token()
        return ["", *story(self.shown.steps), "", f"  replay: {token}", *_HOW_TO_REPLAY]


_HOW_TO_REPLAY: Final = (
    "      under pytest:  pytest --contention-replay TOKEN",
    "      in a script:   scheduler=ReplayScheduler(Schedule.from_token(TOKEN))",
)


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
