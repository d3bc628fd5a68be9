"""A server that looks for deadlocks later than it says is waited for: the circle will be broken."""

from contention.model.schedules import Choice, Schedule
from contention.model.verdicts import VerdictKind
from contention.schedulers.replay import ReplayScheduler
from contention.wire.servers import Links, Servers

from .programs import Program, accounts_hold, database, found_by, two_accounts

IN_A_CIRCLE = Schedule(tuple(map(Choice, ("w1", "w2", "w1", "w2"))))


def add_to_both(first: int, second: int, looks_after: str) -> Program:
    """Of its own wait the server looks later for a deadlock than the kit's session is told."""

    async def work(links: Links) -> None:
        async with database(links) as connection:
            await connection.execute(f"SET deadlock_timeout = '{looks_after}'")
            async with connection.transaction():
                for account in (first, second):
                    await connection.execute(
                        "UPDATE accounts SET amount = amount + 1 WHERE id = $1", account
                    )

    return work


async def test_a_circle_that_is_not_broken_yet_is_no_rest(servers: Servers) -> None:
    found = await found_by(
        servers,
        add_to_both(1, 2, looks_after="1h"),
        add_to_both(2, 1, looks_after="300ms"),
        setup=two_accounts,
        invariant=accounts_hold(4),
        scheduler=ReplayScheduler(IN_A_CIRCLE),
    )
    assert found.verdict.kind is VerdictKind.ILLEGAL
    assert found.verdict.reason.startswith("w2 raised DeadlockDetectedError"), found.verdict.reason
