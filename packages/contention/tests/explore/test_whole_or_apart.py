"""A statement that is its own transaction is one step only where nobody could tell."""

from random import Random

import pytest

from contention.wire.lessons import Lessons
from contention.wire.servers import Servers

from .random_programs import ROW_STATEMENTS, TABLE_STATEMENTS, Ends, Script, ends_of, with_rows

OF_ONE_ROW = (
    "SELECT amount FROM accounts WHERE id = {row} FOR UPDATE",
    "UPDATE accounts SET amount = amount * 2 + 1 WHERE id = {row}",
    "UPDATE accounts SET amount = amount - 10 WHERE id = {row} AND amount > 10",
    "DELETE FROM accounts WHERE id = {row}",
    "INSERT INTO accounts VALUES ({row}, 5) ON CONFLICT DO NOTHING",
    "INSERT INTO accounts VALUES ({row} + 10, 5)",
)
ANY = (
    *ROW_STATEMENTS,
    *(one for one in TABLE_STATEMENTS if not one.startswith("LOCK")),
    "INSERT INTO notes SELECT 'first' WHERE NOT EXISTS (SELECT FROM notes)",
    "UPDATE accounts SET amount = 0 WHERE id = (SELECT min(id) FROM accounts WHERE amount > 9)",
)


def random_scripts(seed: int) -> list[Script]:
    """Two workers, of whom the first never begins a transaction."""
    random = Random(seed)  # noqa: S311 - repeatable, not secret
    choice = OF_ONE_ROW if seed % 3 == 0 else ANY
    statements = [
        with_rows(random, [random.choice(choice) for _ in range(random.choice((1, 2)))])
        for _ in range(2)
    ]
    return [
        Script(statements[0], is_transaction=False),
        Script(statements[1], is_transaction=random.random() < 0.5),
    ]


async def ends_with_all_apart(
    servers: Servers, scripts: list[Script], monkeypatch: pytest.MonkeyPatch
) -> Ends:
    with monkeypatch.context() as everywhere:
        everywhere.setattr(Lessons, "ends_apart", property(lambda _: True))
        return await ends_of(servers, scripts, is_reduced=True)


@pytest.mark.prove
@pytest.mark.parametrize("seed", range(60))
async def test_no_end_is_lost_by_leaving_statements_whole(
    servers: Servers, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = random_scripts(seed)
    apart = await ends_with_all_apart(servers, scripts, monkeypatch)
    found = await ends_of(servers, scripts, is_reduced=True)
    assert found.found == apart.found, "\n".join(map(str, scripts))
