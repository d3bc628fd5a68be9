"""What happens to a worker's tasks is in the metrics that it serves, each under its name."""

from collections.abc import Callable
from urllib.request import urlopen

import pytest

from claimwright.locks import lease_key
from support.leases import free_port
from support.sites import DAY, Site

from .test_attempts import POISON

CALCULATE_ONE = "claimwright.calculate_policy_claims"


def at(port: int) -> dict[str, float]:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}


def until(port: int, holds: Callable[[dict[str, float]], bool]) -> dict[str, float]:
    """The metrics, once they are so; a test that fails ends by its own time limit."""
    while not holds(told := at(port)):
        pass
    return told


@pytest.mark.parametrize(
    "settings_of_site",
    [{"CLAIMWRIGHT_LEASE_WAIT_SECONDS": "0", "CLAIMWRIGHT_WORK_ATTEMPTS": "2"}],
    ids=["two attempts"],
)
async def test_claims_lag_leases_retries_and_dead_letters_are_counted(site: Site) -> None:
    await site.world.insure({"A": 100_000, "B": 100_000})
    superuser = await site.connections.superuser()
    await superuser.execute(POISON.format(site.world.ids["B"]))
    policy, port = site.world.ids["A"], free_port()
    lease = lease_key(policy, DAY)
    with site.worker("--metrics-port", str(port)):
        async with site.relay():
            await site.world.rain(DAY, ["1.2"])
            await site.drained()
        told = until(port, lambda told: told.get('claimwright_work_dead_total{kind="policy"}') == 1)
        assert told['claimwright_work_retried_total{kind="policy"}'] >= 1
        assert told['claimwright_work_lag_seconds_count{kind="evaluate"}'] == 1
        assert told['claimwright_work_lag_seconds_count{kind="policy"}'] == 1
        assert told['claimwright_claims_created_total{tier="tier1"}'] == 1
        await site.runtime.redis.set(lease, "another worker", ex=60)
        site.celery().send_task(CALCULATE_ONE, args=[policy, str(DAY)])
        until(port, lambda told: told["claimwright_leases_contended_total"] >= 1)
        await site.runtime.redis.delete(lease)
        async with site.policy_held("A") as holder:
            site.celery().send_task(CALCULATE_ONE, args=[policy, str(DAY)])
            await site.waits_for(holder)
            await site.runtime.redis.set(lease, "another worker", ex=60)
        until(port, lambda told: told["claimwright_leases_lost_total"] >= 1)
