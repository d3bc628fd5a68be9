"""The lease: a Redis lock with a time-out that keeps two workers from doing the same work.

It saves work and decides nothing: the row lock and the database's key make a claim right (see
``docs/explanation/lease.md``). So a lease may be late, lost or skipped, but it must never stay
behind, swallow a cancellation, or make a calculation wait for a Redis that is away.

::

    caller        waits ── cancelled ── says stop ── waits ──────── releases ── CancelledError
    acquire task  SET NX sent ──────────────────────── reply read, nothing sent after it
    server        ............ key taken ................................. key deleted

The first SET goes out with those of other leases, by a connection that they share (`wire`). What
that does not settle, a key that is held or a connection that broke, is for redis-py's own lock:
``Lock.acquire()`` runs in a task of its own. Either way the caller's cancellation reaches the
caller only, so nothing is cancelled between a command and its reply: that is where redis-py would
swallow it or leave the key behind. There is no renewal: the time-outs of the transaction inside add
up to less than the lease's own.
"""

import asyncio
import math
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from redis import exceptions as redis_errors
from redis.asyncio import Redis
from redis.asyncio.lock import Lock
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from claimwright.domain.errors import (
    InvalidInputError,
    LeaseUnavailableError,
    LockNotAcquiredError,
)
from claimwright.locks.patience import RESERVED_SLICES, Patience
from claimwright.locks.watched import View
from claimwright.locks.wire import wire_of
from claimwright.metrics import LEASES_CONTENDED, LEASES_LOST, LEASES_SKIPPED

_SERVER_ERRORS: Final = (redis_errors.RedisError, OSError)
_AWAY: Final = (redis_errors.ConnectionError, redis_errors.TimeoutError, OSError)
_REFUSALS: Final = (redis_errors.AuthenticationError, redis_errors.AuthorizationError)
_UNREADY: Final = (
    redis_errors.BusyLoadingError,
    redis_errors.ClusterDownError,
    redis_errors.MasterDownError,
    redis_errors.OutOfMemoryError,
    redis_errors.ReadOnlyError,
    redis_errors.TryAgainError,
)
_UNREADY_CODES: Final = ("BUSY ", "MISCONF ", "NOREPLICAS ")

_WITHDRAW_SCRIPT: Final = (
    "return redis.call('get', KEYS[1]) == ARGV[1] and redis.call('del', KEYS[1]) or 0"
)


def lease_key(policy_id: int, day: date) -> str:
    """Return the Redis key of the lease for one policy and one date in the policy's time zone."""
    return f"lock:claim_calc:{policy_id}:{day.isoformat()}"


@dataclass(frozen=True, slots=True)
class LeaseOptions:
    """How a lease is taken.

    Args:
        timeout_seconds: after this long the server drops the lease of a worker that died.
        blocking_timeout_seconds: how long to wait for a lease that another worker holds; 0 tries
            once.
        patience_ms: how long one calculation may be held up by a Redis that does not answer.
        breaker_seconds: how long leases are skipped outright after that.
        required: raise ``LeaseUnavailableError`` instead of going on without the lease.
    """

    timeout_seconds: float = 120
    blocking_timeout_seconds: float = 10.0
    patience_ms: int = 250
    breaker_seconds: float = 5.0
    required: bool = False

    def __post_init__(self) -> None:
        for name, least in (
            ("timeout_seconds", 0.001),
            ("blocking_timeout_seconds", 0),
            ("patience_ms", 1),
            ("breaker_seconds", 0),
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= least):
                raise InvalidInputError(f"{name} of a lease is at least {least}, not {value}")


@dataclass(frozen=True, slots=True)
class Lease:
    """What a calculation got: the key with its own token, or leave to go on without.

    ``held`` is False when Redis is away and the lease was skipped. ``token`` is the value that the
    key has, or would have had, on the server.
    """

    held: bool
    token: str


def make_redis_client(url: str) -> Redis:
    """Return a client whose settings suit leases; options in the address go before them.

    - one retry without a pause: after a restart of the server every pooled connection is dead, and
      a second try on a new one is what helps. redis-py's own ten take about 4 s to say "refused",
      and hide a wrong password for as long;
    - ``socket_timeout`` and ``socket_connect_timeout`` of 1 s: a lease gives up after its patience
      of 250 ms by itself; these end what it left behind on the connection;
    - no health check: it is another round trip, and patience finds out the same.

    Raises:
        InvalidInputError: the address is none. The message does not repeat it: it may hold a
            password.
    """
    try:
        return Redis.from_url(
            url,
            retry=Retry(NoBackoff(), 1),
            socket_timeout=1.0,
            socket_connect_timeout=1.0,
            health_check_interval=0,
        )
    except ValueError:
        raise InvalidInputError(
            "the Redis address is not of the form redis://, rediss:// or unix://…"
        ) from None


