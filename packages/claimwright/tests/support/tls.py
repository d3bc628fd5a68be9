"""TLS in front of a server that speaks none: certificates of one's own, and what takes it off."""

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that has signed itself, so that it is its own authority."""

    certificate: Path
    key: Path


def certificate_for(host: str, folder: Path) -> Certificate:
    """Make a certificate for an IP address, with the openssl of the system."""
    made = Certificate(folder / f"{host}.pem", folder / f"{host}.key")
    words = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={host}"]
    files = ["-keyout", str(made.key), "-out", str(made.certificate)]
    names = ["-addext", f"subjectAltName=IP:{host}"]
    command = ["openssl", "req", *words, *files, *names]
    subprocess.run(command, check=True, capture_output=True)
    return made


@asynccontextmanager
async def behind_tls(port: int, shown: Certificate) -> AsyncIterator[int]:
    """A port that speaks TLS, and passes what is said to a plain one."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(shown.certificate, shown.key)
    tasks: set[asyncio.Task[None]] = set()

    async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            while said := await reader.read(65_536):
                writer.write(said)
                await writer.drain()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        tasks.add(asyncio.create_task(passed(reader, server_writer)))
        tasks.add(asyncio.create_task(passed(server_reader, writer)))

    listener = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
