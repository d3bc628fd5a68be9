"""Addresses of PostgreSQL, Redis and brokers: what they may say, and what to say instead.

No error repeats a value, since that may be a password or, in an address whose password is not
written in percent-encoding, a part of one.
"""

import difflib
import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

_Fault = Callable[[str], str | None]
"""What is wrong with an option's value, as the end of a sentence; `None` where nothing is."""

_LONGEST_SECONDS: Final = 600
_SECONDS: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,6})?")
_LONGEST_NAME: Final = 40
_LARGEST_PORT: Final = 65_535
_ENCODE: Final = "of a password or name write @ as %40, : as %3A, / as %2F, ? as %3F and # as %23"


def _one_of(*words: str) -> _Fault:
    def fault(value: str) -> str | None:
        return None if value in words else f"is one of {', '.join(words)}"

    return fault


def _whole(least: int, most: int) -> _Fault:
    def fault(value: str) -> str | None:
        fits = value.isascii() and value.isdigit() and least <= int(value[:20]) <= most
        return None if fits else f"is a whole number from {least} to {most:,}"

    return fault


def _seconds(value: str) -> str | None:
    fits = _SECONDS.fullmatch(value) and 0 < Decimal(value) <= _LONGEST_SECONDS
    return None if fits else f"is a number of seconds above 0 and up to {_LONGEST_SECONDS}"


def _any(_value: str) -> None:
    return None


_SSL_MODE: Final = _one_of("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_YES_OR_NO: Final = _one_of("true", "false", "yes", "no", "1", "0")

#: The options of a database address, each by libpq's name, and what is wrong with a value.
POSTGRESQL_OPTIONS: Final[Mapping[str, _Fault]] = {
    "host": _any,
    "port": _any,
    "dbname": _any,
    "user": _any,
    "password": _any,
    "passfile": _any,
    "sslmode": _SSL_MODE,
    "connect_timeout": _whole(1, _LONGEST_SECONDS),
    "application_name": _any,
    "target_session_attrs": _one_of("any", "primary", "read-write"),
    "krbsrvname": _any,
    "prepared_statement_cache_size": _whole(0, 100_000),
}
_SYNONYMS: Final = {"ssl": "sslmode", "database": "dbname", "timeout": "connect_timeout"}
_IN_SQLALCHEMYS_WORDS: Final = {"sslmode": "ssl", "dbname": "database"}
#: What people write of libpq's other options, and where that is said instead.
_ELSEWHERE: Final[Mapping[str, str]] = {
    **{
        name: f"set the environment variable PG{name.replace('_', '').upper()}"
        for name in (
            "sslrootcert",
            "sslcert",
            "sslkey",
            "sslcrl",
            "sslnegotiation",
            "ssl_min_protocol_version",
            "ssl_max_protocol_version",
            "service",
        )
    },
    "hostaddr": "write it as the host",
    "fallback_application_name": "write application_name",
    "options": "ALTER ROLE … SET in the database",
    "statement_timeout": "set CLAIMWRIGHT_STATEMENT_TIMEOUT_MS",
    "lock_timeout": "set CLAIMWRIGHT_LOCK_TIMEOUT_MS",
    "pool_size": "set CLAIMWRIGHT_POOL_SIZE",
}

_REDIS_OPTIONS: Final[Mapping[str, _Fault]] = {
    "db": _whole(0, 1_000_000),
    "username": _any,
    "password": _any,
    "client_name": _any,
    "protocol": _one_of("2", "3"),
    "socket_timeout": _seconds,
    "socket_connect_timeout": _seconds,
    "health_check_interval": _whole(0, _LONGEST_SECONDS),
    "max_connections": _whole(1, 100_000),
}
_REDIS_TCP_OPTIONS: Final[Mapping[str, _Fault]] = {"socket_keepalive": _YES_OR_NO}
_REDIS_TLS_OPTIONS: Final[Mapping[str, _Fault]] = {
    "ssl_cert_reqs": _one_of("none", "optional", "required"),
    "ssl_ca_certs": _any,
    "ssl_ca_path": _any,
    "ssl_certfile": _any,
    "ssl_keyfile": _any,
    "ssl_check_hostname": _YES_OR_NO,
}
#: The options of a Redis address by its scheme.
REDIS_OPTIONS: Final[Mapping[str, Mapping[str, _Fault]]] = {
    "unix": _REDIS_OPTIONS,
    "redis": {**_REDIS_OPTIONS, **_REDIS_TCP_OPTIONS},
    "rediss": {**_REDIS_OPTIONS, **_REDIS_TCP_OPTIONS, **_REDIS_TLS_OPTIONS},
}
#: The options of a broker's address by its scheme; certificates alone, and Redis's own few.
BROKER_OPTIONS: Final[Mapping[str, Mapping[str, _Fault]]] = {
    **REDIS_OPTIONS,
    "amqp": {},
    "amqps": {
        name: _REDIS_TLS_OPTIONS[name]
        for name in ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
    },
}
_REDIS_DATABASES: Final = 16
_VERIFY: Final = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}


