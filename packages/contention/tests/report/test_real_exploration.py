"""The report of a search on real servers."""

import json
from pathlib import Path

import asyncpg
import pytest

from contention.explore import PromiseBrokenError, explore
from contention.model.schedules import Schedule
from contention.report.picture import Picture
from contention.report.write import write_report
from contention.schedulers.replay import ReplayScheduler
from contention.search.exploration import Exploration
from contention.wire.servers import Links, Servers


async def two_accounts(links: Links) -> None:
    connection = await asyncpg.connect(links.postgres_url)
    await connection.execute("CREATE TABLE accounts (id int PRIMARY KEY, amount int NOT NULL)")
    await connection.execute("INSERT INTO accounts VALUES (1, 0), (2, 0)")
    await connection.close()


async def add(links: Links, *accounts: int) -> None:
    connection = await asyncpg.connect(links.postgres_url)
    try:
        async with connection.transaction():
            for account in accounts:
                await connection.execute(
                    "UPDATE accounts SET amount = amount + 1 WHERE id = $1", account
                )
    finally:
        await connection.close()


async def upwards(links: Links) -> None:
    await add(links, 1, 2)


async def downwards(links: Links) -> None:
    await add(links, 2, 1)


async def found_on(servers: Servers, replay: Schedule | None = None) -> Exploration:
    scheduler = ReplayScheduler(replay) if replay else None
    with pytest.raises(PromiseBrokenError) as broken:
        await explore(upwards, downwards, setup=two_accounts, servers=servers, scheduler=scheduler)
    return broken.value.exploration


async def test_a_real_deadlock_is_drawn_and_its_document_replays_it(
    servers: Servers, tmp_path: Path
) -> None:
    found = await found_on(servers)
    assert found.counterexample is not None
    (circle,) = Picture.of(found.counterexample).circles
    assert (circle.actors, circle.is_deadlock) == (("w1", "w2"), True)
    page = write_report(found, tmp_path / "deadlock.html").read_text("utf-8")
    assert "deadlock: w1 waits for w2, w2 waits for w1" in page
    assert "(row of accounts, held since step" in page
    document = json.loads(write_report(found, tmp_path / "deadlock.json").read_text("utf-8"))
    token = Schedule.from_token(document["counterexample"]["token"])
    again = await found_on(servers, token)
    assert again.counterexample is not None
    assert [step.text for step in again.counterexample.steps] == [
        step["text"] for step in document["counterexample"]["steps"]
    ]
