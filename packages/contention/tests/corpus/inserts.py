"""Rows that exist once, rows that refer to others, and those who make them at the same time."""

from .drivers import Program
from .machine import Machine, UniqueViolationError
from .scenario import Scenario, Truth, holds

ORDERS = "CREATE TABLE orders (item text)"
UNIQUE_ORDERS = "CREATE TABLE orders (item text PRIMARY KEY)"
COUNTERS = "CREATE TABLE counters (name text PRIMARY KEY, amount int NOT NULL)"
FAMILY = """
    CREATE TABLE parents (
        id int PRIMARY KEY, children int NOT NULL DEFAULT 0, is_closed bool NOT NULL DEFAULT false
    );
    CREATE TABLE children (name text PRIMARY KEY, parent int NOT NULL REFERENCES parents);
    INSERT INTO parents VALUES (1)
    """
CUSTOMERS = """
    CREATE TABLE customers (name text PRIMARY KEY);
    CREATE TABLE orders (item text PRIMARY KEY, customer text NOT NULL REFERENCES customers)
    """
ONE_ORDER = holds("SELECT count(*) = 1 FROM orders")
BOTH_ORDERS = holds("SELECT count(*) = 2 FROM orders")
CLOSED_MEANS_EMPTY = holds(
    "SELECT NOT (is_closed AND EXISTS (SELECT FROM children)) FROM parents WHERE id = 1"
)


async def order_if_there_is_none(machine: Machine) -> None:
    async with machine.transaction():
        if not await machine.value("SELECT count(*) FROM orders"):
            await machine.execute("INSERT INTO orders VALUES ('tea')")


async def order_unless_refused(machine: Machine) -> None:
    try:
        await order_if_there_is_none(machine)
    except UniqueViolationError:
        return


def insert_each(*items: str, on_conflict: str = "") -> Program:
    async def insert(machine: Machine) -> None:
        async with machine.transaction():
            for item in items:
                await machine.execute(f"INSERT INTO orders VALUES ($1) {on_conflict}", item)

    return insert


async def count_from_a_read(machine: Machine) -> None:
    async with machine.transaction():
        amount = await machine.value("SELECT amount FROM counters WHERE name = 'visits'")
        await machine.execute(
            "INSERT INTO counters VALUES ('visits', $1) "
            "ON CONFLICT (name) DO UPDATE SET amount = EXCLUDED.amount",
            (amount or 0) + 1,
        )


async def count_in_place(machine: Machine) -> None:
    async with machine.transaction():
        await machine.execute(
            "INSERT INTO counters VALUES ('visits', 1) "
            "ON CONFLICT (name) DO UPDATE SET amount = counters.amount + 1"
        )


def get_or_create(*, looks_again: bool) -> Program:
    find = "SELECT item FROM orders WHERE item = 'tea'"
    create = "INSERT INTO orders VALUES ('tea') ON CONFLICT DO NOTHING RETURNING item"

    async def work(machine: Machine) -> object:
        async with machine.transaction():
            found = await machine.value(find) or await machine.value(create)
            if found is None and looks_again:
                found = await machine.value(find)
        return found

    return work


def child_and_lock(name: str, *, mode: str, locks_first: bool = False) -> Program:
    """Insert a child, and lock its parent for counting it."""

    async def work(machine: Machine) -> None:
        lock = f"SELECT children FROM parents WHERE id = 1 FOR {mode}"
        async with machine.transaction():
            if locks_first:
                await machine.execute(lock)
            await machine.execute("INSERT INTO children VALUES ($1, 1)", name)
            if not locks_first:
                await machine.execute(lock)
            await machine.execute("UPDATE parents SET children = children + 1 WHERE id = 1")

    return work


async def count_children(machine: Machine) -> None:
    async with machine.transaction():
        await machine.execute("SELECT id FROM parents WHERE id = 1 FOR UPDATE")
        count = await machine.value("SELECT count(*) FROM children WHERE parent = 1")
        await machine.execute("UPDATE parents SET children = $1 WHERE id = 1", count)


async def add_child(machine: Machine) -> None:
    async with machine.transaction():
        await machine.execute("INSERT INTO children VALUES ('Ada', 1)")


def close_if_empty(*, locks: bool) -> Program:
    async def work(machine: Machine) -> None:
        async with machine.transaction():
            if locks:
                await machine.execute("SELECT id FROM parents WHERE id = 1 FOR UPDATE")
            if not await machine.value("SELECT count(*) FROM children WHERE parent = 1"):
                await machine.execute("UPDATE parents SET is_closed = true WHERE id = 1")

    return work


def add_child_if_open(*, locks: bool) -> Program:
    async def work(machine: Machine) -> None:
        mode = "FOR SHARE" if locks else ""
        async with machine.transaction():
            if not await machine.value(f"SELECT is_closed FROM parents WHERE id = 1 {mode}"):
                await machine.execute("INSERT INTO children VALUES ('Ada', 1)")

    return work


