"""Take Redis away from a busy server, by killing it and by freezing it: nobody notices, and the limits hold.

    python -m tests.faults.redis_gone [--clients 100] [--seconds 10] [--mutant]

Visitors chat and others ask for the chatbot's configuration, each request of which is counted in Redis. The exit code
is 1 unless every message is acknowledged (the slowest hundredth at most twice as late as before, or within 50 ms), no
request waits 300 ms longer than the slowest did before, signing in stays limited, the server says that it counts on its
own, and counts in Redis again within 5 s of its return. `--mutant` runs a server that waits for Redis; then the exit
code is 0 only if the check caught it.
"""

import argparse
import asyncio
import itertools
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from bench.client import TEXT_CAPS, ChatClient
from bench.instant_model import instant_model
from bench.serving import free_port, serving
from tests.faults.kill9 import BOT
from tests.support.redis_server import RedisServer, redis_server

PATIENT = ("-m", "tests.faults.broken", "patient")
LANES = 4
BETWEEN = 0.05
TYPING = 2.0
"""Seconds between two messages of a visitor."""
WAIT = 0.3
BACK = 5.0
LOGINS = 11
GIVE_UP = 5.0
"""Seconds after which a request counts as failed."""


@dataclass(slots=True)
class Phase:
    """What was seen while Redis was in one state. Times are in seconds."""

    name: str
    requests: list[float] = field(default_factory=list)
    acks: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def late(self) -> float:
        """The 99th percentile of acknowledgements."""
        return sorted(self.acks)[int(len(self.acks) * 0.99)] if self.acks else float("inf")

    def __str__(self) -> str:
        return (
            f"{self.name}: {len(self.acks)} acks, p99 {self.late * 1000:.0f} ms; {len(self.requests)} requests, "
            f"slowest {max(self.requests, default=0) * 1000:.0f} ms; failed {len(self.failed)} {self.failed[:2]}"
        )


class Visits:
    """Everybody who uses the server; what happens goes into the current phase."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url, self._http, self.phase = url, http, Phase("none")

    async def ask(self) -> None:
        while True:
            phase, start = self.phase, time.monotonic()
            status = await self._config()
            phase.requests.append(time.monotonic() - start)
            if status != 200:
                phase.failed.append(f"config {status}")
            await asyncio.sleep(BETWEEN)

    async def _config(self) -> int:
        """The status; 0 when there is no answer."""
        try:
            async with self._http.get(
                f"{self._url}/api/v1/chatbots/{BOT}/config", headers={"Origin": self._url}
            ) as got:
                await got.read()
                return got.status
        except TimeoutError:
            return 0

    async def chat(self, client: ChatClient, number: int) -> None:
        await asyncio.sleep(TYPING * (number % 20) / 20)
        for n in itertools.count():
            phase, start = self.phase, time.monotonic()
            try:
                await client.say("Hello", f"{number}.{n}")
            except Exception as error:
                phase.failed.append(f"say {error!r}")
            phase.acks.append(time.monotonic() - start)
            await asyncio.sleep(TYPING)

    async def sign_in(self, email: str) -> list[int]:
        """Statuses of attempts in one minute with a wrong password, up to the first that gets no answer."""
        if (left := 60 - time.time() % 60) < 5:
            await asyncio.sleep(left)
        statuses = []
        for _ in range(LOGINS):
            body = {"email": email, "password": "wrong"}
            try:
                async with self._http.post(f"{self._url}/api/v1/auth/login", json=body) as got:
                    statuses.append(got.status)
            except TimeoutError:
                return [*statuses, 0]
        return statuses

    async def counted(self, store: str) -> float:
        async with self._http.get(f"{self._url}/metrics") as got:
            found = re.search(rf'ma_limits_total{{store="{store}"}} (\S+)', await got.text())
        return float(found[1]) if found else 0.0

    async def health(self) -> str:
        async with self._http.get(f"{self._url}/health") as got:
            return str((await got.json())["parts"]["limits"])


@asynccontextmanager
async def busy(url: str, clients: int) -> AsyncIterator[Visits]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(GIVE_UP)) as http:
        visits = Visits(url, http)
        chats = [ChatClient(url, BOT, caps=TEXT_CAPS) for _ in range(clients)]
        try:
            for chat in chats:
                await chat.__aenter__()
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(visits.chat(chat, n)) for n, chat in enumerate(chats)]
                tasks += [group.create_task(visits.ask()) for _ in range(LANES)]
                await asyncio.sleep(TYPING)
                yield visits
                for task in tasks:
                    task.cancel()
        finally:
            for chat in chats:
                await chat.__aexit__(None, None, None)


async def outage(visits: Visits, redis: RedisServer, how: str, before: Phase, seconds: float) -> list[str]:
    """What went wrong."""
    wrong: list[str] = []
    fallback = await visits.counted("fallback")
    visits.phase = during = Phase(how)
    if how == "killed":
        await redis.kill()
    else:
        redis.freeze()
    statuses = await visits.sign_in(f"{how}@example.com")
    await asyncio.sleep(seconds)
    if await visits.health() != "degraded":
        wrong.append("health says nothing")
    if await visits.counted("fallback") == fallback:
        wrong.append("the metric says nothing")
    counted, start = await visits.counted("redis"), time.monotonic()
    if how == "killed":
        await redis.start()
    else:
        redis.thaw()
    back = float("inf")
    for _ in range(int(2 * BACK / BETWEEN)):
        if await visits.counted("redis") > counted + LANES:
            back = time.monotonic() - start
            break
        await asyncio.sleep(BETWEEN)
    visits.phase = Phase("after")
    print(f"{during}; logins {statuses}; counts in Redis again after {back:.1f} s", flush=True)
    if during.failed:
        wrong.append("something failed")
    if during.late > max(0.05, 2 * before.late):
        wrong.append("acknowledgements are late")
    if max(during.requests) > WAIT + max(before.requests):
        wrong.append("a request waited for Redis")
    if statuses[-1] != 429:
        wrong.append("signing in is not limited")
    if back > BACK:
        wrong.append("Redis is not used again")
    return [f"{how}: {what}" for what in wrong]


async def main(clients: int, seconds: float, program: tuple[str, ...]) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        async with instant_model() as model, redis_server() as redis:
            settings = {"MA_LLM__BASE_URL": model, "MA_LLM__MODEL": "instant", "MA_REDIS_URL": redis.url}
            async with (
                serving(Path(folder), port, program=program, **settings),
                busy(f"http://localhost:{port}", clients) as visits,
            ):
                visits.phase = before = Phase("before")
                await asyncio.sleep(seconds)
                print(before, flush=True)
                wrong = await outage(visits, redis, "killed", before, seconds)
                return wrong + await outage(visits, redis, "frozen", before, seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--mutant", action="store_true", help="a server that waits for Redis; it must be caught")
    chosen = parser.parse_args()
    found = asyncio.run(main(chosen.clients, chosen.seconds, PATIENT if chosen.mutant else ("-m", "server")))
    print("\n".join(found) or "good")
    if chosen.mutant:
        print("caught" if found else "NOT CAUGHT")
    sys.exit(0 if bool(found) == chosen.mutant else 1)
