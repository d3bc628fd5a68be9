"""Depth first over every schedule that matters: races say what to try, sleep sets what not to.

Two steps that do not conflict give the same state in either order, so one of the orders is enough.
A run is followed by runs in which two of its steps that raced change places: at the choice before
the earlier one, the later one's actor is wanted too; where it was no option, every option is
(dynamic partial-order reduction: Flanagan and Godefroid, 2005; with sleep sets: Abdulla, Aronis,
Jonsson and Sagonas, "Optimal Dynamic Partial Order Reduction", 2014). An actor that has been tried
at a choice sleeps in what is tried there later, until a conflicting step wakes it, so that no order
is run twice (Godefroid, "Partial-Order Methods for the Verification of Concurrent Systems", 1996).

Every end state is reached, if the footprints keep what `contention.model.footprints.Mode` promises.
A footprint that is not known races with everything and never sleeps. Beyond footprints:

- Who waits for whom is touched by all who wait: it decides whose request closes a cycle. A sleeper
  whose request had to wait is woken by every other that has to.
- The requests of one worker that are held side by side are all in conflict, and none sleeps while
  another goes on.
- An option that is gone without having been chosen was taken away by the step that was chosen
  instead (a lease was released; a poll became pointless), so that step and the option race. If
  their footprints do not show it, nothing is known of what else takes it away, and every option
  of that choice is tried.
"""

from collections.abc import Mapping, Sequence

from contention.model.footprints import UNKNOWN
from contention.model.steps import Effect
from contention.schedulers.choices import Choice, Tried
from contention.schedulers.history import History
from contention.schedulers.scheduler import NotDeterministicError


class ExhaustiveScheduler:
    """Every schedule that matters, depth first, the actor at hand going on where it can.

    Args:
        is_reduced: `False` runs every schedule there is; for checking the reduction itself.
    """

    def __init__(self, *, is_reduced: bool = True) -> None:
        self._is_reduced = is_reduced
        self._stack: list[Choice] = []
        self._history = History()
        self._depth = 0
        self._is_cut = False
        self._is_in_step = False
        self._has_begun = False
        self._is_complete = False

    @property
    def is_complete(self) -> bool:
        """Whether the whole tree has been walked."""
        return self._is_complete

    @property
    def cut_reason(self) -> str:
        """Nothing is ever cut."""
        return ""

    def start(self) -> bool:
        """Step back to the deepest choice that has something left to try."""
        if self._has_begun and not self._step_back():
            self._is_complete = True
            return False
        self._has_begun = True
        self._is_cut = False
        self._depth = 0
        self._history.restart()
        return True

    def choose(self, options: Sequence[str]) -> str | None:
        """The choice of the run at hand, or the first that nobody has tried and that is awake."""
        if self._depth == len(self._stack):
            choice = self._next_choice(tuple(options))
            if choice is None:
                self._is_cut = True
                return None
            self._stack.append(choice)
        choice = self._stack[self._depth]
        if choice.options != tuple(options):
            raise NotDeterministicError(self._depth, choice.options, options)
        if self._is_reduced:
            self._greet(options)
        self._is_in_step = True
        return choice.current

    def executed(self, effect: Effect) -> None:
        """Remember what the step touched, and want the other order where it raced."""
        self._is_in_step = False
        choice = self._stack[self._depth]
        choice.executed(effect)
        if self._is_reduced:
            for race in self._history.record(choice.current, effect):
                self._stack[race.position].want(race.initials)
        self._depth += 1

    def _next_choice(self, options: tuple[str, ...]) -> Choice | None:
        """The choice after the last one; `None` when every option sleeps."""
        if not self._stack:
            return self._choice(options, {}, options[0])
        before = self._stack[-1]
        asleep: Mapping[str, Tried] = {}
        if self._is_reduced:
            before.followed_by(options)
            asleep = before.asleep_below(options)
        preferred = [before.current, *options] if before.current in options else options
        awake = [option for option in preferred if option not in asleep]
        return self._choice(options, asleep, awake[0]) if awake else None

    def _choice(self, options: tuple[str, ...], asleep: Mapping[str, Tried], first: str) -> Choice:
        return Choice(options, asleep, first, {first} if self._is_reduced else set(options))

    def _greet(self, options: Sequence[str]) -> None:
        """Tell the history who became an option by the last step, or asks for something else."""
        before = self._stack[self._depth - 1] if self._depth else None
        for option in options:
            if before is None or option == before.current:
                self._history.asks(option)
            elif option not in before.options:
                self._history.appeared(option)

    def _step_back(self) -> bool:
        if not self._is_cut:
            self._end_run()
        while self._stack:
            choice = self._stack[-1]
            following = choice.next_option()
            if following is not None:
                choice.current = following
                return True
            self._stack.pop()
        return False

    def _end_run(self) -> None:
        """After the end nobody is an option; a step of which nothing was told is unknown."""
        if self._is_in_step:
            self.executed(Effect(UNKNOWN))
        if self._depth < len(self._stack):
            raise NotDeterministicError(self._depth, self._stack[self._depth].options, ())
        if self._is_reduced and self._stack:
            self._stack[-1].followed_by(())
