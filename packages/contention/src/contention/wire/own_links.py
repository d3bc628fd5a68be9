"""A worker's own addresses of the servers: a gate behind each of them.

Opening gates costs more than many a request. So they stay open from one run to the next, and only
their addresses are new in each run: whoever has kept one from an earlier run, as a pool that lives
on in a module, finds nobody there, and is not taken for the worker of a later run.
"""

import asyncio
from pathlib import Path
from typing import Final

from contention.wire.backends import Backends
from contention.wire.farewells import Farewells
from contention.wire.gate import Address, Gate, Keeper
from contention.wire.postgres import PostgresFraming
from contention.wire.redis import RespFraming
from contention.wire.redis_scripts import Scripts
from contention.wire.servers import Links, Servers

_POSTGRES_SOCKET: Final = ".s.PGSQL.5432"
_REDIS_SOCKET: Final = "redis.sock"
_BROKER_SOCKET: Final = "broker.sock"
_SOCKETS: Final = "0"
"""Beside runs 1, 2, 3 …: the path of a socket has to be short."""
_ANY_RUN: Final = "RUN"
_TURNS: Final = 4
"""So many turns after a connection was made, the loop has accepted it and told its gate."""


class OwnLinks:
    """The gates of the workers, for one run after another.

    Args:
        folder: for the gates' sockets; its path is short.
        servers: where the gates lead.
        backends: serve the connections to PostgreSQL one after another.
        scripts: of Redis, known from the runs before.
    """

    def __init__(
        self,
        folder: Path,
        servers: Servers,
        backends: Backends | None = None,
        scripts: Scripts | None = None,
    ) -> None:
        self._sockets = folder / _SOCKETS
        self._sockets.mkdir()
        self._folder = folder
        self._servers = servers
        self._backends = backends
        self._scripts = scripts or Scripts()
        self._gates: dict[str, list[Gate]] = {}
        self._links: dict[str, Links] = {}
        self._farewells = Farewells()
        self._runs = 0
        self._address: Path | None = None

    def begin(self) -> None:
        """A run begins, with addresses of its own."""
        self._runs += 1
        self._address = self._folder / str(self._runs)
        self._address.symlink_to(self._sockets)

    async def open(self, worker: str, scheduled: Keeper, recorded: Keeper) -> Links:
        """The links of one worker in a run that has begun, behind gates that are open now.

        Args:
            worker: whose they are.
            scheduled: decides what passes on the links to the two servers.
            recorded: sees what passes on the link to a broker.
        """
        if worker not in self._gates:
            await self._listen(worker, scheduled, recorded)
        for gate, keeper in zip(self._gates[worker], (scheduled, scheduled, recorded), strict=True):
            gate.keeper, gate.is_shut = keeper, False
        links, run = self._links[worker], str(self._runs)
        return Links(
            _in_run(run, links.postgres_url),
            _in_run(run, links.redis_url),
            _in_run(run, links.broker_url),
        )

    async def end(self) -> None:
        """A run ends: nobody finds its addresses any more, and what goes through is cut.

        Who is in a transaction may roll it back, until `forget`.
        """
        if self._address is None:
            return
        self._address.unlink(missing_ok=True)
        self._address = None
        gates = self._all()
        for gate in gates:
            gate.is_shut = True
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        for gate in gates:
            await gate.empty()

    def forget(self) -> None:
        """Cut off those who are still rolling back."""
        self._farewells.end()

    async def close(self) -> None:
        """Close every gate, and cut what goes through."""
        for gate in self._all():
            await gate.close()

    def _all(self) -> list[Gate]:
        return [gate for gates in self._gates.values() for gate in gates]

    def _links_of(self, worker: str) -> Links:
        """Its links but for the number of a run; quoting them anew in each would take longer."""
        own = self._folder / _ANY_RUN / worker
        return Links(
            self._servers.postgres.behind(own, port=5432).url,
            self._servers.redis.behind(own / _REDIS_SOCKET).url,
            self._servers.redis.behind(own / _BROKER_SOCKET).broker_url,
        )

    async def _listen(self, worker: str, scheduled: Keeper, recorded: Keeper) -> None:
        own = self._sockets / worker
        own.mkdir()
        self._links[worker] = self._links_of(worker)
        server, redis_server = self._servers.postgres.address, self._servers.redis.address
        postgres = Gate(
            worker,
            server,
            PostgresFraming,
            scheduled,
            self._backends,
            farewells=self._farewells,
        )
        redis = Gate(worker, redis_server, lambda: RespFraming(self._scripts), scheduled)
        broker = Gate(worker, redis_server, lambda: RespFraming(Scripts()), recorded)
        self._gates[worker] = [postgres, redis, broker]
        await postgres.listen(Address(path=str(own / _POSTGRES_SOCKET)))
        await redis.listen(Address(path=str(own / _REDIS_SOCKET)))
        await broker.listen(Address(path=str(own / _BROKER_SOCKET)))


def _in_run(run: str, url: str) -> str:
    before, _, after = url.rpartition(_ANY_RUN)
    return before + run + after
