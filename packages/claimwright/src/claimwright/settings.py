"""The environment, read once into one frozen value.

Every setting is a variable ``CLAIMWRIGHT_<NAME OF THE FIELD>``. A variable with that prefix that
names no field is an error, so that a typing mistake is never silent; variables that begin with
``CLAIMWRIGHT_TEST_`` belong to the test-suite and are left alone.
"""

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from claimwright.domain.errors import InvalidInputError
from claimwright.server_addresses import checked_broker_url, checked_redis_url, sqlalchemy_url

PREFIX = "CLAIMWRIGHT_"
TEST_PREFIX = "CLAIMWRIGHT_TEST_"

STATEMENTS_PER_TRANSACTION = 8
"""The most statements the engine sends in one transaction; the lease is sized by it."""


class Settings(BaseSettings):
    """How this process runs; valid at birth and never changed.

    Make it with `load_settings`. Constructed directly it takes its arguments and nothing from the
    environment, and raises pydantic's ``ValidationError``. No address shows in its ``repr``.

    Attributes:
        database_url: the application role's PostgreSQL, as ``postgresql+asyncpg://``; None means
            the embedded server.
        owner_database_url: the owner role's address of the same database, which only migrations
            use; None means `database_url`.
        redis_url: ``redis://``, ``rediss://`` or ``unix://``; None means the embedded server.
        broker_url: ``redis://``, ``rediss://``, ``amqp://``, ``amqps://`` or ``unix://``; None
            means the next database of `redis_url`.
        queue: the queue of this database's work; several databases on one broker need several.
        data_folder: where the embedded servers keep their data; absolute.
        lease_seconds: time-out of the lease on one policy and day.
        lease_wait_seconds: how long a calculation waits for a held lease; 0 means not at all.
        redis_patience_ms: the most a calculation loses to a Redis that does not answer.
        require_lease: whether a calculation without a lease is an error.
        lease_breaker_seconds: how long the lease is skipped after Redis did not answer.
        pool_size: connections to PostgreSQL a process keeps.
        statement_timeout_ms: PostgreSQL's ``statement_timeout``.
        lock_timeout_ms: PostgreSQL's ``lock_timeout``, part of a statement's time and below it.
        idle_in_transaction_timeout_ms: PostgreSQL's ``idle_in_transaction_session_timeout``.
        task_seconds: how long a worker's task may take until it is killed; it is asked to end
            after nine tenths of that.
        visibility_seconds: how long Redis keeps a message with a worker that does not answer for
            it before it gives the message to another one.
        work_attempts: how often the same work is begun before it becomes a dead letter.
        retry_wait_seconds: the longest pause before work is begun again; pauses double from one
            second, and are drawn at random below that.
        stuck_after_seconds: work that was handed on or begun so long ago and is still to do is
            handed on again; above `task_seconds`, or work under way is handed on twice.
        relay_poll_seconds: how often the relay looks for work that nobody told it of.
        relay_batch: requests the relay hands on in one transaction.
        queue_limit: the relay waits while so many messages are in the queue.
        soft_shutdown_seconds: how long a worker that is told to quit lets its tasks go on.
        log_format: ``text``, or ``json`` for one document a line; of workers and the relay.
        traces: whether workers and the relay send OpenTelemetry's spans; needs the extra ``otel``,
            and goes where ``OTEL_EXPORTER_OTLP_ENDPOINT`` leads.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_default=True,
    )

    database_url: SecretStr | None = None
    owner_database_url: SecretStr | None = None
    redis_url: SecretStr | None = None
    broker_url: SecretStr | None = None
    queue: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")] = "claimwright"
    data_folder: Path = Field(
        default_factory=lambda: default_data_folder(is_root=running_as_root())
    )
    lease_seconds: Annotated[int, Field(ge=1, le=3_600)] = 120
    lease_wait_seconds: Annotated[float, Field(ge=0, le=600)] = 10
    redis_patience_ms: Annotated[int, Field(ge=1, le=10_000)] = 250
    require_lease: bool = False
    lease_breaker_seconds: Annotated[float, Field(ge=0, le=600)] = 5
    pool_size: Annotated[int, Field(ge=1, le=1_000)] = 20
    statement_timeout_ms: Annotated[int, Field(ge=1, le=600_000)] = 5_000
    lock_timeout_ms: Annotated[int, Field(ge=1, le=600_000)] = 4_000
    idle_in_transaction_timeout_ms: Annotated[int, Field(ge=1, le=600_000)] = 5_000
    task_seconds: Annotated[int, Field(ge=1, le=3_600)] = 300
    visibility_seconds: Annotated[int, Field(ge=1, le=86_400)] = 1_800
    work_attempts: Annotated[int, Field(ge=1, le=100)] = 8
    retry_wait_seconds: Annotated[int, Field(ge=1, le=600)] = 60
    stuck_after_seconds: Annotated[int, Field(ge=1, le=86_400)] = 600
    relay_poll_seconds: Annotated[float, Field(gt=0, le=60)] = 5
    relay_batch: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    queue_limit: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000
    soft_shutdown_seconds: Annotated[int, Field(ge=0, le=600)] = 20
    log_format: Literal["text", "json"] = "text"
    traces: bool = False

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - see above
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - see above
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - see above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take arguments only: `load_settings` is the one place that looks at an environment."""
        return (init_settings,)

    @field_validator("database_url", "owner_database_url")
    @classmethod
    def _speak_asyncpg(cls, address: SecretStr | None) -> SecretStr | None:
        if address is None:
            return None
        return SecretStr(sqlalchemy_url(address.get_secret_value()))

    @field_validator("redis_url")
    @classmethod
    def _speak_redis(cls, address: SecretStr | None) -> SecretStr | None:
        if address is not None:
            checked_redis_url(address.get_secret_value())
        return address

    @field_validator("broker_url")
    @classmethod
    def _speak_to_a_broker(cls, address: SecretStr | None) -> SecretStr | None:
        if address is not None:
            checked_broker_url(address.get_secret_value())
        return address

    @field_validator("data_folder")
    @classmethod
    def _be_absolute(cls, folder: Path) -> Path:
        return folder.expanduser().resolve()

    @model_validator(mode="after")
    def _keep_data_out_of_roots_home(self) -> "Settings":
        embedded = self.database_url is None or self.redis_url is None
        if embedded and running_as_root():
            refuse_private_home(self.data_folder, Path("~root").expanduser())
        return self

    @model_validator(mode="after")
    def _have_one_database(self) -> "Settings":
        if self.owner_database_url is not None and self.database_url is None:
            message = (
                f"{PREFIX}OWNER_DATABASE_URL names the owner of a database that "
                f"{PREFIX}DATABASE_URL does not give; set both, or none for the embedded server"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _let_no_transaction_outlive_its_lease(self) -> "Settings":
        """Bound one transaction: each statement, and each pause after one, may use its time-out.

        ``lock_timeout`` runs inside a statement's time, so that it adds nothing.
        """
        if self.lock_timeout_ms >= self.statement_timeout_ms:
            message = (
                f"{PREFIX}LOCK_TIMEOUT_MS ({self.lock_timeout_ms}) must be below "
                f"{PREFIX}STATEMENT_TIMEOUT_MS ({self.statement_timeout_ms}): otherwise a wait "
                "for a row lock ends as a slow statement"
            )
            raise ValueError(message)
        step_ms = self.statement_timeout_ms + self.idle_in_transaction_timeout_ms
        longest_ms = STATEMENTS_PER_TRANSACTION * step_ms
        if longest_ms >= self.lease_seconds * 1_000:
            message = (
                f"{PREFIX}LEASE_SECONDS ({self.lease_seconds}) must be above the "
                f"{longest_ms / 1_000:g} s a transaction may take: {STATEMENTS_PER_TRANSACTION} "
                f"times {PREFIX}STATEMENT_TIMEOUT_MS + {PREFIX}IDLE_IN_TRANSACTION_TIMEOUT_MS; "
                "otherwise a lease can end while its transaction still runs"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _let_no_task_outlive_its_message(self) -> "Settings":
        """Redis delivers a message again that was with a worker for the visibility time-out.

        At worst a message is with its worker for one pause before a retry, for the whole of the
        task before it, and for its own.
        """
        longest = self.retry_wait_seconds + 2 * self.task_seconds
        if longest >= self.visibility_seconds:
            message = (
                f"{PREFIX}VISIBILITY_SECONDS ({self.visibility_seconds}) must be above the "
                f"{longest} s a message can be with its worker: {PREFIX}RETRY_WAIT_SECONDS + 2 "
                f"times {PREFIX}TASK_SECONDS; otherwise Redis delivers work that is under way "
                "once more"
            )
            raise ValueError(message)
        return self

    @property
    def migration_database_url(self) -> SecretStr | None:
        """The address migrations use: the owner's if there is one; None means embedded."""
        return self.owner_database_url or self.database_url


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from ``environ`` (default: this process's environment).

    An empty variable counts as unset. Call it once, at the edge, and pass the value on.

    Raises:
        InvalidInputError: one sentence for each variable that is unknown or wrong; never a
            variable's value where that may hold a password.
    """
    given = dict(os.environ if environ is None else environ)
    unknown = sorted(_unknown_variables(given))
    if unknown:
        raise InvalidInputError("; ".join(map(_unknown_sentence, unknown)))
    source = EnvSettingsSource(Settings, env_ignore_empty=True)
    source.env_vars = {name.lower(): value for name, value in given.items() if value}
    try:
        return Settings(**source())
    except ValidationError as error:
        sentences = map(_sentence, error.errors(include_url=False, include_input=False))
        # The cause is dropped because it refers to the values, passwords included.
        raise InvalidInputError("; ".join(sentences)) from None


def default_data_folder(*, is_root: bool) -> Path:
    """Return where the embedded servers keep their data unless told otherwise.

    Root has no usable home for this: PostgreSQL refuses to run as root, so its data must lie
    where another system user can reach it.
    """
    return Path("/var/lib/claimwright") if is_root else platformdirs.user_data_path("claimwright")


def running_as_root() -> bool:
    """Whether this process is root; False where there is no such thing."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def refuse_private_home(folder: Path, home: Path) -> None:
    """Raise ValueError if ``folder`` lies in root's own ``home``."""
    if folder.is_relative_to(home) and home != Path("/"):
        message = (
            f"{folder} is inside {home}, which is private to root; as root PostgreSQL runs as "
            "another system user that must be able to reach its data: choose a folder such as "
            "/var/lib/claimwright"
        )
        raise ValueError(message)


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    known = {f"{PREFIX}{field}".upper() for field in Settings.model_fields}
    for name in environ:
        upper = name.upper()
        if upper.startswith(PREFIX) and not upper.startswith(TEST_PREFIX) and upper not in known:
            yield name


def _unknown_sentence(name: str) -> str:
    known = [f"{PREFIX}{field}".upper() for field in Settings.model_fields]
    close = difflib.get_close_matches(name.upper(), known, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"{name} is not a setting{hint}"


def _sentence(problem: ErrorDetails) -> str:
    reason = problem["msg"].removeprefix("Value error, ")
    variable = "".join(f"{PREFIX}{part}".upper() for part in problem["loc"][:1])
    return f"{variable}: {reason}" if variable else reason
