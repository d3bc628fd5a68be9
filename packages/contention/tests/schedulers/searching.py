"""Every outcome of the small database's programs: by a scheduler, and without one."""

from contention.schedulers.scheduler import Scheduler

from .database import Database
from .requests import Programs


def explore(programs: Programs, scheduler: Scheduler) -> tuple[set[object], int]:
    """Every outcome the scheduler leads to, and how many runs it took, the ones cut included."""
    outcomes, runs = set(), 0
    while scheduler.start():
        database = Database.of(programs)
        while options := database.options():
            chosen = scheduler.choose(options)
            if chosen is None:
                break
            scheduler.executed(database.step(chosen))
        else:
            outcomes.add(database.outcome())
        runs += 1
    return outcomes, runs


def every_outcome(programs: Programs) -> set[object]:
    """The truth, without a scheduler: every choice from every state, each state once."""
    outcomes, seen, left = set(), set(), [Database.of(programs)]
    while left:
        database = left.pop()
        state = database.state()
        if state in seen:
            continue
        seen.add(state)
        options = database.options()
        if not options:
            outcomes.add(database.outcome())
        for option in options:
            following = database.copy()
            following.step(option)
            left.append(following)
    return outcomes
