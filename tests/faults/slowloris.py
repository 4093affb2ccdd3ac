"""Hold connections open without ever finishing: all of them are closed in time, and everybody else is served meanwhile.

    python -m tests.faults.slowloris [--sockets 200] [--mutant]

Six kinds, all at once: nothing is sent; half a header; a header byte by byte; a body byte by byte; chunks without an
end; a websocket that joins no namespace. The exit code is 1 when one of them is still open after 20 s, or when the p99
of ordinary requests beside them is over 100 ms. `--mutant` runs a server with the deadlines that the libraries come
with; then the exit code is 0 only if the check caught it.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.serving import free_port, serving

PATIENT = ("-m", "tests.faults.broken", "deadlines")
CLOSED_SECONDS = 20.0
P99 = 0.1
TRICKLE = 1.0
"""Seconds between two bytes."""
ASKED = 0.02
"""Seconds between two ordinary requests."""

HEADER = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
UPGRADE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def silent() -> AsyncIterator[bytes]:
    """Nothing at all."""
    return
    yield b""


async def half_header() -> AsyncIterator[bytes]:
    yield HEADER[:40]


async def trickled_header() -> AsyncIterator[bytes]:
    yield HEADER
    for n in range(1000):
        await asyncio.sleep(TRICKLE)
        yield f"X-{n}: 1\r\n".encode()


async def trickled_body() -> AsyncIterator[bytes]:
    yield HEADER + b"Content-Length: 10000\r\n\r\n"
    while True:
        await asyncio.sleep(TRICKLE)
        yield b" "


async def endless_chunks() -> AsyncIterator[bytes]:
    yield HEADER + b"Transfer-Encoding: chunked\r\n\r\n"
    while True:
        await asyncio.sleep(TRICKLE)
        yield b"1\r\n \r\n"


async def never_joining() -> AsyncIterator[bytes]:
    yield UPGRADE


KINDS: tuple[Callable[[], AsyncIterator[bytes]], ...] = (
    silent,
    half_header,
    trickled_header,
    trickled_body,
    endless_chunks,
    never_joining,
)


async def hold(port: int, kind: Callable[[], AsyncIterator[bytes]]) -> float:
    """Seconds until the server closed the connection; infinite when it did not."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    start = time.monotonic()

    async def send() -> None:
        with suppress(ConnectionError):
            async for piece in kind():
                writer.write(piece)
                await writer.drain()

    sending = asyncio.create_task(send())
    try:
        async with asyncio.timeout(CLOSED_SECONDS + 2):
            with suppress(ConnectionError):
                while await reader.read(4096):
                    pass
        return time.monotonic() - start
    except TimeoutError:
        return float("inf")
    finally:
        sending.cancel()
        await asyncio.wait({sending})
        writer.transport.abort()


async def ordinary(url: str, times: list[float]) -> None:
    """Ask one thing after the other, until cancelled."""
    async with aiohttp.ClientSession() as http:
        while True:
            start = time.monotonic()
            async with http.get(f"{url}/health") as answer:
                await answer.read()
            times.append(time.monotonic() - start)
            await asyncio.sleep(ASKED)


@dataclass(frozen=True, slots=True)
class Verdict:
    slowest: dict[str, float]
    requests: int
    p99: float

    @property
    def good(self) -> bool:
        return max(self.slowest.values()) <= CLOSED_SECONDS and self.p99 <= P99

    def __str__(self) -> str:
        kinds = ", ".join(f"{kind.replace('_', ' ')} {seconds:.1f} s" for kind, seconds in self.slowest.items())
        return f"last one closed: {kinds}; p99 of {self.requests} ordinary requests {self.p99 * 1000:.0f} ms"


async def main(sockets: int, program: tuple[str, ...]) -> Verdict:
    port, times = free_port(), list[float]()
    with tempfile.TemporaryDirectory() as folder:
        async with serving(Path(folder), port, program=program):
            asking = asyncio.create_task(ordinary(f"http://127.0.0.1:{port}", times))
            held = {kind.__name__: [hold(port, kind) for _ in range(sockets)] for kind in KINDS}
            closed = await asyncio.gather(*(asyncio.gather(*those) for those in held.values()))
            asking.cancel()
            await asyncio.wait({asking})
    slowest = dict(zip(held, map(max, closed), strict=True))
    return Verdict(slowest, len(times), sorted(times)[len(times) * 99 // 100])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, default=200, help="of each kind")
    parser.add_argument("--mutant", action="store_true", help="a server without deadlines; it must be caught")
    chosen = parser.parse_args()
    found = asyncio.run(main(chosen.sockets, PATIENT if chosen.mutant else ("-m", "server")))
    print(found)
    if chosen.mutant:
        print("caught" if not found.good else "NOT CAUGHT")
    sys.exit(0 if found.good != chosen.mutant else 1)
