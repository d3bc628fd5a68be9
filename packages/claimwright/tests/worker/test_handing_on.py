"""Handing on: marked, committed, then sent; whatever gets lost on the way is handed on again."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date, timedelta

import pytest

from claimwright.domain.errors import BrokerUnavailableError
from claimwright.operations.ask_again import DayAsked, ask_for_date
from claimwright.operations.hand_on import Message, Round, hand_on, messages_of
from claimwright.operations.transactions import transaction
from claimwright.runtime import Runtime
from claimwright.storage.handing_on import HandedOn, take_day, take_waiting
from claimwright.storage.requests import RequestKind
from claimwright.storage.work_attempts import begin, give_up_policy
from claimwright.worker.relay import Relay
from support.databases import Connection, Connections
from support.ordering import PATIENCE_SECONDS
from support.weather import World

DAY = date(2025, 1, 15)
STUCK_SECONDS = 600
ALL_HANDED_ON = "SELECT bool_and(handed_on_generation = generation) FROM work_requests"
ASK_FOR_A_AGAIN = "UPDATE policies SET last_day = last_day + 1 WHERE policy_number = 'A'"
#: Time passes for work that was handed on or begun.
AGE = f"""
    UPDATE work_requests SET handed_on_at = handed_on_at - interval '{STUCK_SECONDS} seconds',
                             attempted_at = attempted_at - interval '{STUCK_SECONDS} seconds'
    """


class Killed(BaseException):
    """The relay's process ends here."""


