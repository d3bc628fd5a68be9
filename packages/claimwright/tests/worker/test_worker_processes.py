"""Real worker processes on a real broker: killed, told to end, and robbed of their messages."""

import signal
from datetime import timedelta

import pytest

from claimwright.operations.hand_on import Message
from claimwright.storage.requests import RequestKind
from claimwright.worker.broker import CeleryBroker
from support.brokers import RABBITMQ
from support.leases import free_port
from support.programs import claimwright_command, program, running
from support.sites import DAY, SWEPT, Site, scraped

RAIN = ["0.6", "0.6", "0.9"]
CLAIMS_OF_RAIN = 2
ALL_HANDED_ON = "SELECT bool_and(handed_on_generation = generation) FROM work_requests"
FINISHED = "SELECT bool_and(finished_generation = generation) FROM work_requests WHERE kind = $1"
#: Two that calculate the whole term of policies wait at once: the second one for the first, which
#: waits for who holds the row. The chunk of a day, which waits for the same row, asks otherwise.
TWO_WAIT = """
    SELECT count(*) >= 2 FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
      AND query LIKE 'SELECT id FROM policies WHERE id = ANY%'
    """
swept = pytest.mark.parametrize("settings_of_site", [SWEPT], ids=["swept"])


of_redis = pytest.mark.skipif(
    RABBITMQ, reason="RabbitMQ has no such time-out: 30 minutes of its own"
)
#: A worker to which Redis gives a second for a task.
FORGETFUL = """
from claimwright.worker import app
from claimwright.worker.running import run_worker

app.conf.broker_transport_options = {
    **app.conf.broker_transport_options,
    "visibility_timeout": 1,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
}
run_worker("prefork", 2, "INFO")
"""


async def claims_of(site: Site, *numbers: str) -> list[int]:
    return [len(await site.world.claims(number)) for number in numbers]


async def test_a_child_that_is_killed_in_the_middle_of_its_task_loses_nothing(site: Site) -> None:
    """Nobody sweeps: its message goes back to the queue, because it is acknowledged late."""
    await site.world.insure({"A": 100_000, "B": 100_000})
    with site.worker() as worker:
        async with site.relay():
            async with site.policy_held("A") as holder:
                await site.world.rain(DAY, RAIN)
                await site.waits_for(holder)
                (child,) = worker.children()
                child.kill()
                await worker.heard("WorkerLostError")
            await site.drained()
    assert await site.is_clean()
    assert await claims_of(site, "A", "B") == [CLAIMS_OF_RAIN] * 2


@swept
async def test_a_machine_that_dies_in_the_middle_of_a_task_loses_nothing(site: Site) -> None:
    await site.world.insure({"A": 100_000})
    async with site.relay():
        async with site.policy_held("A") as holder:
            with site.worker() as worker:
                await site.world.rain(DAY, RAIN)
                await site.waits_for(holder)
                worker.kill_all()
        with site.worker():
            await site.drained()
    assert await site.is_clean()
    assert await claims_of(site, "A") == [CLAIMS_OF_RAIN]


@swept
async def test_a_broker_that_forgets_or_is_away_loses_nothing(site: Site) -> None:
    """After it is back, everything is done without anybody's help."""
    await site.world.insure({"A": 100_000})
    await site.world.rain(DAY, RAIN)
    async with site.relay():
        await site.until(ALL_HANDED_ON)
    site.broker.empty()
    with site.worker() as worker:
        async with site.relay():
            await site.drained()
            site.broker.stop()
            await site.world.rain(DAY + timedelta(days=1), RAIN)
            await worker.heard("consumer: Cannot connect to")
            site.broker.start()
            await site.drained()
    assert await site.is_clean()
    assert await claims_of(site, "A") == [2 * CLAIMS_OF_RAIN]


async def test_a_worker_that_is_told_to_end_finishes_its_task_first(site: Site) -> None:
    await site.world.insure({"A": 100_000})
    await site.world.rain(DAY, RAIN)
    await site.world.calculate()
    await site.world.rain(DAY + timedelta(days=1), RAIN)
    await site.runtime.engine.dispose()
    with site.worker(CLAIMWRIGHT_LOG_FORMAT="json") as worker:
        async with site.relay():
            async with site.policy_held("A") as holder:
                await site.waits_for(holder)
                worker.signal(signal.SIGTERM)
                await worker.heard("Warm shutdown")
            assert worker.ended() == 0
            assert await site.fetch(FINISHED, "calculate")
            await site.drained()
    assert await site.is_clean()
    assert await claims_of(site, "A") == [2 * CLAIMS_OF_RAIN]


async def test_the_relay_serves_what_there_is_to_do_and_ends_with_0_when_it_is_told_to(
    site: Site,
) -> None:
    await site.world.insure({"A": 100_000, "B": 100_000})
    port = free_port()
    with running(
        claimwright_command("beat", "--metrics-port", str(port)), site.environment
    ) as relay:
        relay.saw('outcome="handed on"')
        relay.saw("sent kind=policy task_id=")
        await site.until(ALL_HANDED_ON)
        assert 'claimwright_outbox_requests{kind="policy",state="handed on"} 2.0' in scraped(port)
        relay.signal(signal.SIGTERM)
        assert relay.ended() == 0
    assert "outcome=ended" in relay.output


@of_redis
async def test_a_task_longer_than_the_visibility_time_out_is_done_twice_and_paid_once(
    site: Site,
) -> None:
    await site.world.insure({"A": 100_000})
    await site.world.rain(DAY, RAIN)
    with (
        running(program(FORGETFUL), site.environment) as one,
        running(program(FORGETFUL), site.environment) as two,
    ):
        one.saw("ready.")
        two.saw("ready.")
        async with site.relay():
            async with site.policy_held("A"):
                await site.until(TWO_WAIT)
            await site.drained()
    assert await site.is_clean()
    assert await claims_of(site, "A") == [CLAIMS_OF_RAIN]


async def test_one_message_for_two_workers_at_once_is_paid_once(site: Site) -> None:
    await site.world.insure({"A": 100_000})
    await site.world.rain(DAY, RAIN)
    message = Message(RequestKind.POLICY, (1,))
    broker = CeleryBroker(site.celery())
    with site.worker(), site.worker():
        async with site.policy_held("A"):
            assert await broker.send([message, message]) == 2
            await site.until(TWO_WAIT)
        async with site.relay():
            await site.drained()
    assert await site.is_clean()
    assert await claims_of(site, "A") == [CLAIMS_OF_RAIN]
