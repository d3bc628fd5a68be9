"""A run's story: its steps as they are reported, and who has held what since when."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from contention.model.footprints import Footprint, Mode, Resource
from contention.model.steps import Blocker, Link, Step
from contention.wire.actors import result_of, text_of
from contention.wire.gate import Lane, Reply, Request
from contention.wire.postgres import PostgresFraming
from contention.wire.postgres_requests import PostgresReply

_TABLE: Final = "table "
_KEPT_TEXTS: Final = 256
"""Every run of a search asks the same."""
_TAKES_ADVISORY: Final = re.compile(r"\bpg_(?:try_)?advisory_(?:xact_)?lock", re.IGNORECASE)
_ADVISORY: Final = "advisory lock"


@dataclass(frozen=True, slots=True)
class _Holding:
    """What a step of a transaction that is still open has come to hold, or may have."""

    number: int
    text: str
    touches: frozenset[tuple[Resource, Mode]]


class Story:
    """Records the steps of one run."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._holdings: dict[str, list[_Holding]] = {}
        self._blocked: dict[str, Step] = {}
        self._prepared: dict[str, Step] = {}
        self._writers: dict[str, Step] = {}

    def answered(
        self, lane: Lane, request: Request, reply: Reply, footprint: Footprint, source: str = ""
    ) -> Step:
        """A request was answered, at once or after it had been blocked."""
        text = text_of(request)
        prepared = self._prepared.pop(lane.name, None)
        waited = self._blocked.pop(lane.name, prepared)
        step = self._add(
            lane,
            text,
            result_of(reply),
            source=source,
            answers=waited.number if waited else None,
            touches=_names(footprint, text),
        )
        self._hold(lane, step, reply, footprint)
        for resource, mode in footprint.touches:
            if mode is not Mode.READ:
                self._writers[resource.name] = step
        return step

    def blocked(
        self,
        lane: Lane,
        request: Request,
        blocked_by: tuple[Blocker, ...],
        footprint: Footprint,
        source: str = "",
    ) -> Step:
        """A request waits for others."""
        text = text_of(request)
        step = self._add(
            lane,
            text,
            "blocked",
            source=source,
            blocked_by=blocked_by,
            touches=_names(footprint, text),
        )
        self._blocked[lane.name] = step
        return step

    def ran_out(self, name: str, seconds: float, gone: tuple[str, ...]) -> Step:
        """The time-out of a key fired, and those that were due before it."""
        text = f"the time-out of {name} fires: {seconds:g} s pass"
        result = f"gone: {', '.join(gone)}"
        step = Step(len(self.steps) + 1, name, "", Link.CLOCK, text, result, touches=gone)
        self.steps.append(step)
        return step

    def limit_fired(self, worker: str, text: str) -> Step:
        """A time limit ended a wait."""
        number = len(self.steps) + 1
        self.steps.append(Step(number, worker, "", Link.CLOCK, text, "its wait ends"))
        return self.steps[-1]

    def prepared(self, lane: Lane) -> None:
        """What a lane waited in was answered, and the step that it prepares is still to come."""
        if lane.name in self._blocked:
            self._prepared[lane.name] = self._blocked.pop(lane.name)

    def waits(self, lane: Lane) -> Step | None:
        """The step with which a lane came to wait; `None` when it does not."""
        return self._blocked.get(lane.name)

    def last_writer(self, footprint: Footprint) -> Step | None:
        """The latest step that wrote any of these resources; `None` without one."""
        steps = [self._writers.get(resource.name) for resource, _ in footprint.touches]
        return max((step for step in steps if step), key=lambda one: one.number, default=None)

    def blockers_of(self, lane: Lane) -> tuple[Blocker, ...]:
        """Whom a lane waits for, or waited for when it was last blocked."""
        blocked = [step for step in self.steps if step.lane == lane.name and step.is_blocked]
        return blocked[-1].blocked_by if blocked else ()

    def since(self, lane: Lane, what: str, table: str, wanted: Footprint) -> int | None:
        """The step with which a lane came to hold what another waits for; `None` in doubt.

        Args:
            lane: the holder's.
            what: it holds, for people.
            table: whose row, key or lock that is; empty when it is no table's.
            wanted: what the waiter touches.
        """
        if what.startswith(_ADVISORY):
            return self._since_advisory(lane, re.findall(r"-?\d+", what))
        holdings = self._holdings.get(lane.name, [])
        if what == f"table {table}":
            return next((one.number for one in holdings if _mentions(one, table)), None)
        rows = {resource for resource, _ in wanted.touches if resource.unique_key}
        changed = [one for one in holdings if _changes(one, table)]
        exact = [one.number for one in changed if _has_row(one, table, rows)]
        return exact[0] if exact else _only(one.number for one in changed)

    def _since_advisory(self, lane: Lane, keys: list[str]) -> int | None:
        taking = [
            step
            for step in self.steps
            if step.lane == lane.name and not step.is_blocked and _TAKES_ADVISORY.search(step.text)
        ]
        naming = [step for step in taking if set(keys) <= set(re.findall(r"-?\d+", step.text))]
        return _only(step.number for step in naming or taking)

    def _hold(self, lane: Lane, step: Step, reply: Reply, footprint: Footprint) -> None:
        if not isinstance(reply, PostgresReply):
            return
        # A part of a request tells of no status: what it has done goes on.
        if reply.transaction_status not in {"T", None} or reply.error is not None:
            self._holdings.pop(lane.name, None)
            return
        held = self._holdings.setdefault(lane.name, [])
        before = {touch for one in held for touch in one.touches}
        held.append(_Holding(step.number, step.text, frozenset(footprint.touches) - before))

    def _add(
        self,
        lane: Lane,
        text: str,
        result: str,
        *,
        source: str = "",
        blocked_by: tuple[Blocker, ...] = (),
        answers: int | None = None,
        touches: tuple[str, ...] = (),
    ) -> Step:
        link = Link.POSTGRES if isinstance(lane.framing, PostgresFraming) else Link.REDIS
        number = len(self.steps) + 1
        self.steps.append(
            Step(
                number,
                lane.worker,
                lane.name,
                link,
                text,
                result,
                source,
                blocked_by,
                answers,
                touches,
            )
        )
        return self.steps[-1]