def order_as_new_customer(item: str) -> Program:
    async def work(machine: Machine) -> None:
        try:
            async with machine.transaction():
                if not await machine.value("SELECT count(*) FROM customers"):
                    await machine.execute("INSERT INTO customers VALUES ('Ada')")
                await machine.execute("INSERT INTO orders VALUES ($1, 'Ada')", item)
        except UniqueViolationError:
            return

    return work


def order_as_any_customer(item: str) -> Program:
    async def work(machine: Machine) -> None:
        async with machine.transaction():
            await machine.execute("INSERT INTO customers VALUES ('Ada') ON CONFLICT DO NOTHING")
            await machine.execute("INSERT INTO orders VALUES ($1, 'Ada')", item)

    return work


SCENARIOS = (
    Scenario(
        "look before you insert",
        Truth.BREAKS,
        "1 2 1 1 2 2",
        (order_if_there_is_none,) * 2,
        ORDERS,
        invariant=ONE_ORDER,
    ),
    Scenario(
        "look before you insert, a unique key, its error handled",
        Truth.HOLDS,
        "1 2 1 2* 1",
        (order_unless_refused,) * 2,
        UNIQUE_ORDERS,
        invariant=ONE_ORDER,
    ),
    Scenario(
        "look before you insert, a unique key, its error not handled",
        Truth.BREAKS,
        "1 2 1 2* 1",
        (order_if_there_is_none,) * 2,
        UNIQUE_ORDERS,
        invariant=ONE_ORDER,
    ),
    Scenario(
        "the same keys inserted in opposite order",
        Truth.DEADLOCKS,
        "1 2 1* 2",
        (
            insert_each("milk", "tea", on_conflict="ON CONFLICT DO NOTHING"),
            insert_each("tea", "milk", on_conflict="ON CONFLICT DO NOTHING"),
        ),
        UNIQUE_ORDERS,
    ),
    Scenario(
        "the same keys inserted in the same order",
        Truth.HOLDS,
        "1 2* 1 1",
        (insert_each("milk", "tea", on_conflict="ON CONFLICT DO NOTHING"),) * 2,
        UNIQUE_ORDERS,
    ),
    Scenario(
        "ON CONFLICT DO UPDATE to what was counted before",
        Truth.BREAKS,
        "1 2 1 1 2 2",
        (count_from_a_read,) * 2,
        COUNTERS,
    ),
    Scenario(
        "ON CONFLICT DO UPDATE that counts in place",
        Truth.HOLDS,
        "1 2* 1",
        (count_in_place,) * 2,
        COUNTERS,
    ),
    Scenario(
        "DO NOTHING whose missing row is taken for nothing",
        Truth.BREAKS,
        "1 2 1 2* 1",
        (get_or_create(looks_again=False),) * 2,
        UNIQUE_ORDERS,
    ),
    Scenario(
        "DO NOTHING whose missing row is looked for again",
        Truth.HOLDS,
        "1 2 1 2* 1",
        (get_or_create(looks_again=True),) * 2,
        UNIQUE_ORDERS,
    ),
    Scenario(
        "two children, then their parent FOR UPDATE",
        Truth.DEADLOCKS,
        "1 2 1* 2",
        (child_and_lock("Ada", mode="UPDATE"), child_and_lock("Bob", mode="UPDATE")),
        FAMILY,
    ),
    Scenario(
        "two children, then their parent FOR NO KEY UPDATE",
        Truth.HOLDS,
        "1 2 1 2* 1 1",
        (child_and_lock("Ada", mode="NO KEY UPDATE"), child_and_lock("Bob", mode="NO KEY UPDATE")),
        FAMILY,
    ),
    Scenario(
        "the parent FOR UPDATE, then two children",
        Truth.HOLDS,
        "1 2* 1 1 1",
        (
            child_and_lock("Ada", mode="UPDATE", locks_first=True),
            child_and_lock("Bob", mode="UPDATE", locks_first=True),
        ),
        FAMILY,
    ),
    Scenario(
        "a parent FOR UPDATE against the insert of a child",
        Truth.HOLDS,
        "1 2* 1 1 1",
        (count_children, add_child),
        FAMILY,
    ),
    Scenario(
        "a parent closed while a child comes",
        Truth.BREAKS,
        "1 2 1 1 2 2",
        (close_if_empty(locks=False), add_child_if_open(locks=False)),
        FAMILY,
        invariant=CLOSED_MEANS_EMPTY,
    ),
    Scenario(
        "a parent locked while a child comes",
        Truth.HOLDS,
        "1 2* 1 1 1",
        (close_if_empty(locks=True), add_child_if_open(locks=True)),
        FAMILY,
        invariant=CLOSED_MEANS_EMPTY,
    ),
    Scenario(
        "a unique violation swallowed, and the order with it",
        Truth.BREAKS,
        "1 2 1 2* 1 1",
        (order_as_new_customer("milk"), order_as_new_customer("tea")),
        CUSTOMERS,
        invariant=BOTH_ORDERS,
    ),
    Scenario(
        "a customer who may exist already",
        Truth.HOLDS,
        "1 2* 1 1",
        (order_as_any_customer("milk"), order_as_any_customer("tea")),
        CUSTOMERS,
        invariant=BOTH_ORDERS,
    ),
)