def sqlalchemy_url(address: str) -> str:
    """Return a PostgreSQL address as SQLAlchemy's asyncpg dialect wants it.

    ``postgresql://`` becomes ``postgresql+asyncpg://``, and libpq's names of options become the
    driver's. `engine_arguments` takes out those that no address can carry to the driver.

    Raises:
        ValueError: the address is of another database or another driver, or has an option that is
            unknown, twice there or wrong; the message repeats no value.
    """
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        message = "this is not a database address; write postgresql://user:password@host/database"
        raise ValueError(message) from None
    if url.drivername not in {"postgresql", "postgresql+asyncpg"}:
        raise ValueError(_other_database(url.get_backend_name(), url.drivername))
    given = address.partition("?")[2] if "?" in address else ""
    if "@" in given or "@" in (url.host or ""):
        raise ValueError(f"this is not a database address: {_ENCODE}")
    options = [(_SYNONYMS.get(key, key), values) for key, values in url.query.items()]
    _refuse_options(_single(options), POSTGRESQL_OPTIONS, _ELSEWHERE)
    query = {_IN_SQLALCHEMYS_WORDS.get(key, key): values for key, values in options}
    asyncpg_url = url.set(drivername="postgresql+asyncpg", query=query)
    _refuse_hosts(asyncpg_url)
    return asyncpg_url.render_as_string(hide_password=False)


class EngineArguments(NamedTuple):
    """What SQLAlchemy needs for an engine: an address and arguments of each connection."""

    url: URL
    timeout_seconds: int | None
    application_name: str | None
    statements_prepared: int | None


def engine_arguments(sqlalchemy_address: str) -> EngineArguments:
    """Take apart what `sqlalchemy_url` returned: these options are none of the driver's names."""
    url = make_url(sqlalchemy_address)
    seconds, name, prepared = (
        url.query.get(key)
        for key in ("connect_timeout", "application_name", "prepared_statement_cache_size")
    )
    return EngineArguments(
        url.difference_update_query(["connect_timeout", "application_name"]),
        int(str(seconds)) if seconds else None,
        str(name) if name else None,
        int(str(prepared)) if prepared else None,
    )


def checked_redis_url(address: str) -> str:
    """Return a Redis address as it is, where redis-py can use it.

    Raises:
        ValueError: another scheme, a database that is no number, or an option that is unknown,
            twice there or wrong; the message repeats no value.
    """
    scheme = address.partition("://")[0]
    if scheme not in REDIS_OPTIONS or "://" not in address:
        schemes = ", ".join(f"{known}://" for known in ("redis", "rediss", "unix"))
        raise ValueError(f"a Redis address begins with {schemes}")
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise ValueError(f"this is not a Redis address: {_ENCODE}") from None
    if parts.fragment or "@" in parts.path + parts.query or port == 0:
        raise ValueError(f"this is not a Redis address: {_ENCODE}")
    _refuse_path(scheme, parts)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    elsewhere = dict.fromkeys(REDIS_OPTIONS["rediss"], f"it does not go with {scheme}://")
    _refuse_options(_each_once(pairs), REDIS_OPTIONS[scheme], elsewhere)
    return address


def checked_broker_url(address: str) -> str:
    """Return a broker's address as it is, where Celery can use it.

    Raises:
        ValueError: neither Redis nor RabbitMQ, or anything that `checked_redis_url` refuses; the
            message repeats no value.
    """
    scheme = address.partition("://")[0]
    if scheme not in BROKER_OPTIONS or "://" not in address:
        schemes = ", ".join(f"{known}://" for known in ("redis", "rediss", "amqp", "amqps", "unix"))
        raise ValueError(f"a broker's address begins with {schemes}")
    if scheme in REDIS_OPTIONS:
        return checked_redis_url(address)
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise ValueError(f"this is not a broker's address: {_ENCODE}") from None
    if parts.fragment or "@" in parts.path + parts.query or port == 0:
        raise ValueError(f"this is not a broker's address: {_ENCODE}")
    if "/" in parts.path[1:] and parts.path != "//":
        raise ValueError(f"this is not a broker's address: {_ENCODE}")
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    elsewhere = dict.fromkeys(BROKER_OPTIONS["rediss"], f"it does not go with {scheme}://")
    _refuse_options(_each_once(pairs), BROKER_OPTIONS[scheme], elsewhere)
    return address


class BrokerArguments(NamedTuple):
    """What Celery needs for a broker.

    Attributes:
        url: as kombu writes it, without options.
        use_ssl: ``broker_use_ssl``, in the words of the transport; `None` without TLS.
    """

    url: str
    use_ssl: dict[str, object] | None