class Carrier:
    """A broker that keeps what it is sent, and fails when it is told to."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.in_queue = 0
        self.takes = 1_000
        self.on_send: Callable[[], None] | None = None
        self.news = asyncio.Event()

    async def send(self, messages: Sequence[Message]) -> int:
        if self.on_send is not None:
            self.on_send()
        taken = messages[: self.takes]
        self.sent += taken
        self.news.set()
        return len(taken)

    async def waiting(self) -> int:
        return self.in_queue

    def ids(self) -> list[int]:
        return sorted(key for message in self.sent for key in message.request_ids)


@pytest.fixture
async def world(fresh_runtime: Runtime) -> World:
    """Three policies, each of which is asked for; requests 1 to 3."""
    world = World(fresh_runtime)
    await world.insure({"A": 100_000, "B": 100_000, "C": 100_000})
    return world


@pytest.fixture
async def watcher(fresh_connections: Connections) -> Connection:
    return await fresh_connections.superuser()


def limited(runtime: Runtime, **settings: float) -> Runtime:
    return replace(runtime, settings=runtime.settings.model_copy(update=settings))


async def test_what_waits_is_marked_and_committed_before_it_is_sent_and_nothing_is_locked(
    world: World, fresh_connections: Connections
) -> None:
    seen = list[object]()
    watcher = await fresh_connections.superuser()
    locks = """
        SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
        WHERE a.usename = 'claimwright' AND a.datname = current_database()
          AND l.relation = 'work_requests'::regclass
        """

    class Looking(Carrier):
        async def send(self, messages: Sequence[Message]) -> int:
            seen.append(await watcher.fetchval(ALL_HANDED_ON))
            seen.append(await watcher.fetchval(locks))
            return await super().send(messages)

    carrier = Looking()
    assert await hand_on(world.runtime, carrier) == Round(3, 0, is_full=False)
    assert seen == [True, 0]
    assert carrier.sent == [Message(RequestKind.POLICY, (1, 2, 3))]
    assert await hand_on(world.runtime, carrier) == Round(0, 0, is_full=False)


async def test_what_could_not_be_sent_waits_again(world: World, watcher: Connection) -> None:
    await world.rain(DAY, ["1.0"])
    carrier = Carrier()
    carrier.takes = 1
    with pytest.raises(BrokerUnavailableError, match="3 requests could not be sent"):
        await hand_on(world.runtime, carrier)
    assert carrier.ids() == [4]
    carrier.takes = 1_000
    await hand_on(world.runtime, carrier)
    assert carrier.ids() == [1, 2, 3, 4]
    assert await watcher.fetchval(ALL_HANDED_ON)


async def test_a_relay_that_dies_between_marking_and_sending_is_made_up_for(
    world: World, watcher: Connection
) -> None:
    carrier = Carrier()

    def die() -> None:
        raise Killed

    carrier.on_send = die
    with pytest.raises(Killed):
        await hand_on(world.runtime, carrier)
    carrier.on_send = None
    assert await watcher.fetchval(ALL_HANDED_ON)
    assert (await hand_on(world.runtime, carrier)).handed_on == 0
    await watcher.execute(AGE)
    assert await hand_on(world.runtime, carrier) == Round(3, 3, is_full=False)
    assert carrier.ids() == [1, 2, 3]


async def test_work_that_was_begun_a_moment_ago_is_not_stuck(
    world: World, watcher: Connection
) -> None:
    carrier = Carrier()
    await hand_on(world.runtime, carrier)
    await watcher.execute(AGE)
    async with transaction(world.runtime) as connection:
        await begin(connection, RequestKind.POLICY, [1], most=8, reason="")
    await hand_on(world.runtime, carrier)
    assert carrier.ids() == [1, 2, 2, 3, 3]


async def test_two_relays_at_once_take_what_the_other_one_has_not(world: World) -> None:
    async with transaction(world.runtime) as one, transaction(world.runtime) as two:
        first = await take_waiting(one, stuck_after_seconds=STUCK_SECONDS, limit=2)
        second = await take_waiting(two, stuck_after_seconds=STUCK_SECONDS, limit=2)
    assert [request.id for request in first] == [1, 2]
    assert [request.id for request in second] == [3]


async def test_nothing_is_handed_on_while_the_queue_is_long_not_even_what_is_stuck(
    world: World, watcher: Connection
) -> None:
    carrier = Carrier()
    await hand_on(world.runtime, carrier)
    await watcher.execute(AGE)
    carrier.in_queue = world.runtime.settings.queue_limit
    assert await hand_on(world.runtime, carrier) == Round(0, 0, is_full=False)
    carrier.in_queue -= 1
    assert (await hand_on(world.runtime, carrier)).stuck == 3


async def test_a_batch_that_is_full_says_that_there_may_be_more(world: World) -> None:
    carrier, runtime = Carrier(), limited(world.runtime, relay_batch=2)
    assert await hand_on(runtime, carrier) == Round(2, 0, is_full=True)
    assert await hand_on(runtime, carrier) == Round(1, 0, is_full=False)


async def test_what_is_asked_for_again_while_its_message_waits_is_not_sent_twice(
    world: World, watcher: Connection
) -> None:
    """Whoever begins it reads the newest generation; what is asked for after that is sent."""
    carrier = Carrier()
    await hand_on(world.runtime, carrier)
    await watcher.execute(ASK_FOR_A_AGAIN)
    assert (await hand_on(world.runtime, carrier)).handed_on == 0
    async with transaction(world.runtime) as connection:
        (begun,), _ = await begin(connection, RequestKind.POLICY, [1], most=8, reason="")
    assert begun.request.generation == 2
    assert (await hand_on(world.runtime, carrier)).handed_on == 0
    await watcher.execute(ASK_FOR_A_AGAIN)
    assert (await hand_on(world.runtime, carrier)).handed_on == 1


async def test_a_message_that_is_lost_does_not_hold_up_what_is_asked_for_again_for_ever(
    world: World, watcher: Connection
) -> None:
    carrier = Carrier()
    await hand_on(world.runtime, carrier)
    await watcher.execute(ASK_FOR_A_AGAIN)
    await watcher.execute(AGE)
    await hand_on(world.runtime, carrier)
    assert carrier.ids() == [1, 1, 2, 2, 3, 3]


@asynccontextmanager
async def a_day_with_a_chunk_to_do(world: World, watcher: Connection) -> AsyncIterator[Carrier]:
    """Request 4 evaluates; request 5 is a calculation that was planned, and asked for again."""
    await world.rain(DAY, ["1.0"])
    await world.calculate()
    carrier = Carrier()
    await watcher.execute(
        """
        UPDATE work_requests SET generation = 2, handed_on_generation = 2, handed_on_at = now(),
                                 attempted_generation = 2, attempted_at = now() WHERE id = 5
        """
    )
    await watcher.execute(
        """
        UPDATE work_chunks SET generation = 2, attempted_at = now(), finished_at = NULL
        WHERE request_id = 5
        """
    )
    yield carrier


async def test_a_day_is_not_planned_anew_while_its_chunks_are_done(
    world: World, watcher: Connection
) -> None:
    async with a_day_with_a_chunk_to_do(world, watcher) as carrier:
        await watcher.execute("UPDATE work_requests SET generation = 3 WHERE id = 5")
        assert (await hand_on(world.runtime, carrier)).handed_on == 0
        await watcher.execute("UPDATE work_chunks SET finished_at = now() WHERE request_id = 5")
        await hand_on(world.runtime, carrier)
        assert carrier.ids() == [5]


async def test_a_day_of_which_a_chunk_moves_is_not_stuck(world: World, watcher: Connection) -> None:
    async with a_day_with_a_chunk_to_do(world, watcher) as carrier:
        await watcher.execute(AGE)
        assert (await hand_on(world.runtime, carrier)).handed_on == 0
        await watcher.execute(
            f"UPDATE work_chunks SET attempted_at = now() - interval '{STUCK_SECONDS} seconds'"
        )
        assert await hand_on(world.runtime, carrier) == Round(1, 1, is_full=False)


async def test_a_dead_letter_stays_where_it_is_until_somebody_asks_again(
    world: World, watcher: Connection
) -> None:
    carrier = Carrier()
    await world.rain(DAY, ["1.0"])
    await world.calculate()
    async with transaction(world.runtime) as connection:
        assert await give_up_policy(connection, world.ids["A"], "no luck")
    await watcher.execute(AGE)
    assert (await hand_on(world.runtime, carrier)).handed_on == 0
    await watcher.execute(ASK_FOR_A_AGAIN)
    await hand_on(world.runtime, carrier)
    assert carrier.ids() == [1]


async def test_what_died_after_it_was_handed_on_is_not_swept(
    world: World, watcher: Connection
) -> None:
    carrier = Carrier()
    await hand_on(world.runtime, carrier)
    await watcher.execute("UPDATE work_requests SET dead_generation = generation WHERE id = 2")
    await watcher.execute(AGE)
    await hand_on(world.runtime, carrier)
    assert carrier.ids() == [1, 1, 2, 3, 3]


async def test_the_calculations_of_a_date_alone_are_taken(world: World) -> None:
    for number in range(2):
        await world.rain(DAY + timedelta(days=number), ["1.0"])
    await world.calculate()
    async with transaction(world.runtime) as connection:
        assert await take_day(connection, DAY, limit=9) == []
        await connection.exec_driver_sql(
            "SELECT request_days_again(first_day := '2025-01-01', last_day := '2025-12-31',"
            " of_product := NULL, of_region := NULL)"
        )
        (taken,) = await take_day(connection, DAY, limit=9)
    assert taken.kind is RequestKind.CALCULATE


async def test_asking_for_a_date_sends_its_calculations_at_once_and_leaves_the_rest_to_the_relay(
    world: World,
) -> None:
    for number in range(2):
        await world.rain(DAY + timedelta(days=number), ["1.0"])
    await world.calculate()
    carrier = Carrier()
    assert await ask_for_date(world.runtime, carrier, DAY) == DayAsked(requests=1, sent=1)
    (message,) = carrier.sent
    assert message.kind is RequestKind.CALCULATE
    assert (await hand_on(world.runtime, carrier)).handed_on == 0
    carrier.takes = 0
    assert await ask_for_date(world.runtime, carrier, DAY + timedelta(days=1)) == DayAsked(1, 0)
    carrier.takes = 1_000
    assert (await hand_on(world.runtime, carrier)).handed_on == 1


async def test_asking_for_a_date_without_events_asks_for_nothing(world: World) -> None:
    assert await ask_for_date(world.runtime, Carrier(), DAY) == DayAsked(0, 0)


def test_a_message_has_requests_of_one_kind_and_region_and_what_was_begun_goes_alone() -> None:
    def requests(kind: RequestKind, region: str | None, *ids: int) -> list[HandedOn]:
        return [HandedOn(key, kind, region, 1, attempts=int(key > 990)) for key in ids]

    many = range(1, 502)
    assert messages_of(
        [
            *requests(RequestKind.POLICY, None, *many, 991),
            *requests(RequestKind.EVALUATE, "JFK", 601, 602),
            *requests(RequestKind.EVALUATE, "LGA", 603),
            *requests(RequestKind.CALCULATE, "JFK", 701, 702),
        ]
    ) == [
        Message(RequestKind.CALCULATE, (701,)),
        Message(RequestKind.CALCULATE, (702,)),
        Message(RequestKind.EVALUATE, (601, 602)),
        Message(RequestKind.EVALUATE, (603,)),
        Message(RequestKind.POLICY, (991,)),
        Message(RequestKind.POLICY, tuple(many[:500])),
        Message(RequestKind.POLICY, (501,)),
    ]


@asynccontextmanager
async def relaying(runtime: Runtime, carrier: Carrier) -> AsyncIterator[None]:
    stop = asyncio.Event()
    work = asyncio.create_task(Relay(runtime, carrier).run(stop))
    try:
        yield
    finally:
        stop.set()
        await work


async def next_news(carrier: Carrier) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        await carrier.news.wait()
    carrier.news.clear()


async def test_the_relay_is_told_of_work_and_told_again_after_its_connection_broke(
    world: World, watcher: Connection
) -> None:
    """It polls once in a minute, which no test waits for."""
    carrier = Carrier()
    async with relaying(limited(world.runtime, relay_poll_seconds=60), carrier):
        await next_news(carrier)
        await world.rain(DAY, ["1.0"])
        await next_news(carrier)
        assert carrier.ids() == [1, 2, 3, 4]
        await watcher.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        )
        await world.rain(DAY + timedelta(days=3), ["1.0"])
        await next_news(carrier)
        assert carrier.ids() == [1, 2, 3, 4, 5]


async def test_a_broker_that_is_away_is_waited_for(world: World) -> None:
    refused = asyncio.Event()

    class Away(Carrier):
        async def waiting(self) -> int:
            if not refused.is_set():
                refused.set()
                raise BrokerUnavailableError("the broker does not answer")
            return 0

    carrier = Away()
    async with relaying(world.runtime, carrier):
        await next_news(carrier)
    assert refused.is_set()
    assert carrier.ids() == [1, 2, 3]
