"""A server on loopback that must never be reached, and an outside world for tests that have no internet."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from aiohttp import web

from server.infra.egress import AddressInfo, Destinations, GuardedEgress

PUBLIC = "1.1.1.1"
FRONT = "front.example"
"""The name under which a test's own web server passes for a public one."""


@dataclass
class Canary:
    """Counts connections, whatever is said on them."""

    port: int = 0
    hits: int = 0

    async def met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hits += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret")
        writer.close()


@asynccontextmanager
async def canary() -> AsyncIterator[Canary]:
    """Listens on every address of this machine, IPv4 and IPv6, where the machine has them."""
    bird = Canary()
    servers = [await asyncio.start_server(bird.met, "0.0.0.0", 0)]
    bird.port = servers[0].sockets[0].getsockname()[1]
    if socket.has_ipv6:
        with suppress(OSError):  # a machine may have no IPv6
            servers.append(await asyncio.start_server(bird.met, "::", bird.port))
    try:
        yield bird
    finally:
        for server in servers:
            server.close()
            await server.wait_closed()


def no_internet(info: AddressInfo) -> socket.socket:
    """Opens sockets to this machine only: elsewhere there is nothing in a test."""
    if not info[4][0].startswith(("127.", "::", "0.0.0.0")):
        raise OSError(f"no route to {info[4][0]}")
    return socket.socket(info[0], info[1], info[2])


@dataclass
class World:
    """Name servers under a test's control: each name answers with the next of its answers, then repeats the last."""

    names: Mapping[str, Sequence[Iterable[str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def lookup(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answers = self.names.get(host)
        if answers is None:  # what is no name of ours the system may read: it knows 0x7f000001 and localhost
            return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        return list(answers[min(self.asked.count(host), len(answers)) - 1])


Build = Callable[..., GuardedEgress]


def egress(
    world: World, *, ports: Iterable[int] = (), allow: Iterable[tuple[str, int]] = (), build: Build = GuardedEgress
) -> GuardedEgress:
    """`ports` are allowed beside the web's, so that only the address can save the canary."""
    destinations = Destinations(frozenset(allow), ports=frozenset({80, 443, *ports}))
    return build(destinations, lookup=world.lookup, open_socket=no_internet)


@asynccontextmanager
async def website(*routes: web.RouteDef) -> AsyncIterator[int]:
    """A web server of the test's own; yields its port."""
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
