"""The settings: what the environment may say, and what it is told when it says something else."""

import os
from pathlib import Path

import pytest
from platformdirs import user_data_path
from pydantic import ValidationError

from claimwright.domain.errors import InvalidInputError
from claimwright.settings import (
    STATEMENTS_PER_TRANSACTION,
    Settings,
    default_data_folder,
    load_settings,
    refuse_private_home,
)

SECRET = "correct-horse"  # noqa: S105 - what must never show


def refusal(**environ: str) -> str:
    """What `load_settings` says to an environment of these settings, without their prefix."""
    with pytest.raises(InvalidInputError) as caught:
        load_settings({f"CLAIMWRIGHT_{name}": value for name, value in environ.items()})
    return str(caught.value)


def test_an_empty_environment_means_the_embedded_servers_and_the_documented_numbers() -> None:
    settings = load_settings({})
    numbers = settings.model_dump(exclude={"data_folder"})
    assert numbers == {
        "database_url": None,
        "owner_database_url": None,
        "redis_url": None,
        "broker_url": None,
        "queue": "claimwright",
        "lease_seconds": 120,
        "lease_wait_seconds": 10,
        "redis_patience_ms": 250,
        "require_lease": False,
        "lease_breaker_seconds": 5,
        "pool_size": 20,
        "statement_timeout_ms": 5_000,
        "lock_timeout_ms": 4_000,
        "idle_in_transaction_timeout_ms": 5_000,
        "task_seconds": 300,
        "visibility_seconds": 1_800,
        "work_attempts": 8,
        "retry_wait_seconds": 60,
        "stuck_after_seconds": 600,
        "relay_poll_seconds": 5,
        "relay_batch": 1_000,
        "queue_limit": 1_000,
        "soft_shutdown_seconds": 20,
        "log_format": "text",
        "traces": False,
    }


def test_variables_are_read_by_their_names(tmp_path: Path) -> None:
    settings = load_settings(
        {
            "CLAIMWRIGHT_LEASE_SECONDS": "200",
            "CLAIMWRIGHT_LEASE_WAIT_SECONDS": "0.5",
            "CLAIMWRIGHT_REQUIRE_LEASE": "true",
            "CLAIMWRIGHT_REDIS_URL": "redis://localhost:1/0",
            "CLAIMWRIGHT_DATABASE_URL": "postgresql://localhost/x",
            "CLAIMWRIGHT_DATA_FOLDER": str(tmp_path / "there" / ".." / "here"),
            "PATH": "ignored",
        }
    )
    assert settings.lease_seconds == 200
    assert settings.lease_wait_seconds == 0.5
    assert settings.require_lease is True
    assert settings.data_folder == tmp_path.resolve() / "here"


def test_without_an_argument_the_environment_of_the_process_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CLAIMWRIGHT_POOL_SIZE", "7")
    assert load_settings().pool_size == 7


def test_a_value_constructed_directly_looks_at_no_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CLAIMWRIGHT_POOL_SIZE", "7")
    assert Settings().pool_size == 20


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings({}).pool_size = 3


def test_an_empty_variable_counts_as_unset() -> None:
    assert load_settings({"CLAIMWRIGHT_REDIS_URL": ""}).redis_url is None


def test_an_unknown_variable_is_named_with_the_likely_one() -> None:
    message = refusal(POOLSIZE="3", SOMETHING_ELSE="3")
    assert "CLAIMWRIGHT_POOLSIZE is not a setting; did you mean CLAIMWRIGHT_POOL_SIZE?" in message
    assert "CLAIMWRIGHT_SOMETHING_ELSE is not a setting" in message


def test_variables_of_the_test_suite_are_left_alone() -> None:
    assert load_settings({"CLAIMWRIGHT_TEST_PROFILE": "prove"}) == load_settings({})