@asynccontextmanager
async def lease(
    redis_client: Redis,
    key: str,
    options: LeaseOptions,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Lease]:
    """Hold the lease ``key`` around the body, or go on without it when Redis is away.

    The key is gone when this returns, raises or is cancelled, unless the server stayed silent for
    the whole patience: then it lives for its time-out at most. A lease that was lost meanwhile is
    counted in ``LEASES_LOST``, and the next holder's key is left alone. A Redis that is away holds
    body and clean-up up for ``patience_ms`` together, and trips a breaker that skips the leases of
    this client for ``breaker_seconds``; then one attempt tries again. ``LEASES_SKIPPED`` counts by
    reason: ``no_answer``, ``unreachable``, ``unready`` (loading, read-only, out of memory …),
    ``pool_exhausted`` (this client's own limit) or ``breaker``.

    Args:
        redis_client: any asyncio client; its retries and time-outs do not matter.
        key: see ``lease_key``.
        options: see ``LeaseOptions``.
        clock: seconds that only the breaker reads.

    Raises:
        LockNotAcquiredError: another worker held the key as long as this one could wait.
        LeaseUnavailableError: Redis is away and ``options.required``; or it refuses this client
            (wrong password, no permission, a key of another type), which waiting does not heal.
    """
    breaker = _breakers.setdefault(redis_client, _Breaker())
    token = secrets.token_hex(16)
    if not breaker.admits(clock(), options.breaker_seconds):
        _skip(key, "breaker", options)
        yield Lease(held=False, token=token)
        return
    attempt = _Attempt(redis_client, key, options, token)
    try:
        reason = await attempt.skip_reason()
        if reason is None:
            breaker.close()
            attempt.refuse_contention()
        else:
            if reason != "pool_exhausted":
                breaker.trip(clock(), options.breaker_seconds)
            _skip(key, reason, options)
        yield Lease(held=reason is None, token=token)
    finally:
        await attempt.settle()


def _skip(key: str, reason: str, options: LeaseOptions) -> None:
    """Count a lease that was not taken, or raise when it may not be skipped."""
    if options.required:
        raise LeaseUnavailableError(f"{key} cannot be taken: Redis is away ({reason})")
    LEASES_SKIPPED.labels(reason).inc()


class _Breaker:
    """Whether a client's server is worth asking: open after silence, then one try at a time."""

    def __init__(self) -> None:
        self._open_until: float | None = None

    def admits(self, now: float, seconds: float) -> bool:
        """Let everyone through when closed, and one after its time; the others wait for that."""
        if self._open_until is None:
            return True
        if now < self._open_until:
            return False
        self._open_until = now + seconds
        return True

    def trip(self, now: float, seconds: float) -> None:
        self._open_until = now + seconds

    def close(self) -> None:
        self._open_until = None


_breakers: WeakKeyDictionary[Redis, _Breaker] = WeakKeyDictionary()


