"""Addresses of brokers: what Celery is told, and what is refused by name and never by value."""

import ssl

import pytest
from kombu.utils.url import parse_url

from claimwright.server_addresses import (
    broker_arguments,
    broker_beside_redis,
    checked_broker_url,
)

SECRET = "correcthorse"  # noqa: S105 - what must never show


def refusal(address: str) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        checked_broker_url(address)
    return str(caught.value)


@pytest.mark.parametrize(
    ("redis", "broker"),
    [
        ("redis://h", "redis://h/1"),
        ("redis://h:7/3", "redis://h:7/4"),
        ("redis://h/15", "redis://h/0"),
        ("redis://h?db=2&socket_timeout=3", "redis://h/3"),
        ("redis://u:p%40@h/0", "redis://u:p%40@h/1"),
        ("redis://h?password=a%2Fb", "redis://:a%2Fb@h/1"),
        ("unix:///run/x.sock?db=0", "redis+socket:///run/x.sock?virtual_host=1"),
        ("unix:///run/x.sock", "redis+socket:///run/x.sock?virtual_host=1"),
        ("unix://:p@/run/x.sock?db=15", "redis+socket://:p@/run/x.sock?virtual_host=0"),
    ],
)
def test_messages_go_to_the_next_database_of_the_leases_redis(redis: str, broker: str) -> None:
    beside = broker_beside_redis(redis)
    assert checked_broker_url(beside) == beside
    assert broker_arguments(beside) == (broker, None)


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("amqp://u:p@h:5672/v", "amqp://u:p@h:5672/v"),
        ("amqp://u:p@h//", "amqp://u:p@h//"),
        ("amqp://u:p%2F@h/%2F", "amqp://u:p%2F@h/%2F"),
        ("redis://h/3", "redis://h/3"),
    ],
)
def test_an_address_that_is_given_is_celerys(address: str, url: str) -> None:
    assert broker_arguments(checked_broker_url(address)) == (url, None)


def test_with_tls_a_server_is_verified_unless_the_address_says_otherwise() -> None:
    redis = broker_arguments(checked_broker_url("rediss://h/0?ssl_ca_certs=/ca.pem"))
    assert redis.use_ssl == {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": "/ca.pem"}
    rabbit = broker_arguments(checked_broker_url("amqps://h/v?ssl_certfile=/c&ssl_keyfile=/k"))
    assert rabbit.use_ssl == {
        "cert_reqs": ssl.CERT_REQUIRED,
        "certfile": "/c",
        "keyfile": "/k",
        "server_hostname": None,
    }
    careless = broker_arguments("rediss://h?ssl_cert_reqs=none&ssl_check_hostname=false")
    assert careless.use_ssl == {"ssl_cert_reqs": ssl.CERT_NONE, "ssl_check_hostname": False}


@pytest.mark.parametrize(
    ("address", "host", "database"),
    [("redis://:p%40@h:7/3", "h", "3"), ("amqp://u:p@h/v", "h", "v"), ("amqp://h//", "h", "/")],
)
def test_kombu_understands_what_it_is_told(address: str, host: str, database: str) -> None:
    known = parse_url(broker_arguments(address).url)
    assert (known["hostname"], known["virtual_host"]) == (host, database)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("sqs://h", "a broker's address begins with redis://, rediss://, amqp://"),
        ("amqp", "a broker's address begins with"),
        ("amqp://h/v?heartbeat=3", "heartbeat is not an option of the address"),
        ("amqp://h/v?ssl_ca_certs=/x", "ssl_ca_certs: it does not go with amqp://"),
        ("amqps://h/v?ssl_check_hostname=no", "ssl_check_hostname: it does not go with amqps://"),
        ("amqp://h/a/b", "this is not a broker's address"),
        ("amqp://h:0/v", "this is not a broker's address"),
        ("amqp://h:99999/v", "this is not a broker's address"),
        ("redis://h/one", "the path of a Redis address is the number of a database"),
    ],
)
def test_other_addresses_are_refused_by_name(address: str, sentence: str) -> None:
    assert sentence in refusal(address)


@pytest.mark.parametrize(
    "address",
    [
        f"amqp://u:{SECRET}#x@h/v",
        f"amqp://u:{SECRET}/x@h/v",
        f"amqp://u:1/{SECRET}@h/v",
        f"amqp://u:1?{SECRET}=1@h/v",
        f"amqp://h/v?-{SECRET}=1",
        f"amqp://[{SECRET}",
    ],
)
def test_no_part_of_an_unencoded_password_shows(address: str) -> None:
    assert SECRET not in refusal(address)