def test_every_wrong_variable_is_named_at_once() -> None:
    message = refusal(POOL_SIZE="many", LEASE_WAIT_SECONDS="-1")
    assert "CLAIMWRIGHT_POOL_SIZE: " in message
    assert "CLAIMWRIGHT_LEASE_WAIT_SECONDS: " in message


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("postgresql://u:p@h:5/d", "postgresql+asyncpg://u:p@h:5/d"),
        ("postgresql+asyncpg://u:p%40@h/d", "postgresql+asyncpg://u:p%40@h/d"),
        ("postgresql://u@/d?host=/run", "postgresql+asyncpg://u@/d?host=%2Frun"),
        ("postgresql://u@h/d?sslmode=require", "postgresql+asyncpg://u@h/d?ssl=require"),
    ],
)
def test_database_addresses_become_what_sqlalchemy_wants(given: str, stored: str) -> None:
    settings = load_settings(
        {"CLAIMWRIGHT_DATABASE_URL": given, "CLAIMWRIGHT_OWNER_DATABASE_URL": given}
    )
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == stored
    assert settings.owner_database_url == settings.database_url


def test_sqlite_is_refused_with_the_reason() -> None:
    assert "drops FOR UPDATE in silence" in refusal(DATABASE_URL="sqlite+aiosqlite:///x.db")


@pytest.mark.parametrize(
    "address", ["mysql://h/d", "postgres://h/d", "postgresql+psycopg://h/d", "postgresql", "://"]
)
def test_other_databases_and_drivers_are_refused(address: str) -> None:
    assert "postgresql://" in refusal(DATABASE_URL=address)


@pytest.mark.parametrize("address", ["http://h", "localhost:6379", "amqp://h"])
def test_an_address_that_is_not_of_redis_is_refused(address: str) -> None:
    assert "CLAIMWRIGHT_REDIS_URL: a Redis address begins with redis://" in refusal(
        REDIS_URL=address
    )


def test_migrations_use_the_owners_address_where_there_is_one() -> None:
    application = {"CLAIMWRIGHT_DATABASE_URL": "postgresql://app@h/d"}
    owner = {"CLAIMWRIGHT_OWNER_DATABASE_URL": "postgresql://owner@h/d"}
    alone = load_settings(application)
    assert alone.migration_database_url == alone.database_url
    both = load_settings(application | owner)
    assert both.migration_database_url == both.owner_database_url
    assert load_settings({}).migration_database_url is None


def test_an_owner_of_no_database_is_refused() -> None:
    message = refusal(OWNER_DATABASE_URL="postgresql://owner@h/d")
    assert "CLAIMWRIGHT_DATABASE_URL" in message


def test_no_password_shows_in_a_representation() -> None:
    settings = load_settings(
        {
            "CLAIMWRIGHT_DATABASE_URL": f"postgresql://u:{SECRET}@h/d",
            "CLAIMWRIGHT_OWNER_DATABASE_URL": f"postgresql://o:{SECRET}@h/d",
            "CLAIMWRIGHT_REDIS_URL": f"redis://:{SECRET}@h/0",
            "CLAIMWRIGHT_BROKER_URL": f"amqp://u:{SECRET}@h/v",
        }
    )
    assert (
        SECRET
        not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    )


@pytest.mark.parametrize(
    "environ",
    [
        {"DATABASE_URL": f"mysql://u:{SECRET}@h/d"},
        {"DATABASE_URL": f"postgresql://u:{SECRET}@h:port/d"},
        {"REDIS_URL": f"http://u:{SECRET}@h"},
        {"BROKER_URL": f"http://u:{SECRET}@h"},
        {"BROKER_URL": f"amqp://u:{SECRET}@h:port/v"},
        {"OWNER_DATABASE_URL": f"postgresql://u:{SECRET}@h/d"},
    ],
)
def test_no_password_shows_in_an_error_or_its_cause(environ: dict[str, str]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        load_settings({f"CLAIMWRIGHT_{name}": value for name, value in environ.items()})
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("name", "too_small", "too_large"),
    [
        ("LEASE_SECONDS", "0", "3601"),
        ("LEASE_WAIT_SECONDS", "-0.1", "600.1"),
        ("REDIS_PATIENCE_MS", "0", "10001"),
        ("LEASE_BREAKER_SECONDS", "-1", "601"),
        ("POOL_SIZE", "0", "1001"),
        ("STATEMENT_TIMEOUT_MS", "0", "600001"),
        ("LOCK_TIMEOUT_MS", "0", "600001"),
        ("IDLE_IN_TRANSACTION_TIMEOUT_MS", "0", "600001"),
        ("TASK_SECONDS", "0", "3601"),
        ("VISIBILITY_SECONDS", "0", "86401"),
        ("WORK_ATTEMPTS", "0", "101"),
        ("RETRY_WAIT_SECONDS", "0", "601"),
        ("STUCK_AFTER_SECONDS", "0", "86401"),
        ("RELAY_POLL_SECONDS", "0", "60.1"),
        ("RELAY_BATCH", "0", "10001"),
        ("QUEUE_LIMIT", "0", "1000001"),
        ("SOFT_SHUTDOWN_SECONDS", "-1", "601"),
    ],
)
def test_numbers_have_bounds(name: str, too_small: str, too_large: str) -> None:
    for value in (too_small, too_large, "nan", "inf"):
        assert f"CLAIMWRIGHT_{name}: " in refusal(**{name: value})