def broker_beside_redis(redis_address: str) -> str:
    """The address of the next database of a Redis: messages and leases apart from each other."""
    parts = urlsplit(redis_address)
    options = dict(parse_qsl(parts.query))
    path = parts.path if parts.scheme == "unix" else ""
    database = int(options.pop("db", None) or (parts.path[1:] if not path else "") or 0)
    beside = f"db={(database + 1) % _REDIS_DATABASES}"
    kept = [f"{name}={quote(value, safe='')}" for name, value in options.items()]
    return f"{parts.scheme}://{parts.netloc}{path}?" + "&".join([beside, *kept])


def broker_arguments(address: str) -> BrokerArguments:
    """Take apart an address that `checked_broker_url` passed.

    Of Redis's options only the database, the login and the certificates are a broker's; time-outs
    are Celery's own settings.
    """
    parts = urlsplit(address)
    options = dict(parse_qsl(parts.query))
    name = parts.username or quote(options.get("username", ""), safe="")
    password = parts.password or quote(options.get("password", ""), safe="")
    login = f"{name}:{password}@" if name or password else ""
    host = parts.netloc.rpartition("@")[2]
    database = options.get("db") or (parts.path[1:] if parts.scheme != "unix" else "") or "0"
    if parts.scheme == "unix":
        path = unquote(parts.path)
        return BrokerArguments(f"redis+socket://{login}{path}?virtual_host={database}", None)
    if parts.scheme in REDIS_OPTIONS:
        tls = _tls(options, prefix="ssl_") if parts.scheme == "rediss" else None
        return BrokerArguments(f"{parts.scheme}://{login}{host}/{database}", tls)
    tls = {**_tls(options, prefix=""), "server_hostname": None} if parts.scheme == "amqps" else None
    return BrokerArguments(f"{parts.scheme}://{login}{host}{parts.path}", tls)


def _tls(options: Mapping[str, str], *, prefix: str) -> dict[str, object]:
    """The certificates among a broker's options; whoever does not say so is verified."""
    given: dict[str, object] = {
        f"{prefix}{name.removeprefix('ssl_')}": value
        for name, value in options.items()
        if name in _REDIS_TLS_OPTIONS
    }
    asked = options.get("ssl_cert_reqs", "required")
    given[f"{prefix}cert_reqs"] = _VERIFY[asked]
    if "ssl_check_hostname" in options:
        given[f"{prefix}check_hostname"] = options["ssl_check_hostname"] in {"true", "yes", "1"}
    return given


def _refuse_path(scheme: str, parts: SplitResult) -> None:
    database = parts.path.removeprefix("/")
    if scheme == "unix" and not database:
        raise ValueError("a Redis address with unix:// has the socket's path")
    if scheme != "unix" and database and not (database.isascii() and database.isdigit()):
        raise ValueError("the path of a Redis address is the number of a database, such as /0")


def _refuse_hosts(url: URL) -> None:
    try:
        _, arguments = url.get_dialect()().create_connect_args(url)
        ports = [*_as_list(arguments.get("port")), url.port]
    except (ArgumentError, ValueError, TypeError):
        raise ValueError("the hosts of the address cannot be told apart") from None
    if not all(port is None or 1 <= int(port) <= _LARGEST_PORT for port in ports):
        raise ValueError(f"a port is a number from 1 to {_LARGEST_PORT:,}")


def _as_list(value: Any) -> list[Any]:  # noqa: ANN401 - one port or several, text or number
    return value if isinstance(value, list) else [value]


def _single(options: Iterable[tuple[str, str | tuple[str, ...]]]) -> dict[str, str]:
    """Options by name; hosts and ports may be several, each other option is there once."""
    pairs = (
        (key, value)
        for key, values in options
        for value in ([values] if isinstance(values, str) else values)
    )
    return _each_once(pairs, but=("host", "port"))


def _each_once(pairs: Iterable[tuple[str, str]], but: tuple[str, ...] = ()) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in pairs:
        if key in found and key not in but:
            raise ValueError(f"the option {_shown(key)} is there twice")
        found[key] = value
    return found


def _refuse_options(
    given: Mapping[str, str], known: Mapping[str, _Fault], elsewhere: Mapping[str, str]
) -> None:
    for name, value in given.items():
        if name not in known:
            raise ValueError(_unknown_option(name, known, elsewhere))
        if fault := known[name](value):
            raise ValueError(f"the option {name} {fault}")


def _unknown_option(name: str, known: Iterable[str], elsewhere: Mapping[str, str]) -> str:
    if name in elsewhere:
        return f"the address cannot have the option {name}: {elsewhere[name]}"
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
    return f"{_shown(name)} is not an option of the address; {hint}"


def _shown(name: str) -> str:
    """An option's name, where it can be one and nothing that should not be shown."""
    return (
        name
        if len(name) <= _LONGEST_NAME and name.isidentifier()
        else "what follows the question mark"
    )


def _other_database(backend: str, driver: str) -> str:
    if backend == "sqlite":
        return (
            "SQLite is not supported: it drops FOR UPDATE in silence, so that two workers could "
            "pay the same claim; use postgresql://, or leave the variable out for the embedded one"
        )
    return f"{driver}:// is not supported; use postgresql:// or postgresql+asyncpg://"
