"""Examine the servers: can they be reached, do they fit, and are the guards in place?"""

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from importlib.metadata import version
from typing import Final

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.domain.calendar import zone_named, zone_names
from claimwright.domain.words import counted
from claimwright.runtime import Runtime
from claimwright.settings import STATEMENTS_PER_TRANSACTION, Settings
from claimwright.storage.guards import GUARDS, standing_guards, strange_functions
from claimwright.storage.health import (
    DURABILITY,
    read_clock,
    read_role,
    read_settings,
    zone_offsets,
    zones_in_use,
)
from claimwright.storage.known_names import names_not_known
from claimwright.storage.requests import pending_work
from claimwright.storage.schema import current_revision, newest_revision
from claimwright.storage.unusable import find_unusable

_OLDEST_POSTGRESQL: Final = 150_000
_OLDEST_REDIS: Final = 7
_CLOCK_WARN_SECONDS: Final = 1.0
_CLOCK_FAIL_SECONDS: Final = 60.0
_PENDING_WARN: Final = timedelta(hours=1)
_MOST_ZONES: Final = 200
_MOST_NAMED: Final = 5


class Health(StrEnum):
    """What one check says."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, and what was seen."""

    name: str
    health: Health
    detail: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that was looked at, in order."""

    checks: tuple[Check, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing failed; warnings are healthy."""
        return all(check.health is not Health.FAIL for check in self.checks)


async def examine(runtime: Runtime) -> Diagnosis:
    """Look at both servers and at what the engine needs of them; nothing is changed.

    What cannot be reached is a failed check, not an error. No check shows an address or password.
    """
    checks = [check async for check in _postgresql(runtime)]
    checks += [check async for check in _redis(runtime)]
    return Diagnosis(tuple(checks))


async def _postgresql(runtime: Runtime) -> AsyncIterator[Check]:
    try:
        async with runtime.engine.connect() as connection:
            settings = await read_settings(connection)
            yield _version_of_postgresql(settings)
            revision = await current_revision(connection)
            yield _schema(revision)
            yield _durability(settings)
            yield _time_outs(runtime.settings, settings)
            yield await _clock_of_postgresql(connection)
            if revision is not None:
                async for check in _engine(connection):
                    yield check
    except (SQLAlchemyError, OSError) as error:
        yield Check("PostgreSQL", Health.FAIL, f"cannot be used: {_reason(error)}")


async def _engine(connection: AsyncConnection) -> AsyncIterator[Check]:
    """What only a database with the engine's schema can be asked."""
    yield await _role(connection)
    yield await _guards(connection)
    yield await _pending(connection)
    yield await _zones(connection)
    yield await _names(connection)
    yield await _records(connection)


def _version_of_postgresql(settings: dict[str, str]) -> Check:
    health = Health.OK
    if int(settings["server_version_num"]) < _OLDEST_POSTGRESQL:
        health = Health.FAIL
    return Check("PostgreSQL", health, f"{settings['server_version']}; 15 or newer is needed")


def _schema(revision: str | None) -> Check:
    if revision == newest_revision():
        return Check("schema", Health.OK, f"revision {revision}, the newest")
    found = f"revision {revision}" if revision else "no schema"
    detail = f"{found}; this version needs {newest_revision()}: run `claimwright init`"
    return Check("schema", Health.FAIL, detail)


def _durability(settings: dict[str, str]) -> Check:
    off = [name for name in DURABILITY if settings[name] == "off"]
    if off:
        detail = f"{', '.join(off)} off: a crash of the server can lose claims that were reported"
        return Check("durability", Health.WARN, detail)
    return Check("durability", Health.OK, f"{', '.join(DURABILITY)} on")


def _time_outs(wanted: Settings, settings: dict[str, str]) -> Check:
    """Limits in force, which a connection pooler between can have dropped."""
    step_ms = 0
    for name, wanted_ms in (
        ("statement_timeout", wanted.statement_timeout_ms),
        ("lock_timeout", wanted.lock_timeout_ms),
        ("idle_in_transaction_session_timeout", wanted.idle_in_transaction_timeout_ms),
    ):
        if int(settings[name]) != wanted_ms:
            detail = f"{name} is {settings[name]} ms in a session, {wanted_ms} ms were asked for"
            return Check("time-outs", Health.FAIL, f"{detail}; does a pooler drop it?")
        step_ms += wanted_ms if name != "lock_timeout" else 0
    longest_seconds = STATEMENTS_PER_TRANSACTION * step_ms / 1_000
    detail = f"a transaction ends within {longest_seconds:g} s, its lease {wanted.lease_seconds} s"
    return Check("time-outs", Health.OK, detail)


async def _clock_of_postgresql(connection: AsyncConnection) -> Check:
    started = time.time()
    server = (await read_clock(connection)).timestamp()
    return _clock("clock of PostgreSQL", server, started, time.time())


def _clock(name: str, server: float, started: float, ended: float) -> Check:
    """How far a server's clock is from this machine's, beyond the time that asking took."""
    ahead_seconds = server - (started + ended) / 2
    certain_seconds = max(0.0, abs(ahead_seconds) - (ended - started) / 2)
    health = Health.OK
    if certain_seconds > _CLOCK_WARN_SECONDS:
        health = Health.FAIL if certain_seconds > _CLOCK_FAIL_SECONDS else Health.WARN
    return Check(name, health, f"{ahead_seconds:+.3f} s from this machine's")


