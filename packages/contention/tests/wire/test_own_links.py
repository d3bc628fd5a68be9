"""Gates stay open from one run to the next; what belongs to a run does not."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from socket import AF_UNIX, socket

import asyncpg
import pytest

from contention.wire.lane import Lane
from contention.wire.open_gate import Usher
from contention.wire.own_links import OwnLinks
from contention.wire.servers import Links, PostgresServer, Servers


class Doorman(Usher):
    """Lets everybody in, and counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes: list[Lane] = []

    def opened(self, lane: Lane) -> None:
        self.lanes.append(lane)


@pytest.fixture
async def gates(servers: Servers) -> AsyncIterator[OwnLinks]:
    with tempfile.TemporaryDirectory(prefix="ct-") as folder:
        gates = OwnLinks(Path(folder), servers)
        yield gates
        await gates.close()


async def next_run(gates: OwnLinks, keeper: Doorman) -> Links:
    gates.begin()
    return await gates.open("w1", keeper, keeper)


def socket_of(links: Links) -> str:
    return PostgresServer.from_url(links.postgres_url).address.path


async def ask(links: Links) -> int:
    connection = await asyncpg.connect(links.postgres_url)
    try:
        return int(await connection.fetchval("SELECT 1"))
    finally:
        await connection.close()


async def test_each_run_has_its_own_keeper_and_addresses(gates: OwnLinks) -> None:
    seen = set()
    for _ in range(2):
        keeper = Doorman()
        links = await next_run(gates, keeper)
        assert await ask(links) == 1
        assert [lane.name for lane in keeper.lanes] == ["w1/1"]
        seen |= {links.postgres_url, links.redis_url, links.broker_url}
        await gates.end()
    assert len(seen) == 6


async def test_whoever_kept_an_address_from_an_earlier_run_finds_nobody(gates: OwnLinks) -> None:
    kept = await next_run(gates, Doorman())
    await gates.end()
    links = await next_run(gates, Doorman())
    with pytest.raises(OSError, match="No such file"):
        await ask(kept)
    assert await ask(links) == 1


async def test_who_is_about_to_be_let_in_when_a_run_ends_does_not_come_into_the_next(
    gates: OwnLinks,
) -> None:
    ending, beginning = Doorman(), Doorman()
    links = await next_run(gates, ending)
    with socket(AF_UNIX) as late:
        late.connect(socket_of(links))
        await gates.end()
        links = await next_run(gates, beginning)
        assert await ask(links) == 1
        late.settimeout(10)
        assert late.recv(1) == b""
    assert len(beginning.lanes) == 1
