"""A worker's own addresses of the servers: a gate behind each of them."""

from pathlib import Path
from typing import Final

from contention.wire.backends import Backends
from contention.wire.gate import Address, Gate, Keeper
from contention.wire.postgres import PostgresFraming
from contention.wire.redis import RespFraming
from contention.wire.redis_scripts import Scripts
from contention.wire.servers import Links, Servers

_POSTGRES_SOCKET: Final = ".s.PGSQL.5432"


class OwnLinks:
    """The gates of one run's workers.

    Args:
        folder: for the gates' sockets; its path is short.
        servers: where the gates lead.
        backends: serve the connections to PostgreSQL one after another.
        scripts: of Redis, known from the runs before.
        scheduled: decides what passes on the links to the two servers.
        recorded: sees what passes on the link to a broker.
    """

    def __init__(
        self,
        folder: Path,
        servers: Servers,
        backends: Backends | None,
        scripts: Scripts,
        *,
        scheduled: Keeper,
        recorded: Keeper,
    ) -> None:
        self._folder = folder
        self._servers = servers
        self._backends = backends
        self._scripts = scripts
        self._scheduled = scheduled
        self._recorded = recorded
        self._gates: list[Gate] = []

    async def open(self, worker: str) -> Links:
        """The links of one worker, behind gates that are open from now on."""
        own = self._folder / worker
        own.mkdir()
        server, redis_server = self._servers.postgres.address, self._servers.redis.address
        postgres = Gate(worker, server, PostgresFraming, self._scheduled, self._backends)
        redis = Gate(worker, redis_server, lambda: RespFraming(self._scripts), self._scheduled)
        broker = Gate(worker, redis_server, lambda: RespFraming(Scripts()), self._recorded)
        self._gates += [postgres, redis, broker]
        await postgres.listen(Address(path=str(own / _POSTGRES_SOCKET)))
        await redis.listen(Address(path=str(own / "redis.sock")))
        await broker.listen(Address(path=str(own / "broker.sock")))
        return Links(
            self._servers.postgres.behind(own, port=5432).url,
            self._servers.redis.behind(own / "redis.sock").url,
            self._servers.redis.behind(own / "broker.sock").broker_url,
        )

    async def close(self) -> None:
        """Close every gate, and cut what goes through."""
        for gate in self._gates:
            await gate.close()
