"""A small database and key store, as a stage shows real ones: requests that wait, commits that
let others on, polls that are parked, leases that run out, deadlocks with a victim.

Rows belong to one table, ``t``; what is not committed is seen by nobody else. Each worker is a list
of requests; the first one that touches rows begins a transaction.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from contention.model.footprints import NOTHING, UNKNOWN, Footprint, Mode
from contention.model.schedules import EXPIRE
from contention.model.steps import Effect

from .requests import (
    Add,
    AddAll,
    AddAlone,
    AddInTime,
    Commit,
    Get,
    GiveBack,
    Lock,
    Programs,
    Put,
    Read,
    ReadAll,
    Request,
    Rollback,
    Snapshot,
    Take,
    TryLock,
    Write,
    WriteSum,
)
from .worker import COMMITS, TABLE, Worker, key, row, touch

ROWS: Final = (1, 2, 3)
_ASKING: Final = (Mode.ACQUIRE, Mode.ASK)


@dataclass(slots=True)
class Database:
    """Everything there is, and one step after another.

    Attributes:
        committed: by row, its value and how often it was committed.
        queues: by row, its holder and then who waits, in the order of asking.
        keys: the values of keys, owners of taken ones.
        leases: taken keys whose time-out has not fired.
    """

    workers: dict[str, Worker]
    committed: dict[int, tuple[int, int]] = field(
        default_factory=lambda: dict.fromkeys(ROWS, (0, 0))
    )
    queues: dict[int, list[str]] = field(default_factory=lambda: {number: [] for number in ROWS})
    keys: dict[str, object] = field(default_factory=dict)
    leases: set[str] = field(default_factory=set)
    touches: Footprint = NOTHING
    moved: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, programs: Programs) -> "Database":
        return cls({f"w{number}": Worker(requests) for number, requests in enumerate(programs, 1)})

    def copy(self) -> "Database":
        return replace(
            self,
            workers={name: worker.copy() for name, worker in self.workers.items()},
            committed=dict(self.committed),
            queues={number: list(queue) for number, queue in self.queues.items()},
            keys=dict(self.keys),
            leases=set(self.leases),
        )

    def options(self) -> list[str]:
        """Who can go on: parked workers only when nobody else can."""
        asking = {
            name: worker
            for name, worker in self.workers.items()
            if not worker.has_ended and not worker.wants
        }
        free = [name for name, worker in asking.items() if not worker.is_parked]
        limited = [
            f"{EXPIRE}{name}"
            for name, worker in self.workers.items()
            if worker.wants and isinstance(worker.request, AddInTime)
        ]
        return (free or list(asking)) + limited + [f"age {name}" for name in sorted(self.leases)]

    def step(self, name: str) -> Effect:
        self.touches, self.moved = NOTHING, set()
        if name.startswith("age "):
            self._age(name.removeprefix("age "))
            is_blocked = False
        elif name.startswith(EXPIRE):
            self._expire(name.removeprefix(EXPIRE))
            is_blocked = False
        else:
            self._ask(name, self.workers[name])
            is_blocked = bool(self.workers[name].wants)
        self._unpark(name)
        return Effect(self.touches, frozenset(self.moved), is_blocked=is_blocked)

    def outcome(self) -> object:
        return (
            tuple((number, value) for number, (value, _) in self.committed.items()),
            tuple(sorted(self.keys.items(), key=str)),
            tuple((tuple(w.seen), w.has_ended) for w in self.workers.values()),
        )

    def state(self) -> object:
        """All that the future depends on."""
        return (
            self.outcome(),
            tuple(self.committed.items()),
            tuple((number, tuple(queue)) for number, queue in self.queues.items()),
            frozenset(self.leases),
            tuple(
                (w.position, w.last, w.sum, w.is_parked, tuple(w.wants))
                for w in self.workers.values()
            ),
            tuple(
                (tuple(sorted(w.staged.items())), tuple((w.snapshot or {}).items()))
                for w in self.workers.values()
            ),
        )

    # --- requests --------------------------------------------------------------------------------

    def _ask(self, name: str, worker: Worker) -> None:
        match worker.request:
            case Read(number):
                self._tell(worker, self._visible(worker)[number])
                self._touch(worker, touch(Mode.READ, row(number)))
            case ReadAll():
                self._tell(worker, sum(self._visible(worker).values()))
                self._touch(worker, touch(Mode.READ, TABLE))
            case Lock(number, by) | Add(number, by):
                self._own(name, worker, number, by)
            case AddInTime(number):
                self._own(name, worker, number, asking=Mode.ASK)
            case Write(number):
                self._own(name, worker, number)
            case TryLock(number):
                self._try_lock(name, worker, number)
            case Commit():
                self._publish(worker)
                self._end(name)
            case Rollback():
                self._end(name)
            case AddAll() | WriteSum() | AddAlone() | Snapshot():
                self._ask_for_less_known(name, worker)
            case other:
                self._ask_keys(name, worker, other)

    def _ask_for_less_known(self, name: str, worker: Worker) -> None:
        match worker.request:
            case AddAll():
                self._touch(worker, touch(Mode.STAGE, TABLE).joined([touch(Mode.READ, TABLE)]))
                self._lock(name, list(ROWS))
            case WriteSum(number):
                worker.sum = sum(self._visible(worker).values())
                self._touch(worker, touch(Mode.STAGE, row(number)))
                self._touch(worker, touch(Mode.READ, TABLE))
                self._lock(name, [number])
            case AddAlone(number):
                self._touch(worker, UNKNOWN)
                self._lock(name, [number])
            case Snapshot():
                worker.snapshot = dict(self.committed)
                self._touch(worker, touch(Mode.READ, COMMITS))
                worker.position += 1

    def _ask_keys(self, name: str, worker: Worker, request: Request) -> None:
        match request:
            case Get(of):
                value = self.keys.get(of, 0)
                self._tell(worker, value if isinstance(value, int) else 0)
                self._touches(touch(Mode.READ, key(of)))
            case Put(of):
                self.keys[of] = worker.last + 1
                self._touches(touch(Mode.WRITE, key(of)))
            case Take(of, is_lease):
                self._take(name, worker, of, is_lease=is_lease)
                return
            case GiveBack(of):
                is_own = self.keys.get(of) == name
                if is_own:
                    del self.keys[of]
                    self.leases.discard(of)
                self._touches(touch(Mode.WRITE if is_own else Mode.READ, key(of)))
        worker.position += not isinstance(request, Read | ReadAll)

    def _take(self, name: str, worker: Worker, of: str, *, is_lease: bool) -> None:
        if of not in self.keys:
            self.keys[of] = name
            if is_lease:
                self.leases.add(of)
            self._touches(touch(Mode.WRITE, key(of)))
        elif worker.is_parked:
            worker.seen.append("gave up")
            self._touches(touch(Mode.READ, key(of)))
        else:
            worker.is_parked = True
            self._touches(touch(Mode.READ, key(of)))
            return
        worker.is_parked = False
        worker.position += 1

    def _age(self, of: str) -> None:
        del self.keys[of]
        self.leases.discard(of)
        self._touches(touch(Mode.WRITE, key(of)))

    def _unpark(self, actor: str) -> None:
        for name, worker in self.workers.items():
            if worker.is_parked and name != actor:
                request = worker.request
                assert isinstance(request, Take)
                asked = touch(Mode.READ, key(request.key))
                worker.is_parked = not asked.conflicts_with(self.touches)

    def _try_lock(self, name: str, worker: Worker, number: int) -> None:
        self._touch(worker, touch(Mode.WRITE, row(number)))
        if self.queues[number][:1] not in ([], [name]):
            worker.seen.append("refused")
            self._end(name)
        else:
            self._lock(name, [number])

    def _publish(self, worker: Worker) -> None:
        self._touches(touch(Mode.RELEASE, COMMITS))
        for number, value in worker.staged.items():
            self.committed[number] = (value, self.committed[number][1] + 1)

    # --- locks -----------------------------------------------------------------------------------

    def _own(
        self,
        name: str,
        worker: Worker,
        number: int,
        by: str = "t_pkey",
        asking: Mode = Mode.ACQUIRE,
    ) -> None:
        if worker.snapshot is not None:
            mode = Mode.STAGE
        else:
            mode = Mode.HELD if name in self.queues[number][:1] else asking
        self._touch(worker, touch(mode, row(number, by)))
        self._lock(name, [number])

    def _lock(self, name: str, numbers: list[int]) -> None:
        self.workers[name].wants = numbers
        for number in numbers[:1]:
            if name not in self.queues[number]:
                self.queues[number].append(name)
        self._go_on(name)

    def _go_on(self, name: str) -> None:
        """Have the locks that are free; wait for the next, or be answered."""
        worker = self.workers[name]
        while worker.wants:
            queue = self.queues[worker.wants[0]]
            if name not in queue:
                queue.append(name)
            if queue[0] != name:
                if self._waits_for(name, name):
                    self._abort(name)
                return
            number = worker.wants.pop(0)
            if worker.snapshot is not None and worker.snapshot[number] != self.committed[number]:
                worker.seen.append("changed meanwhile")
                self._end(name)
                return
            self._have(worker, number)
        if isinstance(worker.request, AddAlone):
            self._publish(worker)
            self._end(name)
        else:
            worker.position += 1

    def _have(self, worker: Worker, number: int) -> None:
        newest = worker.staged.get(number, self.committed[number][0])
        match worker.request:
            case Lock() | TryLock():
                worker.last = newest
                worker.seen.append(newest)
            case Write():
                worker.staged[number] = worker.last + 1
            case Add() | AddInTime() | AddAll() | AddAlone():
                worker.staged[number] = newest + 1
            case WriteSum():
                worker.staged[number] = worker.sum + 1

    def _waits_for(self, name: str, sought: str) -> bool:
        worker = self.workers[name]
        if not worker.wants:
            return False
        queue = self.queues[worker.wants[0]]
        before = queue[: queue.index(name)]
        return sought in before or any(self._waits_for(other, sought) for other in before)

    def _abort(self, name: str) -> None:
        """The server chose a victim, who ends: it depends on who waits for whom."""
        worker = self.workers[name]
        self.queues[worker.wants[0]].remove(name)
        worker.wants = []
        worker.seen.append("deadlock")
        self._touches(UNKNOWN)
        self._end(name)
        worker.position = len(worker.requests)
        self.moved.add(name)

    def _expire(self, name: str) -> None:
        """A limit of time ends a wait, and the transaction."""
        worker = self.workers[name]
        number = worker.wants[0]
        self.queues[number].remove(name)
        worker.seen.append("timed out")
        given_up = [
            (resource, Mode.READ if mode is Mode.READ else Mode.WRITE)
            for resource, mode in worker.touched.touches
            if (resource, mode) != (row(number), Mode.ASK)
        ]
        let_go = Footprint(tuple(given_up), worker.touched.is_known)
        worker.touched = NOTHING
        self._touches(touch(Mode.ASK, row(number)).joined([let_go]))
        self._end(name)
        self._let_on(number)

    def _end(self, name: str) -> None:
        """The transaction's end lets on whoever is next in its queues."""
        worker = self.workers[name]
        worker.position += 1
        self._touches(worker.touched.released())
        worker.touched, worker.staged, worker.snapshot, worker.wants = NOTHING, {}, None, []
        held = [number for number, queue in self.queues.items() if queue[:1] == [name]]
        for number in held:
            self.queues[number].pop(0)
        for number in held:
            self._let_on(number)

    def _let_on(self, number: int) -> None:
        queue = self.queues[number]
        worker = self.workers[queue[0]] if queue else None
        if worker is None or worker.wants[:1] != [number]:
            return
        name = queue[0]
        for resource, mode in worker.touched.touches:
            # What it has waited for it holds by now.
            self._touches(touch(Mode.HELD if mode in _ASKING else mode, resource))
        self._touches(NOTHING if worker.touched.is_known else UNKNOWN)
        self._go_on(name)
        if not worker.wants:
            self.moved.add(name)

    # --- what is told ----------------------------------------------------------------------------

    def _tell(self, worker: Worker, value: int) -> None:
        worker.last = value
        worker.seen.append(value)
        worker.position += isinstance(worker.request, Read | ReadAll)

    def _visible(self, worker: Worker) -> dict[int, int]:
        seen = self.committed if worker.snapshot is None else worker.snapshot
        return {number: value for number, (value, _) in seen.items()} | worker.staged

    def _touch(self, worker: Worker, footprint: Footprint) -> None:
        worker.touched = worker.touched.joined([footprint])
        self._touches(footprint)

    def _touches(self, footprint: Footprint) -> None:
        self.touches = self.touches.joined([footprint])
