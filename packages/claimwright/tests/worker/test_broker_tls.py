"""A broker behind TLS: workers and relay reach the one that its certificate names, and no other."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.programs import claimwright_command, running
from support.sites import DAY, Site
from support.tls import behind_tls, certificate_for

pytestmark = pytest.mark.prove


def address(site: Site, port: int, authority: Path) -> str:
    """The broker's address as it is behind TLS."""
    plain = urlsplit(site.broker.url)
    login = f"{plain.username}:{plain.password}@" if plain.username else ""
    return (
        f"{plain.scheme}s://{login}127.0.0.1:{port}{plain.path}?ssl_ca_certs={authority.as_posix()}"
    )


def port_of(site: Site) -> int:
    port = urlsplit(site.broker.url).port
    assert port is not None
    return port


async def test_work_goes_through_a_broker_that_proves_who_it_is(site: Site, tmp_path: Path) -> None:
    shown = certificate_for("127.0.0.1", tmp_path)
    await site.world.insure({"A": 100_000})
    await site.world.rain(DAY, ["1.2"])
    async with behind_tls(port_of(site), shown) as port:
        url = address(site, port, shown.certificate)
        environment = {**site.environment, "CLAIMWRIGHT_BROKER_URL": url}
        with (
            running(claimwright_command("worker", "--concurrency", "1"), environment) as worker,
            running(claimwright_command("beat"), environment) as relay,
        ):
            await worker.heard("ready.")
            await relay.heard("sent ")
            await site.drained()
    assert await site.is_clean()


@pytest.mark.parametrize("who", ["another authority", "another host"])
async def test_nothing_is_sent_to_a_broker_that_does_not(
    site: Site, tmp_path: Path, who: str
) -> None:
    shown = certificate_for("127.0.0.2" if who == "another host" else "127.0.0.1", tmp_path)
    (tmp_path / "other").mkdir()
    trusted = shown
    if who == "another authority":
        trusted = certificate_for("127.0.0.1", tmp_path / "other")
    await site.world.insure({"A": 100_000})
    async with behind_tls(port_of(site), shown) as port:
        url = address(site, port, trusted.certificate)
        environment = {**site.environment, "CLAIMWRIGHT_BROKER_URL": url}
        with (
            running(claimwright_command("worker", "--concurrency", "1"), environment) as worker,
            running(claimwright_command("beat"), environment) as relay,
        ):
            await worker.heard("Cannot connect")
            await relay.heard("outcome=failed")
            assert 'outcome="handed on"' not in relay.output
