"""What tests of the lease share: its key, a free port, what is counted, who holds it."""

import asyncio
import contextlib
import socket
from typing import Protocol

from redis.asyncio import Redis

from claimwright.locks import LeaseOptions, lease
from claimwright.metrics import REGISTRY
from support.redis_relay import SET, Relay

KEY = "lock:claim_calc:7:2025-01-15"
OPTIONS = LeaseOptions(blocking_timeout_seconds=60)


def free_port() -> int:
    """Let the system choose: two servers that search upwards from one port would collide."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Relayed(Protocol):
    """Open a relay with a fault before the server, and a client that goes through it."""

    def __call__(
        self, fault: str = "", trigger: bytes = SET
    ) -> contextlib.AbstractAsyncContextManager[tuple[Relay, Redis]]: ...


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"claimwright_leases_{name}_total", labels) or 0.0


async def hold(redis_client: Redis, options: LeaseOptions = OPTIONS) -> None:
    """Take the lease and never give it back by oneself."""
    async with lease(redis_client, KEY, options):
        await asyncio.Event().wait()