async def _role(connection: AsyncConnection) -> Check:
    role = await read_role(connection)
    if role.is_superuser:
        detail = f"{role.name} is a superuser: no guard holds against it"
    elif role.owned_tables:
        detail = f"{role.name} owns {role.owned_tables} tables, and can drop their guards"
    elif role.excess:
        detail = f"{role.name} may do what nobody needs: {_some(role.excess)}"
    else:
        return Check("role", Health.OK, f"{role.name} owns nothing and changes no fact")
    return Check("role", Health.FAIL, detail)


async def _guards(connection: AsyncConnection) -> Check:
    standing = await standing_guards(connection)
    wrong = [f"{g.trigger} on {g.table} is missing" for g in sorted(GUARDS - standing.keys())]
    wrong += [
        f"{guard.trigger} on {guard.table} does not always fire"
        for guard, always in sorted(standing.items())
        if guard in GUARDS and not always
    ]
    wrong += [f"the function {name} was changed" for name in await strange_functions(connection)]
    if wrong:
        return Check("guards", Health.FAIL, _some(wrong))
    return Check("guards", Health.OK, f"all {len(GUARDS)} in place, always firing, unchanged")


async def _pending(connection: AsyncConnection) -> Check:
    pending = await pending_work(connection)
    if pending.oldest is None:
        return Check("pending work", Health.OK, "none")
    late = datetime.now(UTC) - pending.oldest > _PENDING_WARN
    requests = counted(pending.requests, "request")
    detail = f"{requests}, the oldest of {pending.oldest:%Y-%m-%d %H:%M:%S} UTC"
    return Check("pending work", Health.WARN if late else Health.OK, detail)


async def _zones(connection: AsyncConnection) -> Check:
    """Whether both sides agree on the zones in use; informational, as the engine's alone count."""
    year = datetime.now(UTC).year
    instants = [
        datetime(year, month, day, 12, tzinfo=UTC) for month in range(1, 13) for day in (1, 15)
    ]
    zones = [
        zone for zone in await zones_in_use(connection, most=_MOST_ZONES) if zone in zone_names()
    ]
    theirs = await zone_offsets(connection, zones, instants)
    unlike = sorted(
        {name for (name, at), seconds in theirs.items() if _offset(name, at) != seconds}
    )
    unknown = sorted(set(zones) - {name for name, _ in theirs})
    detail = f"tzdata {version('tzdata')}; {counted(len(zones), 'zone')} in use"
    if unlike or unknown:
        detail += f"; PostgreSQL disagrees on {_some([*unlike, *unknown])}, which decides nothing"
    return Check("time zones", Health.OK, detail)


async def _names(connection: AsyncConnection) -> Check:
    """Whether the database takes every policy that the rules would; newer rules can know more."""
    refused = await names_not_known(connection)
    if refused:
        detail = f"PostgreSQL refuses policies of {_some(refused)}: run `claimwright init`"
        return Check("names", Health.FAIL, detail)
    return Check("names", Health.OK, "every zone and currency of the rules is known")


async def _records(connection: AsyncConnection) -> Check:
    """Policies, and the products they are bound to, that are stored and never calculated."""
    records = (await find_unusable(connection)).records
    if records:
        return Check("records", Health.FAIL, _some([str(record) for record in records]))
    return Check("records", Health.OK, "every policy, and its product, can be calculated")


def _offset(zone: str, instant: datetime) -> int:
    offset = instant.astimezone(zone_named(zone)).utcoffset() or timedelta()
    return int(offset.total_seconds())


async def _redis(runtime: Runtime) -> AsyncIterator[Check]:
    try:
        info = await runtime.redis.info("server")
        yield _version_of_redis(info)
        started = time.time()
        seconds, microseconds = await runtime.redis.time()
        server = seconds + microseconds / 1_000_000
        yield _clock("clock of Redis", server, started, time.time())
    except (RedisError, OSError, TimeoutError) as error:
        effect = "stop" if runtime.settings.require_lease else "go on without leases"
        detail = f"cannot be used: {_reason(error)}; calculations {effect}"
        yield Check("Redis", Health.FAIL, detail)


def _version_of_redis(info: dict[str, object]) -> Check:
    redis_version = str(info["redis_version"])
    valkey = info.get("valkey_version")
    name = f"Valkey {valkey}, as Redis {redis_version}" if valkey else f"Redis {redis_version}"
    old = int(redis_version.partition(".")[0]) < _OLDEST_REDIS
    return Check("Redis", Health.FAIL if old else Health.OK, f"{name}; 7 or newer is needed")


def _reason(error: Exception) -> str:
    """An error's kind and first line; drivers' messages name users and hosts, never passwords."""
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}, {str(cause).partition(chr(10))[0]}"


def _some(items: Sequence[str]) -> str:
    more = f" and {len(items) - _MOST_NAMED} more" if len(items) > _MOST_NAMED else ""
    return ", ".join(items[:_MOST_NAMED]) + more
