"""Redis keys with a time-out: their time stands still, and passes only as a step."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from redis.asyncio import Redis

from contention.model.footprints import NOTHING, Footprint, Mode, Resource
from contention.model.schedules import AGE

END: Final = "end"
"""The option by which a run is over, although time-outs could still fire."""
MOST_AGEINGS: Final = 32
"""So many in one run; a program that acquires again for ever would never end."""

_DEADLINES: Final = Resource("redis deadlines")
_KEY: Final = "redis key "
_SHORTEST_MS: Final = 1000
_REAL_TIME_SHARE: Final = 4
_GONE_WITHIN_SECONDS: Final = 5.0
_GRAINS: Final = ((1000, 50), (10_000, 100), (float("inf"), 1000))

_LOOK: Final = """
    local found = {}
    for _, database in ipairs(ARGV) do
        redis.call('SELECT', database)
        for _, key in ipairs(redis.call('KEYS', '*')) do
            local at = redis.call('PEXPIRETIME', key)
            if at >= 0 then found[#found + 1] = {database, key, at, redis.call('PTTL', key)} end
        end
    end
    return found
    """
_SET: Final = """
    local times = {}
    for place = 1, #ARGV, 3 do
        redis.call('SELECT', ARGV[place])
        redis.call('PEXPIRE', ARGV[place + 1], ARGV[place + 2])
        times[#times + 1] = redis.call('PEXPIRETIME', ARGV[place + 1])
    end
    return times
    """
_COUNT: Final = """
    local count = 0
    for place = 1, #ARGV, 2 do
        redis.call('SELECT', ARGV[place])
        count = count + redis.call('EXISTS', ARGV[place + 1])
    end
    return count
    """


class RanOutError(Exception):
    """A time-out fired by the real clock, which no schedule can repeat."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(tuple(names))

    def __str__(self) -> str:
        return (
            f"the time-out of {', '.join(self.args[0])} fired by the real clock in the middle of a "
            "step: give the key a longer one in the test"
        )


@dataclass(frozen=True, slots=True, order=True)
class _Key:
    database: int
    name: bytes

    @property
    def shown(self) -> str:
        place = f" in database {self.database}" if self.database else ""
        return self.name.decode("utf-8", "backslashreplace") + place

    @property
    def resource(self) -> Resource:
        return Resource(_KEY + self.shown)


@dataclass(frozen=True, slots=True)
class _Lease:
    """A time-out.

    Attributes:
        deadline: in milliseconds of the time that passes by steps alone, and a number that is
            higher for one that was set later: no time passes between two steps, yet the later one
            has the later deadline.
        expires_at_ms: on the server's own clock, as it was last seen or set.
        is_ours: whether the run has set it.
    """

    deadline: tuple[int, int]
    expires_at_ms: int
    is_ours: bool


@dataclass(frozen=True, slots=True)
class Moment:
    """How far the time is that passes by steps alone.

    Attributes:
        set_count: how many time-outs had been set by then.
    """

    now_ms: int
    set_count: int


@dataclass(frozen=True, slots=True)
class Aged:
    """Time that has passed on the server.

    Attributes:
        gone: the keys whose time-outs fired.
    """

    footprint: Footprint
    seconds: float
    gone: tuple[str, ...]


class Leases:
    """The keys with a time-out on one server, for one run.

    What is left of each is taken down when a step has set it, and is what it was when a later step
    begins, however long that takes on the wall. The server is kept from going ahead of that: a key
    that has less than a second left has a second there.

    Args:
        client: a connection of the kit's own.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._databases = {0}
        self._leases: dict[_Key, _Lease] = {}
        self._now_ms = 0
        self._set_count = 0
        self._seen_at = time.monotonic()
        self._ageings = 0

    @property
    def cut_reason(self) -> str:
        """What was left out, as a sentence; empty while nothing was."""
        if self._ageings < MOST_AGEINGS:
            return ""
        return f"more than {MOST_AGEINGS} time-outs that fire in one run"

    def options(self) -> list[str]:
        """The ageings that are possible now: one for each time-out that the run has set."""
        return sorted(self._ours()) if self._ageings < MOST_AGEINGS else []

    @property
    def moment(self) -> Moment:
        """Now."""
        return Moment(self._now_ms, self._set_count)

    def fires_within(self, moment: Moment, seconds: float) -> bool:
        """Whether a time-out that was set before a moment fires within so long after it."""
        return any(
            lease.deadline[1] <= moment.set_count
            and lease.deadline[0] - moment.now_ms <= seconds * 1000
            for lease in self._leases.values()
            if lease.is_ours
        )

    async def begin(self) -> None:
        """Take down the time-outs that there are at the start; they are nobody's choice."""
        self._take_down(await self._look())
        self._leases = {key: replace(lease, is_ours=False) for key, lease in self._leases.items()}

    async def hold_still(self) -> None:
        """Give every key what it had left, if so much time has passed that it matters.

        Raises:
            RanOutError: one is gone already.
        """
        passed_ms = (time.monotonic() - self._seen_at) * 1000
        shortest_ms = min((self._left_ms(key) for key in self._leases), default=None)
        if shortest_ms is not None and passed_ms * _REAL_TIME_SHARE > shortest_ms:
            await self._set({key: self._left_ms(key) for key in self._leases})

    async def note(self, footprint: Footprint, databases: Iterable[int] = ()) -> Footprint:
        """Look at the time-outs after a step; what else it touched by setting some.

        Args:
            footprint: what the step touched.
            databases: that its requests ran in.

        Raises:
            RanOutError: one has fired that the step did not touch.
        """
        self._databases.update(databases)
        if not _may_write_keys(footprint):
            return NOTHING
        found = await self._look()
        lost = [key for key in self._leases if key not in found and not _writes(footprint, key)]
        if lost:
            raise RanOutError(key.shown for key in lost)
        has_new = self._take_down(found)
        short = [key for key, (_, left_ms) in found.items() if left_ms < _SHORTEST_MS]
        if short:
            await self._set({key: self._left_ms(key) for key in short})
        return Footprint(((_DEADLINES, Mode.READ),)) if has_new else NOTHING

    async def age(self, option: str) -> Aged:
        """Let a key's time-out fire on the server, and with it every earlier one.

        All other time-outs come nearer by as much.

        Raises:
            KeyError: there is no such option.
            TimeoutError: the server does not remove the keys.
        """
        deadline = self._leases[self._ours()[option]].deadline
        gone = sorted(key for key, lease in self._leases.items() if lease.deadline <= deadline)
        passed_ms = max(0, deadline[0] - self._now_ms)
        self._now_ms += passed_ms
        self._ageings += 1
        stay = [key for key in self._leases if key not in gone]
        await self._set({**dict.fromkeys(gone, 1), **{key: self._left_ms(key) for key in stay}})
        await self._are_gone(gone)
        self._leases = {key: self._leases[key] for key in stay}
        touched = [(key.resource, Mode.WRITE) for key in (*gone, *stay)]
        names = tuple(key.shown for key in gone)
        # Had another time-out been set before, it would be nearer now, or have fired as well.
        footprint = Footprint((*touched, (_DEADLINES, Mode.WRITE)))
        return Aged(footprint, passed_ms / 1000, names)

    def _ours(self) -> dict[str, _Key]:
        return {AGE + key.shown: key for key, lease in self._leases.items() if lease.is_ours}

    def _left_ms(self, key: _Key) -> int:
        """What the server shall give a key."""
        return max(_SHORTEST_MS, self._leases[key].deadline[0] - self._now_ms)

    def _take_down(self, found: dict[_Key, tuple[int, int]]) -> bool:
        """Remember what was found; whether there is a new time-out among it."""
        before, self._leases = self._leases, {}
        has_new = False
        for key in sorted(found):
            expires_at_ms, left_ms = found[key]
            known = before.get(key)
            if known is None or known.expires_at_ms != expires_at_ms:
                has_new = True
                self._set_count += 1
                deadline = (self._now_ms + _rounded(left_ms), self._set_count)
                known = _Lease(deadline, expires_at_ms, is_ours=True)
            self._leases[key] = known
        return has_new

    async def _look(self) -> dict[_Key, tuple[int, int]]:
        found = await self._eval(_LOOK, sorted(self._databases))
        self._seen_at = time.monotonic()
        return {_Key(int(database), name): (at, left) for database, name, at, left in found}

    async def _set(self, left_ms: dict[_Key, int]) -> None:
        words = [word for key, left in left_ms.items() for word in (key.database, key.name, left)]
        times = dict(zip(left_ms, await self._eval(_SET, words), strict=True))
        self._seen_at = time.monotonic()
        lost = [key for key, at in times.items() if at < 0]
        if lost:
            raise RanOutError(key.shown for key in lost)
        for key, at in times.items():
            self._leases[key] = replace(self._leases[key], expires_at_ms=at)

    async def _are_gone(self, keys: Sequence[_Key]) -> None:
        """Wait the one millisecond, at whose end the server itself removes the keys."""
        words = [word for key in keys for word in (key.database, key.name)]
        until = time.monotonic() + _GONE_WITHIN_SECONDS
        while await self._eval(_COUNT, words):
            if time.monotonic() > until:
                raise TimeoutError(f"the server keeps {keys[0].shown} beyond its time-out")

    async def _eval(self, script: str, words: Iterable[int | bytes]) -> Any:  # noqa: ANN401 - what the script returns
        return await self._client.eval(script, 0, *words)


def _rounded(left_ms: int) -> int:
    """What a time-out was when it was set, a moment before: rounded up to what people write."""
    grain = next(grain for below, grain in _GRAINS if left_ms < below)
    return -(-left_ms // grain) * grain


def _may_write_keys(footprint: Footprint) -> bool:
    return not footprint.is_known or any(
        mode is Mode.WRITE and resource.name.startswith(_KEY)
        for resource, mode in footprint.touches
    )


def _writes(footprint: Footprint, key: _Key) -> bool:
    return not footprint.is_known or (key.resource, Mode.WRITE) in footprint.touches
