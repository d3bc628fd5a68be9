"""Without an invariant, a run must end as some serial order of its workers ends."""

import pytest
from redis.asyncio import Redis

from contention.explore import Exploration, NotGreenError, explore
from contention.model.verdicts import VerdictKind
from contention.wire.outcome_reader import UnknownNameError
from contention.wire.servers import Links, Servers

from .programs import Program, add_one, add_one_locked, database, two_accounts


class OutOfStockError(Exception):
    """A worker of these tests found nothing to sell."""


async def shop(links: Links) -> None:
    async with database(links) as connection:
        await connection.execute(
            """
            CREATE TABLE stock (item text PRIMARY KEY, amount int NOT NULL);
            INSERT INTO stock VALUES ('tea', 1);
            CREATE TABLE orders (
                id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                code uuid NOT NULL DEFAULT gen_random_uuid(),
                ordered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
                buyer text NOT NULL
            );
            CREATE TABLE items (order_id int NOT NULL REFERENCES orders, item text NOT NULL);
            """
        )


def order_as(buyer: str) -> Program:
    async def work(links: Links) -> object:
        async with database(links) as connection, connection.transaction():
            number = await connection.fetchval(
                "INSERT INTO orders (buyer) VALUES ($1) RETURNING id", buyer
            )
            await connection.execute("INSERT INTO items VALUES ($1, $2)", number, f"for {buyer}")
        return number

    return work


async def count_then_order(links: Links) -> object:
    async with database(links) as connection:
        before = await connection.fetchval("SELECT count(*) FROM orders")
        await connection.execute("INSERT INTO orders (buyer) VALUES ('somebody')")
    return f"{before} before me"


def buy_tea(*, leaves_a_trace: bool) -> Program:
    async def work(links: Links) -> None:
        async with database(links) as connection:
            if leaves_a_trace:
                await connection.execute("INSERT INTO items SELECT max(id), 'asked' FROM orders")
            sold = await connection.execute(
                "UPDATE stock SET amount = amount - 1 WHERE item = 'tea' AND amount > 0"
            )
            if sold == "UPDATE 0":
                raise OutOfStockError

    return work


async def shop_with_an_order(links: Links) -> None:
    await shop(links)
    async with database(links) as connection:
        await connection.execute("INSERT INTO orders (buyer) VALUES ('the first')")


async def count_in_redis(links: Links) -> None:
    client = Redis.from_url(links.redis_url)
    found = await client.get("visits")
    await client.set("visits", int(found or 0) + 1)
    await client.aclose()


async def of(servers: Servers, *workers: Program, setup: Program, **options: object) -> Exploration:
    try:
        return await explore(*workers, setup=setup, servers=servers, **options)  # type: ignore[arg-type]
    except NotGreenError as failed:
        return failed.exploration


async def test_a_lost_update_ends_like_no_serial_order(servers: Servers) -> None:
    found = await of(servers, add_one, add_one, setup=two_accounts)
    assert found.verdict.kind is VerdictKind.ILLEGAL
    assert "w1, then w2 would have left (1, 2), (2, 0) in accounts instead of (1, 1), (2, 0)" in (
        found.verdict.reason
    )


async def test_with_the_row_lock_it_ends_like_one(servers: Servers) -> None:
    found = await of(servers, add_one_locked, add_one_locked, setup=two_accounts)
    assert found.verdict.kind is VerdictKind.LEGAL


async def test_generated_values_and_what_refers_to_them_only_have_other_names(
    servers: Servers,
) -> None:
    found = await of(servers, order_as("Ann"), order_as("Bob"), setup=shop)
    assert found.verdict.kind is VerdictKind.LEGAL
    assert found.schedules > 1


async def test_a_returned_value_that_no_serial_order_returns_is_wrong(servers: Servers) -> None:
    found = await of(servers, count_then_order, count_then_order, setup=shop)
    assert found.verdict.kind is VerdictKind.ILLEGAL
    assert "'1 before me' instead of '0 before me'" in found.verdict.reason


async def test_whoever_raises_what_it_may_counts_as_absent(servers: Servers) -> None:
    workers = [buy_tea(leaves_a_trace=False)] * 2
    found = await of(servers, *workers, setup=shop, may_raise=OutOfStockError)
    assert found.verdict.kind is VerdictKind.LEGAL
    unnamed = await of(servers, *workers, setup=shop)
    assert "raised OutOfStockError" in unnamed.verdict.reason


async def test_whoever_is_absent_and_left_something_is_found(servers: Servers) -> None:
    workers = [buy_tea(leaves_a_trace=True)] * 2
    found = await of(servers, *workers, setup=shop_with_an_order, may_raise=OutOfStockError)
    assert found.verdict.kind is VerdictKind.ILLEGAL
    assert "(…, asked) in items instead of (…, asked), (…, asked)" in found.verdict.reason


async def test_keys_are_compared_and_can_be_left_out(servers: Servers) -> None:
    found = await of(servers, count_in_redis, count_in_redis, setup=two_accounts)
    assert "in key visits" in found.verdict.reason
    ignoring = await of(
        servers, count_in_redis, count_in_redis, setup=two_accounts, leave_out=["redis vis*"]
    )
    assert ignoring.verdict.kind is VerdictKind.LEGAL


async def test_columns_and_tables_can_be_left_out_by_their_names_alone(servers: Servers) -> None:
    for name in ("accounts.amount", "public.accounts", "accounts"):
        found = await of(servers, add_one, add_one, setup=two_accounts, leave_out=[name])
        assert found.verdict.kind is VerdictKind.LEGAL
    with pytest.raises(UnknownNameError, match=r"no table or column accounts\.balance"):
        await of(servers, add_one, add_one, setup=two_accounts, leave_out=["accounts.balance"])


def make_a_table_as(buyer: str) -> Program:
    """In a table's name is how many had ordered before."""

    async def work(links: Links) -> None:
        async with database(links) as connection:
            before = await connection.fetchval("SELECT count(*) FROM orders")
            await connection.execute("INSERT INTO orders (buyer) VALUES ('somebody')")
            await connection.execute(f"CREATE TABLE {buyer}_after_{before} (id int)")

    return work


async def test_tables_that_a_run_has_made_are_compared(servers: Servers) -> None:
    found = await of(servers, make_a_table_as("anna"), make_a_table_as("bert"), setup=shop)
    assert found.verdict.kind is VerdictKind.ILLEGAL
    assert "_after_0" in found.verdict.reason