class _Attempt:
    """One lease from its SET to its clean-up. ``settle`` must run once, whatever happened."""

    def __init__(self, client: Redis, key: str, options: LeaseOptions, token: str) -> None:
        self._client = client
        self._key = key
        self._token = token
        self._held = False
        self._patience = Patience(options.patience_ms)
        self._view = View(client)
        self._options = options
        self._lock = client.lock(key, timeout=options.timeout_seconds)
        self._wire = wire_of(client, self._lock)
        self._lock.redis = cast("Redis", self._view)
        self._began_at = asyncio.get_running_loop().time()
        self._acquiring = self._first_try()

    def _first_try(self) -> asyncio.Future[Any]:
        if self._wire is None:
            return self._acquire()
        milliseconds = int(self._options.timeout_seconds * 1000)
        return self._wire.ask("SET", self._key, self._token, "NX", "PX", milliseconds)

    def _acquire(self) -> asyncio.Future[Any]:
        self._wire = None
        return asyncio.create_task(_acquire(self._lock, self._options, self._token))

    async def skip_reason(self) -> str | None:
        """Wait for the lease: None when Redis decided about it, else why it counts as away."""
        if not await self._answers():
            return "no_answer"
        if self._wire is not None and not _said_yes(self._acquiring):
            # redis-py's lock knows how to wait for a key, and to connect anew.
            self._acquiring = self._acquire()
            if not await self._answers():
                return "no_answer"
        try:
            self._held = bool(self._acquiring.result())
        except _SERVER_ERRORS as error:
            return _reason_for(error, self._key)
        self._patience.renew()
        return None

    async def _answers(self) -> bool:
        return await self._patience.outlasts(
            self._acquiring, heard=self._view.heard, reserved_slices=RESERVED_SLICES
        )

    def refuse_contention(self) -> None:
        """Raise when Redis gave the lease to another worker."""
        if not self._held:
            LEASES_CONTENDED.inc()
            waited_seconds = asyncio.get_running_loop().time() - self._began_at
            raise LockNotAcquiredError(self._key, round(waited_seconds, 1))

    async def settle(self) -> None:
        """Leave nothing behind: end the attempt, then give back what it took or may have taken.

        A cancellation meanwhile is raised when that is done.
        """
        self._view.stopped = True
        self._patience.settling = True
        if self._may_have_taken():
            await self._patience.outlasts(self._acquiring, reserved_slices=RESERVED_SLICES - 1)
        await self._patience.end(self._acquiring)
        if _said_yes(self._acquiring):
            await self._release()
        elif self._may_have_taken():
            await self._withdraw()
        self._patience.raise_cancellation()

    def _may_have_taken(self) -> bool:
        """Whether a SET of ours was not answered, by failure too."""
        if self._wire is not None:
            return not _succeeded(self._acquiring)
        return self._view.under_way

    async def _release(self) -> None:
        released = self._release_by_wire() if self._wire else self._release_by_lock()
        if not await released and self._held:
            LEASES_LOST.inc()

    async def _release_by_lock(self) -> bool:
        task = asyncio.create_task(self._lock.release())
        await self._settled(task)
        return _succeeded(task)

    async def _release_by_wire(self) -> bool:
        assert self._wire is not None  # noqa: S101 - the caller looked
        deleting = self._wire.ask("EVAL", _WITHDRAW_SCRIPT, 1, self._key, self._token)
        await self._settled(deleting)
        if deleting.cancelled() or _succeeded(deleting):
            return _said_yes(deleting)
        # The connection broke, as all do when a server starts anew; perhaps there is another.
        return await self._withdraw()

    async def _withdraw(self) -> bool:
        """Delete the key if it is ours; whether it was."""
        task = asyncio.create_task(_withdraw(self._client, self._key, self._token))
        await self._settled(task)
        return _said_yes(task)

    async def _settled(self, command: asyncio.Future[Any]) -> None:
        """Wait within the patience; nothing is raised, because the work inside is done."""
        await self._patience.outlasts(command)
        await self._patience.end(command)


async def _acquire(lock: Lock, options: LeaseOptions, token: str) -> bool:
    if options.blocking_timeout_seconds == 0:
        return bool(await lock.acquire(blocking=False, token=token))
    return bool(
        await lock.acquire(
            blocking=True, blocking_timeout=options.blocking_timeout_seconds, token=token
        )
    )


async def _withdraw(client: Redis, key: str, token: str) -> object:
    return await client.eval(_WITHDRAW_SCRIPT, 1, key, token)


def _succeeded(task: asyncio.Future[Any]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _said_yes(task: asyncio.Future[Any]) -> bool:
    return _succeeded(task) and bool(task.result())


def _reason_for(error: Exception, key: str) -> str:
    """Return why Redis counts as away, or raise when it is there and refuses this client.

    The server's words are left out of the message: "unknown command 'AUTH'" repeats its arguments.
    """
    if isinstance(error, redis_errors.MaxConnectionsError):
        return "pool_exhausted"
    if isinstance(error, _UNREADY) or str(error).startswith(_UNREADY_CODES):
        return "unready"
    if isinstance(error, _AWAY) and not isinstance(error, _REFUSALS):
        return "unreachable"
    code = getattr(error, "status_code", None) or "no code"
    raise LeaseUnavailableError(
        f"{key} cannot be taken: Redis refuses this client ({type(error).__name__}, {code})"
    ) from None
