"""Redis alone: what is read in one command and written in another."""

from .drivers import Program
from .machine import Machine
from .scenario import Scenario, Truth

WRITE_LEFT = "return redis.call('SET', KEYS[1], ARGV[1])"
TAKE_ONE = """
    if tonumber(redis.call('GET', KEYS[1])) < 1 then return 0 end
    redis.call('DECR', KEYS[1])
    return 1
    """


def own_if_free(name: str) -> Program:
    async def work(machine: Machine) -> bool:
        is_free = await machine.keys.get("owner") is None
        if is_free:
            await machine.keys.set("owner", name)
        return is_free

    return work


def own_if_new(name: str) -> Program:
    async def work(machine: Machine) -> bool:
        return await machine.keys.set_if_new("owner", name)

    return work


async def take_by_a_script_that_is_told(machine: Machine) -> bool:
    left = int(await machine.keys.get("stock") or 0)
    if left > 0:
        await machine.keys.run(WRITE_LEFT, "stock", left - 1)
    return left > 0


async def take_by_a_script_that_looks(machine: Machine) -> bool:
    return bool(await machine.keys.run(TAKE_ONE, "stock"))


async def enter_if_few(machine: Machine) -> bool:
    is_allowed = int(await machine.keys.get("visits") or 0) < 1
    if is_allowed:
        await machine.keys.add("visits", 1)
    return is_allowed


async def enter_and_count(machine: Machine) -> bool:
    return await machine.keys.add("visits", 1) <= 1


SCENARIOS = (
    Scenario(
        "a key looked at, then set",
        Truth.BREAKS,
        "1 2 1 2",
        (own_if_free("Ada"), own_if_free("Bob")),
    ),
    Scenario("a key set if new", Truth.HOLDS, "1 2", (own_if_new("Ada"), own_if_new("Bob"))),
    Scenario(
        "a script told what was read before it",
        Truth.BREAKS,
        "1 2 1 2",
        (take_by_a_script_that_is_told,) * 2,
        keys={"stock": 5},
    ),
    Scenario(
        "a script that reads what it changes",
        Truth.HOLDS,
        "1 2",
        (take_by_a_script_that_looks,) * 2,
        keys={"stock": 1},
    ),
    Scenario("a limit read, then counted", Truth.BREAKS, "1 2 1 2", (enter_if_few,) * 2),
    Scenario("a limit counted, then compared", Truth.HOLDS, "1 2", (enter_and_count,) * 2),
)
