"""Races against the key: writers of their own connections, the order forced by asking the server.

No writer takes a lock or reads first: what is seen is what the key does alone.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

COVER_MINOR = 10_000
PATIENCE_SECONDS = 10.0
READ_COMMITTED = "BEGIN ISOLATION LEVEL READ COMMITTED"
# The first query of a transaction takes its snapshot, so it belongs to beginning.
REPEATABLE_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1"
NOBODY = 10**12
COMMIT = "COMMIT"
ROLLBACK = "ROLLBACK"


@dataclass(frozen=True, slots=True)
class Step:
    """What one writer does next."""

    writer: str
    sql: str


@dataclass(frozen=True, slots=True)
class Race:
    """Steps in a forced order; a step is over when the server has answered or says it waits."""

    title: str
    steps: tuple[Step, ...]
    base: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a race left behind.

    `paid_percent` is the largest share of a cover that one policy pays; `answers` holds a writer's
    SQLSTATE, or 00000 when it committed. An orphan is a claim without its policy or its event.
    """

    answers: Mapping[str, str]
    paid_percent: int
    is_contiguous: bool
    orphans: int

    @property
    def is_sound(self) -> bool:
        """Whether layers are contiguous from 0, within the cover, and without orphans."""
        return self.is_contiguous and self.paid_percent <= 100 and not self.orphans

    def __str__(self) -> str:
        refused = "+".join(sorted({code for code in self.answers.values() if code != "00000"}))
        if self.is_sound:
            return refused or "accepted"
        return f"BROKEN {self.paid_percent} %"


def layers(*rows: tuple[int, str, int, int, str], event: int = 1) -> str:
    """Return one INSERT of (policy, period, attachment, exhaustion, tier) rows, in that order."""
    values = ", ".join(
        f"({policy}, '{period}', {event}, {low}, {high}, '', gen_random_uuid(), '{tier}', 0, '1')"
        for policy, period, low, high, tier in rows
    )
    return (
        "INSERT INTO claims (policy_id, period_key, event_id, attachment_minor, exhaustion_minor,"
        f" terms_sha256, calculation_id, tier_level, payout_percentage, engine_version)"
        f" VALUES {values}"
    )


def set_status(status: str, period: str, low: int) -> str:
    """Return the status change of policy 1's layer that attaches at `low`."""
    return (
        f"UPDATE claims SET status = '{status}'"
        f" WHERE policy_id = 1 AND period_key = '{period}' AND attachment_minor = {low}"
    )


def both(begin: str, first: str, second: str) -> tuple[Step, ...]:
    """Return the steps in which the second writer writes before the first commits."""
    return (
        Step("one", begin),
        Step("two", begin),
        Step("one", first),
        Step("two", second),
        Step("one", COMMIT),
        Step("two", COMMIT),
    )


def alone(*statements: str) -> tuple[Step, ...]:
    """Return the steps of one writer that commits each statement by itself."""
    return tuple(Step("one", sql) for sql in statements)


_TIER1 = layers((1, "d1", 0, 2_000, "tier1"))
_TIER2 = layers((1, "d1", 0, 5_000, "tier2"))
_TOP_UP = layers((1, "d1", 2_000, 5_000, "tier2"))
_FULL_TOP_UP = layers((1, "d1", 2_000, 10_000, "tier3"))
_DAY1 = layers((1, "d1", 0, 10_000, "tier3"))
_DAY2 = layers((1, "d2", 0, 10_000, "tier3"))


def _one_of(policy: int) -> str:
    return layers((policy, "d1", 0, 2_000, "tier1"))


def _all_of(*policies: int) -> str:
    return layers(*((policy, "d1", 0, 2_000, "tier1") for policy in policies))


_OPPOSITE_STATEMENTS = (
    Step("one", READ_COMMITTED),
    Step("two", READ_COMMITTED),
    Step("one", _one_of(1)),
    Step("two", _one_of(2)),
    Step("one", _one_of(2)),
    Step("two", _one_of(1)),
    Step("one", COMMIT),
    Step("two", COMMIT),
)
# A third writer holds policy 3 back, so that both statements stop between their other two rows.
_OPPOSITE_ROWS = (
    Step("holder", READ_COMMITTED),
    Step("holder", _one_of(3)),
    Step("one", _all_of(1, 3, 2)),
    Step("two", _all_of(2, 3, 1)),
    Step("holder", ROLLBACK),
)

