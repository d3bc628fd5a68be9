"""What each Redis command touches, and whether it may wait: a table, never guessed low.

Positions of keys: the key specifications of ``COMMAND INFO`` (Redis 8, Valkey 9). A command that
the table does not have, or whose arguments do not fit, is unknown and conflicts with everything.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from contention.model.footprints import NOTHING, UNKNOWN, Footprint, Mode, Resource
from contention.wire.redis_lifecycle import SUBSCRIPTIONS
from contention.wire.redis_scripts import Scripts, touches_declared_keys_alone
from contention.wire.redis_single_key import SINGLE_KEY_READS, SINGLE_KEY_WRITES, words

Arguments = Sequence[bytes]
Touched = list[tuple[str, bytes, Mode]]
"""What kind of thing, its name, and how."""

_READ, _WRITE = Mode.READ, Mode.WRITE
_KEY, _CHANNEL, _SCRIPT = "key", "channel", "script"


class RedisKind(StrEnum):
    """What a command means to a scheduler."""

    CONNECTION = "connection"
    """It concerns its own connection alone: HELLO, AUTH, SELECT, PING, CLIENT SETNAME …"""
    TRANSACTION = "transaction control"
    """MULTI, DISCARD, UNWATCH, and what is only queued for EXEC."""
    SUBSCRIPTION = "subscription"
    """SUBSCRIBE and its relatives: messages may come from now on."""
    DATA = "data"
    """Everything else, EXEC and WATCH included."""


CONTAINERS = words(
    "ACL CLIENT CLUSTER COMMAND CONFIG DEBUG FUNCTION LATENCY MEMORY MODULE OBJECT PUBSUB SCRIPT",
    "SLOWLOG XGROUP XINFO",
)
"""Commands whose second word belongs to their name."""
CONNECTION_COMMANDS = frozenset(
    {"PING", "ECHO", "HELLO", "AUTH", "SELECT", "QUIT", "RESET", "READONLY", "READWRITE"}
    | {"COMMAND", "COMMAND DOCS", "COMMAND INFO", "COMMAND COUNT", "COMMAND GETKEYS"}
    | {"CLIENT SETNAME", "CLIENT GETNAME", "CLIENT SETINFO", "CLIENT ID", "CLIENT INFO"}
    | {"CLIENT NO-EVICT", "CLIENT NO-TOUCH", "CLIENT REPLY", "CLIENT MAINT_NOTIFICATIONS"}
    | {"CLIENT CAPA", "CLIENT HELP"}
)
TRANSACTION_COMMANDS = frozenset({"MULTI", "DISCARD", "UNWATCH"})


@dataclass(frozen=True, slots=True)
class _Range:
    """Keys at every ``step``-th argument; negative positions count from the end."""

    mode: Mode
    first: int = 1
    last: int = 1
    step: int = 1

    def touched(self, arguments: Arguments) -> Touched:
        last = self.last if self.last >= 0 else len(arguments) + self.last
        places = range(self.first, min(last + 1, len(arguments)), self.step)
        return [(_KEY, arguments[place], self.mode) for place in places]


def _named(names: str, *ranges: _Range) -> dict[str, tuple[_Range, ...]]:
    return dict.fromkeys(names.split(), ranges)


_R, _W = _Range(_READ), _Range(_WRITE)
_RANGES: dict[str, tuple[_Range, ...]] = {
    **dict.fromkeys(SINGLE_KEY_READS, (_R,)),
    **dict.fromkeys(SINGLE_KEY_WRITES, (_W,)),
    **_named("MGET EXISTS TOUCH SINTER SUNION SDIFF WATCH", _Range(_READ, 1, -1)),
    # PFCOUNT keeps what it has counted in the key.
    **_named("DEL UNLINK PFCOUNT", _Range(_WRITE, 1, -1)),
    **_named("MSET MSETNX", _Range(_WRITE, 1, -1, 2)),
    **_named("RENAME RENAMENX SMOVE LMOVE RPOPLPUSH BRPOPLPUSH BLMOVE", _Range(_WRITE, 1, 2)),
    **_named("SINTERSTORE SUNIONSTORE SDIFFSTORE PFMERGE", _W, _Range(_READ, 2, -1)),
    **_named("ZRANGESTORE GEOSEARCHSTORE", _W, _Range(_READ, 2, 2)),
    **_named("BITOP", _Range(_WRITE, 2, 2), _Range(_READ, 3, -1)),
    **_named("LCS", _Range(_READ, 1, 2)),
    **_named("BLPOP BRPOP BZPOPMIN BZPOPMAX", _Range(_WRITE, 1, -2)),
    **dict.fromkeys(
        ("OBJECT ENCODING", "OBJECT REFCOUNT", "XINFO STREAM", "XINFO GROUPS", "XINFO CONSUMERS"),
        (_Range(_READ, 2, 2),),
    ),
    **dict.fromkeys(
        (
            "XGROUP CREATE",
            "XGROUP DESTROY",
            "XGROUP SETID",
            "XGROUP CREATECONSUMER",
            "XGROUP DELCONSUMER",
        ),
        (_Range(_WRITE, 2, 2),),
    ),
}


def _counted(arguments: Arguments, place: int, mode: Mode) -> Touched:
    """As many keys as the argument at ``place`` says, behind it."""
    count = int(arguments[place])
    keys = arguments[place + 1 : place + 1 + count]
    if count < 0 or len(keys) != count:
        raise ValueError("fewer keys than counted")
    return [(_KEY, key, mode) for key in keys]


def _counted_at(place: int, mode: Mode) -> "_Finder":
    return lambda arguments: _counted(arguments, place, mode)


def _stored_from_counted(arguments: Arguments) -> Touched:
    return [(_KEY, arguments[1], _WRITE), *_counted(arguments, 2, _READ)]


def _copy(arguments: Arguments) -> Touched | None:
    if b"DB" in _upper(arguments[3:]):
        return None
    return [(_KEY, arguments[1], _READ), (_KEY, arguments[2], _WRITE)]


def _sort(arguments: Arguments) -> Touched | None:
    """SORT reads other keys by pattern with BY and GET."""
    options = _upper(arguments[2:])
    if b"BY" in options or b"GET" in options:
        return None
    touched: Touched = [(_KEY, arguments[1], _READ)]
    if b"STORE" in options:
        touched.append((_KEY, arguments[3 + options.index(b"STORE")], _WRITE))
    return touched


def _places(arguments: Arguments) -> Touched | None:
    """GEORADIUS and its relative write with STORE; without it they read."""
    options = _upper(arguments[2:])
    if b"STORE" in options or b"STOREDIST" in options:
        return None
    return [(_KEY, arguments[1], _READ)]


def _streams(mode: Mode, options: dict[bytes, int]) -> "_Finder":
    def find(arguments: Arguments) -> Touched:
        place = 1
        while (word := arguments[place].upper()) != b"STREAMS":
            place += options[word]
        names = arguments[place + 1 :]
        return [(_KEY, name, mode) for name in names[: len(names) // 2]]

    return find


def _publish(arguments: Arguments) -> Touched:
    return [(_CHANNEL, arguments[1], _WRITE)]


def _subscribe(arguments: Arguments) -> Touched | None:
    """Channels of key events are written by every command that writes keys."""
    if any(channel.startswith(b"__") for channel in arguments[1:]):
        return None
    return [(_CHANNEL, channel, _READ) for channel in arguments[1:]]


_Finder = Callable[[Arguments], Touched | None]
_XREAD_OPTIONS = {b"COUNT": 2, b"BLOCK": 2}
_XREADGROUP_OPTIONS = {**_XREAD_OPTIONS, b"GROUP": 3, b"NOACK": 1, b"CLAIM": 2}
_FINDERS: dict[str, _Finder] = {
    "COPY": _copy,
    "SORT": _sort,
    "SORT_RO": _sort,
    "GEORADIUS": _places,
    "GEORADIUSBYMEMBER": _places,
    "XREAD": _streams(_READ, _XREAD_OPTIONS),
    "XREADGROUP": _streams(_WRITE, _XREADGROUP_OPTIONS),
    **dict.fromkeys(("ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE"), _stored_from_counted),
    **dict.fromkeys(("ZUNION", "ZINTER", "ZDIFF"), _counted_at(1, _READ)),
    **dict.fromkeys(("SINTERCARD", "ZINTERCARD"), _counted_at(1, _READ)),
    **dict.fromkeys(("LMPOP", "ZMPOP"), _counted_at(1, _WRITE)),
    **dict.fromkeys(("BLMPOP", "BZMPOP"), _counted_at(2, _WRITE)),
    "PUBLISH": _publish,
    "SPUBLISH": _publish,
    "SUBSCRIBE": _subscribe,
    "SSUBSCRIBE": _subscribe,
}


def command_name(arguments: Arguments) -> str:
    """The name in capitals, with its second word where that belongs to it."""
    name = _word(arguments[0])
    if name in CONTAINERS and len(arguments) > 1:
        return f"{name} {_word(arguments[1])}"
    return name


def kind_of(name: str) -> RedisKind:
    """What a command that runs at once means to a scheduler."""
    if name in CONNECTION_COMMANDS:
        return RedisKind.CONNECTION
    if name in TRANSACTION_COMMANDS:
        return RedisKind.TRANSACTION
    return RedisKind.SUBSCRIPTION if name in SUBSCRIPTIONS else RedisKind.DATA


def footprint_of(name: str, arguments: Arguments, database: int, scripts: Scripts) -> Footprint:
    """What a command that runs at once touches.

    EXEC is not here: it touches what was queued and watched.
    """
    if name in CONNECTION_COMMANDS or name in TRANSACTION_COMMANDS:
        return NOTHING
    if name in {"UNSUBSCRIBE", "SUNSUBSCRIBE"} and len(arguments) > 1:
        name = "SUBSCRIBE"
    try:
        if name in _SCRIPT_RUNNERS:
            return _script_footprint(name, arguments, database, scripts)
        if name in _SCRIPT_CACHE:
            return _cache_footprint(name, arguments, database, scripts)
        touched = _touched(name, arguments)
    except (IndexError, KeyError, ValueError):
        return UNKNOWN
    return UNKNOWN if touched is None else _footprint(touched, database)


def block_seconds(name: str, arguments: Arguments) -> Decimal | None:
    """How long a command may wait for others, 0 for ever; None when it does not wait."""
    place, divisor = _time_outs(name, arguments)
    if not place:
        return None
    try:
        return Decimal(arguments[place].decode("ascii")) / divisor
    except (IndexError, UnicodeDecodeError, InvalidOperation):
        return None


def _touched(name: str, arguments: Arguments) -> Touched | None:
    ranges = _RANGES.get(name)
    if ranges is not None:
        return [one for part in ranges for one in part.touched(arguments)]
    finder = _FINDERS.get(name)
    return finder(arguments) if finder else None


def _footprint(touched: Touched, database: int, *, is_known: bool = True) -> Footprint:
    return Footprint(
        tuple((_resource(what, name, database), mode) for what, name, mode in touched), is_known
    )


def _resource(what: str, name: bytes, database: int) -> Resource:
    """Channels and scripts belong to the server, keys to a database."""
    place = f" in database {database}" if database and what == _KEY else ""
    return Resource(f"redis {what} {name.decode('utf-8', 'backslashreplace')}{place}")


_SCRIPT_RUNNERS = words("EVAL EVALSHA FCALL EVAL_RO EVALSHA_RO FCALL_RO")
_SCRIPT_CACHE = frozenset({"SCRIPT LOAD", "SCRIPT EXISTS"})


def _script_footprint(
    name: str, arguments: Arguments, database: int, scripts: Scripts
) -> Footprint:
    """A script writes its declared keys, and may touch others unless its text shows that not."""
    touched = _counted(arguments, 2, _READ if name.endswith("_RO") else _WRITE)
    text = None
    if name.startswith("EVALSHA"):
        text = scripts.text(arguments[1].decode("ascii", "replace"))
        touched.append((_SCRIPT, arguments[1].lower(), _READ))
    elif name.startswith("EVAL"):
        sha = scripts.remember(arguments[1])
        text = scripts.text(sha)
        touched.append((_SCRIPT, sha.encode(), _loading(sha, scripts)))
    is_known = text is not None and touches_declared_keys_alone(text)
    return _footprint(touched, database, is_known=is_known)


def _loading(sha: str, scripts: Scripts) -> Mode:
    return _READ if sha in scripts.kept else _WRITE


def _cache_footprint(name: str, arguments: Arguments, database: int, scripts: Scripts) -> Footprint:
    if name == "SCRIPT LOAD":
        sha = scripts.remember(arguments[2])
        return _footprint([(_SCRIPT, sha.encode(), _loading(sha, scripts))], database)
    return _footprint([(_SCRIPT, sha.lower(), _READ) for sha in arguments[2:]], database)


_SECONDS, _MILLISECONDS = Decimal(1), Decimal(1000)
_TIME_OUTS = {
    **dict.fromkeys(("BLPOP", "BRPOP", "BZPOPMIN", "BZPOPMAX"), (-1, _SECONDS)),
    **dict.fromkeys(("BRPOPLPUSH", "BLMOVE"), (-1, _SECONDS)),
    **dict.fromkeys(("BLMPOP", "BZMPOP"), (1, _SECONDS)),
    "WAIT": (2, _MILLISECONDS),
    "WAITAOF": (3, _MILLISECONDS),
}


def _time_outs(name: str, arguments: Arguments) -> tuple[int, Decimal]:
    """Which argument is the time-out, 0 for none, and what it is divided by to give seconds."""
    if name in {"XREAD", "XREADGROUP"}:
        options = _upper(arguments)
        streams = options.index(b"STREAMS") if b"STREAMS" in options else len(options)
        options = options[:streams]
        return (options.index(b"BLOCK") + 1 if b"BLOCK" in options else 0), _MILLISECONDS
    return _TIME_OUTS.get(name, (0, _SECONDS))


def _word(argument: bytes) -> str:
    return argument.decode("utf-8", "backslashreplace").upper()


def _upper(arguments: Arguments) -> list[bytes]:
    return [argument.upper() for argument in arguments]
