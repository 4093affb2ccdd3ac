"""Send the outbound client where it must never go: a server on loopback counts who comes.

    python -m tests.faults.egress [--mutant]

Every address of the corpus is asked for, a name server answers first with a public address and then with loopback, and
a website redirects to loopback, six times in a row, and to another scheme. The exit code is 1 when the server on
loopback was reached or a credential crossed to another origin. `--mutant` guards by looking the name up beforehand
instead of at the dial; then the exit code is 0 only if the check caught it.
"""

import argparse
import asyncio
import contextlib
import socket
import sys
from typing import Any

from aiohttp import web
from yarl import URL

from api._kit.errors import UrlNotAllowed
from api._kit.ports import FetchFailed, FetchLimits
from server.core.addresses import public
from server.infra.egress import AddressInfo, GuardedEgress
from tests.security.canary import FRONT, PUBLIC, Canary, World, canary, egress, website
from tests.security.corpus import CORPUS

LIMITS = FetchLimits(seconds=2, connect_seconds=1)
VISITS = 4


class AskingBeforehand(GuardedEgress):
    """Judges what a name answers now, and lets the connector ask once more."""

    def dial(self, info: AddressInfo) -> socket.socket:
        return self._open_socket(info)

    def _request(self, method: str, url: URL, *more: Any) -> Any:
        host, port = url.raw_host or "", url.port or 0
        if not self.destinations.excepted(host, port):
            with contextlib.suppress(OSError):
                if not all(public(address) for address in self.names._lookup(host, port)):
                    raise UrlNotAllowed
        return super()._request(method, url, *more)


class Away:
    """A website that sends visitors elsewhere, and remembers what they carried."""

    def __init__(self) -> None:
        self.targets: list[str] = []
        self.credentials = 0

    async def redirect(self, request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": self.targets[int(request.match_info["target"])]})

    async def arrive(self, request: web.Request) -> web.Response:
        self.credentials += "Authorization" in request.headers
        return web.Response(text="here")


async def visit(out: GuardedEgress, url: str, expected: type[Exception] | tuple[type[Exception], ...]) -> bool:
    """Whether the address was refused as it has to be."""
    try:
        await out.fetch("GET", url, headers={"Authorization": "Bearer secret"}, limits=LIMITS)
    except expected:
        return True
    return False


async def probe(build: type[GuardedEgress]) -> list[str]:
    """What went wrong."""
    wrong: list[str] = []
    away = Away()

    async def go(bird: Canary, out: GuardedEgress, url: str, *, reached: bool = False) -> None:
        before = bird.hits
        refused = await visit(out, url, (UrlNotAllowed, FetchFailed))
        if bird.hits > before:
            wrong.append(f"{url} reached the server on loopback")
        elif refused == reached:
            wrong.append(f"{url} was {'refused' if refused else 'not refused'}")

    async with canary() as bird, website(web.get("/to/{target}", away.redirect), web.get("/", away.arrive)) as port:
        turning = {f"turning{n}.example": [[PUBLIC]] * n + [["127.0.0.1"]] for n in range(VISITS)}
        world = World(
            {FRONT: [["127.0.0.1"]], "other.example": [["127.0.0.1"]], "public.example": [[PUBLIC]], **turning}
        )
        out = egress(world, ports=[bird.port], allow=[(FRONT, port), ("other.example", port)], build=build)
        for url in CORPUS:
            await go(bird, out, url.format(p=bird.port))
        for name in turning:
            for _ in range(VISITS):
                await go(bird, out, f"http://{name}:{bird.port}/")
        away.targets = [
            *(f"/to/{n}" for n in range(1, 7)),
            f"http://other.example:{port}/",
            f"http://127.0.0.1:{bird.port}/",
            f"http://turning1.example:{bird.port}/",
            "file:///etc/passwd",
            "gopher://127.0.0.1/",
        ]
        front = f"http://{FRONT}:{port}/to"
        await go(bird, out, f"{front}/2", reached=True)  # five redirects, the last to another origin
        await go(bird, out, f"{front}/1")
        for target in range(7, len(away.targets)):
            await go(bird, out, f"{front}/{target}")
        if away.credentials:
            wrong.append("a credential crossed to another origin")
        await out.close()
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutant", action="store_true", help="guard by looking names up beforehand")
    mutant = parser.parse_args().mutant
    wrong = asyncio.run(asyncio.wait_for(probe(AskingBeforehand if mutant else GuardedEgress), 30))
    for problem in wrong:
        print(problem)
    print(f"{len(CORPUS)} addresses, {VISITS} turning names, redirects: {len(wrong)} problems")
    if mutant:
        print("the mutant was caught" if wrong else "the mutant was NOT caught")
        return 0 if wrong else 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
