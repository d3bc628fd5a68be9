"""Work across Redis and PostgreSQL: leases, caches, stock in one and orders in the other."""

from .drivers import Program
from .inserts import ONE_ORDER, ORDERS, order_if_there_is_none
from .machine import Machine, UniqueViolationError
from .scenario import Scenario, Truth
from .updates import ACCOUNTS, READ, WRITE, read_and_write

GOODS = (
    "CREATE TABLE goods (id int PRIMARY KEY, price int NOT NULL); INSERT INTO goods VALUES (1, 0)"
)
BUYERS = "CREATE TABLE orders (buyer text PRIMARY KEY)"


async def order_under_a_lock(machine: Machine) -> None:
    async with machine.keys.lock("orders"):
        await order_if_there_is_none(machine)


async def commit_after_the_lock(machine: Machine) -> None:
    async with machine.transaction(), machine.keys.lock("accounts"):
        amount = await machine.value(READ)
        await machine.execute(WRITE, amount + 1)


def add_under_a_lease(read: str) -> Program:
    async def work(machine: Machine) -> None:
        async with machine.keys.lock("accounts", lease_seconds=60):
            await read_and_write(read)(machine)

    return work


def change_price(price: int, *, caches_in_the_transaction: bool) -> Program:
    async def work(machine: Machine) -> None:
        async with machine.transaction():
            await machine.execute("UPDATE goods SET price = $1 WHERE id = 1", price)
            if caches_in_the_transaction:
                await machine.keys.set("price", price)
        if not caches_in_the_transaction:
            await machine.keys.set("price", price)

    return work


def reserve_then_order(*, gives_back: bool) -> Program:
    async def work(machine: Machine) -> None:
        if await machine.value("SELECT count(*) FROM orders"):
            return
        await machine.keys.add("stock", -1)
        try:
            await machine.execute("INSERT INTO orders VALUES ('Ada')")
        except UniqueViolationError:
            if gives_back:
                await machine.keys.add("stock", 1)

    return work


def order_then_take(buyer: str) -> Program:
    async def work(machine: Machine) -> None:
        if int(await machine.keys.get("stock") or 0) > 0:
            await machine.execute("INSERT INTO orders VALUES ($1)", buyer)
            await machine.keys.add("stock", -1)

    return work


def take_then_order(buyer: str) -> Program:
    async def work(machine: Machine) -> None:
        if await machine.keys.add("stock", -1) < 0:
            await machine.keys.add("stock", 1)
        else:
            await machine.execute("INSERT INTO orders VALUES ($1)", buyer)

    return work


async def stock_and_orders_agree(machine: Machine) -> None:
    left = int(await machine.keys.get("stock") or 0)
    orders = await machine.value("SELECT count(*) FROM orders")
    assert left >= 0, f"{-left} were sold that are not there"
    assert left + orders == 1, f"{left} are left after {orders} orders"


SCENARIOS = (
    Scenario(
        "look before you insert, under a lock in Redis",
        Truth.HOLDS,
        "1 2* 1 1 1 1",
        (order_under_a_lock,) * 2,
        ORDERS,
        invariant=ONE_ORDER,
    ),
    Scenario(
        "a lock in Redis released before the commit",
        Truth.BREAKS,
        "1 1 1 1 2 2 1 2 2 2",
        (commit_after_the_lock,) * 2,
        ACCOUNTS,
    ),
    Scenario(
        "a lease shorter than the work",
        Truth.BREAKS,
        "1 1 ! 2 2 2 2 2 1 1 1",
        (add_under_a_lease(READ),) * 2,
        ACCOUNTS,
    ),
    Scenario(
        "a lease shorter than the work, with a row lock beneath",
        Truth.HOLDS,
        "1 1 ! 2 2* 1 1",
        (add_under_a_lease(f"{READ} FOR UPDATE"),) * 2,
        ACCOUNTS,
        is_long=True,
    ),
    Scenario(
        "a cache written after the commit",
        Truth.BREAKS,
        "1 1 2 2 2 1",
        (
            change_price(1, caches_in_the_transaction=False),
            change_price(2, caches_in_the_transaction=False),
        ),
        GOODS,
    ),
    Scenario(
        "a cache written under the row lock",
        Truth.HOLDS,
        "1 2* 1 1",
        (
            change_price(1, caches_in_the_transaction=True),
            change_price(2, caches_in_the_transaction=True),
        ),
        GOODS,
    ),
    Scenario(
        "stock taken in Redis, the order refused, nothing given back",
        Truth.BREAKS,
        "1 2 1 2 1 2",
        (reserve_then_order(gives_back=False),) * 2,
        BUYERS,
        {"stock": 1},
        invariant=stock_and_orders_agree,
    ),
    Scenario(
        "stock taken in Redis, the order refused, the stock given back",
        Truth.HOLDS,
        "1 2 1 2 1 2 2",
        (reserve_then_order(gives_back=True),) * 2,
        BUYERS,
        {"stock": 1},
        invariant=stock_and_orders_agree,
    ),
    Scenario(
        "the order first, then the stock in Redis",
        Truth.BREAKS,
        "1 2 1 2 1 2",
        (order_then_take("Ada"), order_then_take("Bob")),
        BUYERS,
        {"stock": 1},
        invariant=stock_and_orders_agree,
    ),
    Scenario(
        "the stock in Redis first, then the order",
        Truth.HOLDS,
        "1 2 1 2",
        (take_then_order("Ada"), take_then_order("Bob")),
        BUYERS,
        {"stock": 1},
        invariant=stock_and_orders_agree,
    ),
)