RACES = (
    Race("same layer twice", both(READ_COMMITTED, _TIER1, _TIER1)),
    Race("overlap, READ COMMITTED", both(READ_COMMITTED, _TIER1, _TIER2)),
    Race("overlap, REPEATABLE READ", both(REPEATABLE_READ, _TIER1, _TIER2)),
    Race("two top-ups of one layer", both(READ_COMMITTED, _TOP_UP, _FULL_TOP_UP), _TIER1),
    Race("a gap", alone(_TOP_UP)),
    Race(
        "overlap and gap of equal width",
        alone(
            layers(
                (1, "d1", 0, 3_000, "tier1"),
                (1, "d1", 2_000, 4_000, "tier2"),
                (1, "d1", 5_000, 6_000, "tier3"),
            )
        ),
    ),
    Race(
        "valid layers, upper row first",
        alone(layers((1, "d1", 2_000, 5_000, "tier2"), (1, "d1", 0, 2_000, "tier1"))),
    ),
    Race(
        "top-up while the base is voided",
        both(READ_COMMITTED, set_status("void", "d1", 0), _TOP_UP),
        _TIER1,
    ),
    Race("void below a live layer", alone(set_status("void", "d1", 0)), f"{_TIER1}; {_TOP_UP}"),
    Race("two periods, READ COMMITTED", both(READ_COMMITTED, _DAY1, _DAY2)),
    Race("two periods, REPEATABLE READ", both(REPEATABLE_READ, _DAY1, _DAY2)),
    Race(
        "void, pay again, un-void",
        alone(set_status("void", "d1", 0), _TIER2, set_status("calculated", "d1", 0)),
        _TIER1,
    ),
    Race(
        "un-void beside another period",
        alone(set_status("void", "d1", 0), _DAY2, set_status("calculated", "d1", 0)),
        _DAY1,
    ),
    Race("no such policy", alone(layers((NOBODY, "d1", 0, 2_000, "tier1")))),
    Race("no such event", alone(layers((1, "d1", 0, 2_000, "tier1"), event=NOBODY))),
    Race("opposite order, two statements", _OPPOSITE_STATEMENTS),
    Race("opposite order, rows of one statement", _OPPOSITE_ROWS),
)


class Stage:
    """Runs races for one schema over connections that stay open."""

    def __init__(
        self, observer: asyncpg.Connection, writers: Mapping[str, asyncpg.Connection]
    ) -> None:
        self._observer = observer
        self._writers = writers
        self._pending: dict[str, asyncio.Task[str]] = {}

    async def run(self, race: Race) -> Verdict:
        """Run a race on empty claims and judge what is left."""
        if race.base:
            await self._observer.execute(race.base)
        answers: dict[str, str] = {}
        for step in race.steps:
            await self._settle(step.writer, answers)
            if answers.get(step.writer, "00000") == "00000" or step.sql == ROLLBACK:
                self._pending[step.writer] = asyncio.create_task(
                    _answer(self._writers[step.writer], step.sql)
                )
                await self._until_answered_or_blocked(step.writer)
        for writer in list(self._pending):
            await self._settle(writer, answers)
        return await self._judge(answers)

    async def _settle(self, writer: str, answers: dict[str, str]) -> None:
        task = self._pending.pop(writer, None)
        if task is not None:
            answers[writer] = await asyncio.wait_for(task, PATIENCE_SECONDS)
            if self._writers[writer].is_in_transaction() and answers[writer] != "00000":
                await self._writers[writer].execute("ROLLBACK")

    async def _until_answered_or_blocked(self, writer: str) -> None:
        pid = self._writers[writer].get_server_pid()
        query = "SELECT cardinality(pg_blocking_pids($1)) > 0"
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not self._pending[writer].done():
                if await self._observer.fetchval(query, pid):
                    return

    async def _judge(self, answers: Mapping[str, str]) -> Verdict:
        rows = await self._observer.fetch(
            "SELECT policy_id, period_key, attachment_minor AS low, exhaustion_minor AS high"
            " FROM claims WHERE status <> 'void' ORDER BY 1, 2, 3, 4"
        )
        reached: dict[tuple[int, str], int] = {}
        paid: dict[int, int] = {}
        is_contiguous = True
        for policy, period, low, high in rows:
            is_contiguous &= reached.get((policy, period), 0) == low
            reached[policy, period] = high
            paid[policy] = paid.get(policy, 0) + high - low
        orphans = await self._observer.fetchval(
            "SELECT count(*) FROM claims WHERE policy_id NOT IN (SELECT id FROM policies)"
            " OR event_id NOT IN (SELECT id FROM risk_events)"
        )
        return Verdict(
            answers, 100 * max(paid.values(), default=0) // COVER_MINOR, is_contiguous, orphans
        )


async def _answer(connection: asyncpg.Connection, sql: str) -> str:
    try:
        await connection.execute(sql)
    except asyncpg.PostgresError as error:
        return str(error.sqlstate)
    return "00000"


def is_always_sound(verdicts: Sequence[Verdict]) -> bool:
    """Return whether no race left a wrong payment behind."""
    return all(verdict.is_sound for verdict in verdicts)