def test_a_transaction_must_end_before_its_lease_does() -> None:
    statement_and_pause_seconds = 5 + 5
    longest = STATEMENTS_PER_TRANSACTION * statement_and_pause_seconds
    message = refusal(LEASE_SECONDS=str(longest))
    assert f"must be above the {longest} s a transaction may take" in message
    enough = load_settings({"CLAIMWRIGHT_LEASE_SECONDS": str(longest + 1)})
    assert enough.lease_seconds == longest + 1


def test_a_wait_for_a_lock_must_end_before_its_statement_does() -> None:
    message = refusal(LOCK_TIMEOUT_MS="5000")
    assert "CLAIMWRIGHT_LOCK_TIMEOUT_MS (5000) must be below" in message
    assert load_settings({"CLAIMWRIGHT_LOCK_TIMEOUT_MS": "4999"}).lock_timeout_ms == 4_999


def test_a_task_must_end_before_its_message_is_given_to_another_worker() -> None:
    a_pause_and_two_tasks_seconds = 60 + 2 * 300
    message = refusal(VISIBILITY_SECONDS=str(a_pause_and_two_tasks_seconds))
    assert f"must be above the {a_pause_and_two_tasks_seconds} s a message can be" in message
    enough = {"CLAIMWRIGHT_VISIBILITY_SECONDS": str(a_pause_and_two_tasks_seconds + 1)}
    assert load_settings(enough).visibility_seconds == a_pause_and_two_tasks_seconds + 1


@pytest.mark.parametrize("address", ["http://h", "sqs://h", "amqp", "memory://"])
def test_an_address_of_no_broker_is_refused(address: str) -> None:
    assert "CLAIMWRIGHT_BROKER_URL: a broker's address begins with redis://" in refusal(
        BROKER_URL=address
    )


@pytest.mark.parametrize("queue", ["a queue", "ü", "x" * 101])
def test_a_queue_has_a_name_that_every_broker_takes(queue: str) -> None:
    assert "CLAIMWRIGHT_QUEUE: " in refusal(QUEUE=queue)


def test_roots_private_home_is_refused_for_data() -> None:
    with pytest.raises(ValueError, match="private to root"):
        refuse_private_home(Path("/root/data"), Path("/root"))
    refuse_private_home(Path("/rooted/data"), Path("/root"))
    # Some containers have no home for root but /.
    refuse_private_home(Path("/data"), Path("/"))


def test_root_keeps_data_where_another_account_can_reach_it() -> None:
    assert default_data_folder(is_root=True) == Path("/var/lib/claimwright")
    assert default_data_folder(is_root=False) == user_data_path("claimwright")


@pytest.mark.skipif(os.geteuid() != 0, reason="a private home of root's is no matter to others")
def test_roots_home_is_refused_only_where_embedded_servers_would_use_it() -> None:
    home = str(Path("~root/data").expanduser())
    assert "private to root" in refusal(DATA_FOLDER=home)
    own = {"DATABASE_URL": "postgresql://h/d", "REDIS_URL": "redis://h"}
    environ = {f"CLAIMWRIGHT_{name}": value for name, value in own.items()}
    assert load_settings(environ | {"CLAIMWRIGHT_DATA_FOLDER": home}).data_folder == Path(home)
