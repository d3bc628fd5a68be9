"""The loop says when it is idle, and time passes only when it is told to."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from contention.wire.virtual_loop import GO_ON, VirtualClockLoop


@pytest.fixture
def loop() -> Iterator[VirtualClockLoop]:
    made = VirtualClockLoop()
    yield made
    made.close()


def jump(loop: VirtualClockLoop) -> float:
    """Move the clock to the next timer whenever the loop is idle."""
    due = loop.next_timer_at()
    if due is not None:
        loop.move_to(due)
    return GO_ON


def test_a_worker_that_sleeps_an_hour_costs_no_time(loop: VirtualClockLoop) -> None:
    loop.observer = lambda: jump(loop)
    began = time.monotonic()
    loop.run_until_complete(asyncio.sleep(3600))
    assert loop.time() == 3600
    assert time.monotonic() - began < 60


def test_sleepers_wake_in_the_order_of_their_timers(loop: VirtualClockLoop) -> None:
    woken: list[int] = []

    async def sleeper(seconds: int) -> None:
        await asyncio.sleep(seconds)
        woken.append(seconds)

    async def all_of_them() -> None:
        await asyncio.gather(*(sleeper(seconds) for seconds in (30, 10, 20)))

    loop.observer = lambda: jump(loop)
    loop.run_until_complete(all_of_them())
    assert woken == [10, 20, 30]


def test_the_observer_is_asked_only_when_nothing_is_ready(loop: VirtualClockLoop) -> None:
    events: list[str] = []

    async def work() -> None:
        for number in range(3):
            events.append(f"step {number}")
            await asyncio.sleep(0)
        await asyncio.sleep(5)

    def observer() -> float:
        events.append("idle")
        return jump(loop)

    loop.observer = observer
    loop.run_until_complete(work())
    assert events == ["step 0", "step 1", "step 2", "idle"]


def test_time_outs_of_the_standard_library_follow_the_clock(loop: VirtualClockLoop) -> None:
    async def work() -> None:
        async with asyncio.timeout(10):
            await asyncio.Event().wait()

    loop.observer = lambda: jump(loop)
    with pytest.raises(TimeoutError):
        loop.run_until_complete(work())
    assert loop.time() == 10
