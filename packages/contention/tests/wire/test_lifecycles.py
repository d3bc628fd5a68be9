from collections.abc import Mapping
from enum import StrEnum

import pytest

from contention.wire import postgres_lifecycle as postgres
from contention.wire import redis_lifecycle as redis

TABLES: list[tuple[Mapping[StrEnum, Mapping[str, StrEnum]], StrEnum, set[StrEnum]]] = [
    (postgres.CLIENT_TABLE, postgres.ClientState.STARTING, set()),  # type: ignore[list-item]
    (redis.CLIENT_TABLE, redis.ClientState.COMMANDS, set()),  # type: ignore[list-item]
]


@pytest.mark.parametrize(("table", "start", "ends"), TABLES)
def test_every_state_of_a_client_has_a_row_and_can_be_reached(
    table: Mapping[StrEnum, Mapping[str, StrEnum]], start: StrEnum, ends: set[StrEnum]
) -> None:
    reached, found = {start}, [start]
    while found:
        for following in table[found.pop()].values():
            if following not in reached:
                reached.add(following)
                found.append(following)
    assert reached == set(type(start)) == set(table) | ends


def test_every_reply_state_has_a_row_except_the_end() -> None:
    assert set(postgres.REPLY_TABLE) == set(postgres.ReplyState) - {postgres.ReplyState.DONE}
    assert set(redis.SERVER_TABLE) == set(redis.ServerState) - {redis.ServerState.DONE}


def test_every_letter_in_a_table_has_a_name() -> None:
    letters = {
        letter.removesuffix(postgres.FOR_EXECUTE)
        for state, row in postgres.CLIENT_TABLE.items()
        if state is not postgres.ClientState.STARTING
        for letter in row
    }
    assert letters - {postgres.COPY_IS_OVER} == set(postgres.CLIENT_MESSAGES)
    answers = {letter for row in postgres.REPLY_TABLE.values() for letter in row}
    assert answers | postgres.ANY_TIME == set(postgres.SERVER_MESSAGES)


def test_every_refused_command_has_its_reason() -> None:
    assert set(redis.REFUSALS) <= redis.NEVER_OTHER
    assert all(redis.REFUSALS.values())
