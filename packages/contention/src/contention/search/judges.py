"""Whether a run may end as it did: by the user's invariant, or by some serial order.

Time that passes is a choice of the search, and may pass between and inside the workers of a serial
order as well: where a run's time-outs have fired, it may also end as a serial order in which some
fire. Where none have, it may not: that two who both were the first were so an hour apart excuses
nothing in a run of a moment.
"""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from contention.checkers.renaming import same_up_to_names
from contention.checkers.results import with_results_as_tables
from contention.checkers.serial import serial_orders
from contention.model.outcomes import Outcome, Table
from contention.schedulers.serial import SerialScheduler
from contention.search.calls import called
from contention.search.complaints import complaint
from contention.search.runs import Ended, Runner
from contention.search.start import Start
from contention.wire.outcome_reader import (
    TablePlan,
    plan_tables,
    read_keys,
    read_tables,
)
from contention.wire.servers import Links
from contention.wire.stage import StageError

Check = Callable[[Links], object]

_KEYS_PREFIX = "redis "
_MOST_ENDS: Final = 200
_MOST_AGED_ENDS: Final = 1_000


class Judge(Protocol):
    """Looks at the end of a run."""

    async def objection(self, runner: Runner, ended: Ended) -> str:
        """What is wrong with the end of the latest run, as a sentence; empty when nothing is."""


@dataclass(frozen=True, slots=True)
class InvariantJudge:
    """The user's own check; an exception or `False` says that it does not hold."""

    invariant: Check

    async def objection(self, runner: Runner, ended: Ended) -> str:  # noqa: ARG002 - a judge's signature
        """What the invariant says."""
        async with runner.start.links() as links:
            return await self._said(links)

    async def _said(self, links: Links) -> str:
        try:
            verdict = await called(self.invariant, links)
        except AssertionError as error:
            return f"the invariant does not hold: {str(error) or 'an assertion failed'}"
        except Exception as error:  # noqa: BLE001 - an end that a check cannot read is no good end
            return complaint("the invariant", error)
        return "the invariant does not hold" if verdict is False else ""


@dataclass(slots=True)
class SerialJudge:
    """What some serial order leaves behind is right; everything else is wrong.

    Attributes:
        leave_out: tables, columns (``orders.created_at``) and keys (``redis lock:*``) that do not
            matter.
    """

    leave_out: Collection[str] = ()
    _serial: dict[frozenset[str], list[tuple[tuple[str, ...], Outcome]]] = field(
        default_factory=dict
    )
    _aged: dict[tuple[str, ...], list[Outcome]] = field(default_factory=dict)
    _right: list[Outcome] = field(default_factory=list)
    _right_in_time: list[Outcome] = field(default_factory=list)
    _plans: Sequence[TablePlan] | None = None

    async def objection(self, runner: Runner, ended: Ended) -> str:
        """That no serial order of those who did not raise ends like this."""
        found = await self._outcome(runner, ended)
        present = _present(ended)
        if await self._is_right(runner, found, present):
            return ""
        if ended.ran_out and await self._is_right_in_time(runner, found, ended):
            return ""
        return self._told(found, present)

    async def _is_right(self, runner: Runner, found: Outcome, present: frozenset[str]) -> bool:
        """Whether a serial order ends like this at once."""
        if any(_same(found, seen) for seen in self._right):
            return True
        serial = await self._serial_outcomes(runner, present)
        if not any(_same(found, outcome) for _, outcome in serial):
            return False
        self._right.append(found)
        return True

    async def _is_right_in_time(self, runner: Runner, found: Outcome, ended: Ended) -> bool:
        """Whether a serial order may end like this as time passes."""
        if any(_same(found, seen) for seen in self._right_in_time):
            return True
        present, gone = _present(ended), ended.ran_out - set(found.keys)
        for order in serial_orders(sorted(present)):
            outcomes = await self._aged_outcomes(runner, order)
            if any(_same(found, _without(outcome, gone)) for outcome in outcomes):
                self._right_in_time.append(found)
                return True
        return False

    async def _aged_outcomes(self, runner: Runner, order: tuple[str, ...]) -> Sequence[Outcome]:
        """What one order leaves behind, with time-outs that fire at any moment and with none."""
        if order not in self._aged:
            present, outcomes = frozenset(order), list[Outcome]()
            async for ended in _ends_of(order, runner, present, ages=True):
                if _present(ended) == present:
                    found = await self._outcome(runner, ended)
                    if not any(_same(found, known) for known in outcomes):
                        outcomes.append(found)
            self._aged[order] = outcomes
        return self._aged[order]

    async def _serial_outcomes(
        self, runner: Runner, present: frozenset[str]
    ) -> list[tuple[tuple[str, ...], Outcome]]:
        """What each order leaves behind in which all of them, and nobody else, do their work."""
        if present not in self._serial:
            # Not kept before it is whole: a run may show that the search has to begin again.
            self._serial[present] = [
                (order, await self._outcome(runner, ended))
                for order in serial_orders(sorted(present))
                async for ended in _ends_of(order, runner, present)
                if _present(ended) == present
            ]
        return self._serial[present]

    async def _outcome(self, runner: Runner, ended: Ended) -> Outcome:
        keys = [one.removeprefix(_KEYS_PREFIX) for one in self.leave_out if _is_key(one)]
        connection = await runner.start.looking()
        return Outcome(
            await read_tables(connection, await self._tables(runner.start)),
            await read_keys(runner.start.keys, keys),
            {name: ended.results[name] for name in _present(ended)},
        )

    async def _tables(self, start: Start) -> Sequence[TablePlan]:
        """How to read each table; as at the start, where it is certain that no run changed that."""
        tables = [one for one in self.leave_out if not _is_key(one)]
        connection = await start.looking()
        if not await start.has_kept_shape():
            return await plan_tables(connection, tables)
        if self._plans is None:
            self._plans = await plan_tables(connection, tables)
        return self._plans

    def _told(self, found: Outcome, present: frozenset[str]) -> str:
        serial = self._serial[present]
        if not serial:
            return f"no serial order of {_listed(present)} ends without an exception"
        differences = (
            f"{', then '.join(order)} would have left {_difference(found, outcome)}"
            for order, outcome in serial
        )
        return f"no serial order ends like this: {'; '.join(differences)}"


