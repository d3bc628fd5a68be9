"""The same small purchases as threads and processes do them, in modules that others can import."""

import time

import psycopg
import redis

from contention.wire.servers import Links

from .programs import READ

_WRITE = "UPDATE accounts SET amount = %s WHERE id = 1"


class ShopClosedError(Exception):
    """An error that a worker raises, and that comes back out of another process."""

    def __init__(self, shop: str) -> None:
        super().__init__(shop)
        self.shop = shop


class UnpicklableError(Exception):
    """An error that does not come back."""

    def __init__(self, shop: str, number: int) -> None:
        super().__init__(f"{shop} {number}")


def add_one(links: Links) -> int:
    with psycopg.connect(links.postgres_url) as connection:
        row = connection.execute(READ).fetchone()
        assert row is not None
        connection.execute(_WRITE, (row[0] + 1,))
    return int(row[0])


def add_one_locked(links: Links) -> None:
    with psycopg.connect(links.postgres_url) as connection:
        row = connection.execute(f"{READ} FOR UPDATE").fetchone()
        assert row is not None
        connection.execute(_WRITE, (row[0] + 1,))


def add_one_under_a_redis_lock(links: Links) -> None:
    client = redis.Redis.from_url(links.redis_url)
    with client.lock("accounts", sleep=0.01):
        add_one(links)
    client.close()


def add_some(links: Links, amount: int) -> int:
    with psycopg.connect(links.postgres_url) as connection:
        connection.execute("UPDATE accounts SET amount = amount + %s WHERE id = 1", (amount,))
    return amount


def close_the_shop(_links: Links) -> None:
    raise ShopClosedError("tea")


def close_the_shop_for_good(_links: Links) -> None:
    raise UnpicklableError("tea", 3)


def sleep_long(_links: Links) -> None:
    time.sleep(3600)


def try_again_for_ever(links: Links) -> None:
    while True:
        try:
            add_some(links, 1)
        except psycopg.Error:
            time.sleep(0.01)
