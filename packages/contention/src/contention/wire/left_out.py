"""Which schedules a run has left out, in words: with any of them, LEGAL is not to be had."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from contention.wire.actors import Actor
from contention.wire.patience import Patience
from contention.wire.quiet import Quiet


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What was left out in one run.

    Attributes:
        crowded: workers that go on by themselves and asked for several things at the same time.
        asleep: workers of which a task slept while another waited to be answered.
    """

    quiet: Quiet
    patience: Patience
    crowded: set[str] = field(default_factory=set)
    asleep: set[str] = field(default_factory=set)

    def note(self, actors: Iterable[Actor]) -> None:
        """Look at everybody, now that nobody goes on by itself."""
        for actor in actors:
            if actor.is_crowded:
                self.crowded.add(actor.name)
            if actor.is_at_rest and not actor.has_ended and actor.worker.sleeps():
                self.asleep.add(actor.name)

    def reasons(self) -> Iterator[str]:
        """Each as a sentence, most telling first."""
        for name in sorted(self.quiet.unheard):
            why = self.quiet.unheard[name]
            yield f"what {name} could have asked while it was silent" + (why and f": {why}")
        for name in sorted(self.crowded):
            yield f"the other orders of what {name} asks at the same time"
        for name in sorted(self.asleep):
            yield f"what {name} does after a sleep while another of its tasks waits to be answered"
        for name in sorted(self.quiet.own_limits.unseen):
            yield f"what {name} does if it gives up waiting earlier, after some rounds of it"
        for name in sorted(self.quiet.limited):
            yield (
                f"what {name} does if a time limit of its own ends its wait while others go on: "
                "which one does, or what the server's own code makes of it, cannot be seen"
            )
        for poll in sorted(self.patience.unsure):
            yield (
                f"whether {poll.worker} gives up asking {poll.asks} while others go on, as it "
                "sleeps by a clock of its own"
            )