async def _ends_of(
    order: Sequence[str], runner: Runner, present: frozenset[str], *, ages: bool = False
) -> AsyncIterator[Ended]:
    """How it may end when the workers go one after another; mostly in one way.

    Raises:
        StageError: there are too many ways, or one cannot be judged.
    """
    scheduler = SerialScheduler(order, ages=ages)
    count, most = 0, _MOST_AGED_ENDS if ages else _MOST_ENDS
    while scheduler.start():
        count += 1
        if count > most:
            raise StageError(f"{', then '.join(order)} may end in more than {most:,} ways")
        ended = await runner.run(scheduler, only=present)
        if not ended.is_given_up:
            yield ended


def _present(ended: Ended) -> frozenset[str]:
    """Those who did not raise: whoever did counts as absent."""
    return frozenset(
        name for name, result in ended.results.items() if not isinstance(result, BaseException)
    )


def _without(outcome: Outcome, keys: frozenset[str]) -> Outcome:
    """The outcome after the time-outs of these keys have fired, as far as they have any."""
    left = {
        name: value
        for name, value in outcome.keys.items()
        if name not in keys or not _will_expire(value)
    }
    return replace(outcome, keys=left)


def _will_expire(value: object) -> bool:
    """Of what `read_keys` found."""
    return isinstance(value, tuple) and bool(value[1])


def _is_key(name: str) -> bool:
    return name.startswith(_KEYS_PREFIX)


def _same(one: Outcome, other: Outcome) -> bool:
    return same_up_to_names(one, other) or same_up_to_names(
        with_results_as_tables(one), with_results_as_tables(other)
    )


def _difference(found: Outcome, serial: Outcome) -> str:
    """The first thing that a serial order leaves otherwise, in a few words."""
    for name in sorted({*found.tables, *serial.tables}):
        ours, theirs = found.tables.get(name), serial.tables.get(name)
        if ours is None or theirs is None:
            return f"{'no' if theirs is None else 'a'} table {name}"
        if _plain(ours) != _plain(theirs):
            return f"{_rows(_plain(theirs))} in {name} instead of {_rows(_plain(ours))}"
    for name in sorted({*found.keys, *serial.keys}):
        if found.keys.get(name) != serial.keys.get(name):
            return f"{serial.keys.get(name)} in key {name} instead of {found.keys.get(name)}"
    for name in sorted(serial.results):
        if found.results.get(name) != serial.results[name]:
            return f"{name} with {serial.results[name]!r} instead of {found.results.get(name)!r}"
    return "generated values that belong together in another way"


def _plain(table: Table) -> list[tuple[str, ...]]:
    """The rows in one order, without the values that are generated."""
    return sorted(
        tuple(
            "…" if column in table.generated else str(value)
            for column, value in zip(table.columns, row, strict=True)
        )
        for row in table.rows
    )


def _rows(rows: Sequence[tuple[object, ...]], most: int = 5) -> str:
    shown = [f"({', '.join(map(str, row))})" for row in rows[:most]]
    more = f" and {len(rows) - most} more" if len(rows) > most else ""
    return f"{', '.join(shown) or 'nothing'}{more}"


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "nobody"