def _only(numbers: Iterable[int]) -> int | None:
    found = list(numbers)
    return found[0] if len(found) == 1 else None


def _mentions(one: _Holding, table: str) -> bool:
    return any(resource.name == _TABLE + table for resource, _ in one.touches) or _says(
        one.text, table
    )


def _changes(one: _Holding, table: str) -> bool:
    """Whether a step may have locked or changed something of a table."""
    is_new = any(
        resource.name == _TABLE + table and mode is not Mode.READ for resource, mode in one.touches
    )
    return is_new or (_says(one.text, table) and not _only_reads(one.text))


def _has_row(one: _Holding, table: str, rows: set[Resource]) -> bool:
    return any(
        resource.name == _TABLE + table and resource.unique_key and mode is not Mode.READ
        for resource, mode in one.touches
        if any(resource.unique_key and resource.overlaps(row) for row in rows)
    )


def _only_reads(text: str) -> bool:
    return bool(re.match(r"\s*select\b", text, re.IGNORECASE)) and not re.search(
        r"\bfor\s+(?:no\s+key\s+)?(?:update|share|key\s+share)\b", text, re.IGNORECASE
    )


@lru_cache(maxsize=_KEPT_TEXTS)
def _says(text: str, table: str) -> bool:
    """Whether a table's own name, without its schema, is a word of a statement."""
    name = table.rpartition(".")[2].strip('"')
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) is not None


def _names(footprint: Footprint, text: str) -> tuple[str, ...]:
    """The tables and keys among what was touched that the request itself names, for people."""
    names = {resource.name for resource, _ in footprint.touches}
    tables = sorted(
        name.removeprefix(_TABLE)
        for name in names
        if name.startswith(_TABLE) and _says(text, name.removeprefix(_TABLE))
    )
    keys = sorted(
        name.removeprefix("redis key ") for name in names if name.startswith("redis key ")
    )
    return (*tables, *keys)
