"""Stop a busy server: everybody is told and nothing that was acknowledged is lost.

    python -m tests.faults.drain [--sockets 200] [--turns 20] [--mutant]

Of the open sockets, some are in the middle of an answer and as many are typing when SIGTERM arrives. The exit code is 1
unless the server says at once that it is not ready, tells every client when to come back (not all at the same time),
ends every answer or keeps what there is of it, has every acknowledged message in its database, and exits with 0 within
10 s. `--mutant` runs a server that goes at once; then the exit code is 0 only if the check caught it.
"""

import argparse
import asyncio
import contextlib
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.client import TEXT_CAPS, ChatClient, visitor_token
from bench.instant_model import instant_model
from bench.serving import free_port, serving
from tests.faults.kill9 import BOT, GONE

HASTY = ("-m", "tests.faults.broken", "drain")
GONE_SECONDS = 10.0
READY_SECONDS = 0.5
STORY = " ".join(["And then they went on."] * 20)
"""At `PAUSE` a word, a little longer than answers may go on after SIGTERM: the earliest end, the others are cut."""
PAUSE = 0.1
APART = 4.0
"""Seconds between the first question and the last."""
TYPING = 0.6
"""Seconds between two messages of somebody who types: less than a socket may send."""


class Guest:
    """One socket, and what it was told."""

    def __init__(self, url: str, number: int, token: str) -> None:
        self.number, self.acknowledged = number, list[str]()
        self.chat = ChatClient(url, BOT, caps=TEXT_CAPS)
        self.chat.token = token

    async def ask(self, after: float) -> None:
        """Be in the middle of an answer."""
        await asyncio.sleep(after)
        await self.say("tell")
        await self.chat.wait("txt")

    async def type(self) -> None:
        """Send messages until the server is gone."""
        with contextlib.suppress(*GONE):
            for n in range(1000):
                await self.say(str(n))
                await asyncio.sleep(TYPING)

    async def say(self, name: str) -> None:
        id = f"{self.number}.{name}"
        await self.chat.say(f"message {id}", id)
        self.acknowledged.append(id)


@dataclass(frozen=True, slots=True)
class Verdict:
    sockets: int
    told: int
    together: int
    """The most clients that were told the same moment to come back."""
    unready: float
    gone: float
    code: int
    acknowledged: int
    missing: int
    turns: int
    kept: int

    @property
    def good(self) -> bool:
        return (
            self.told == self.sockets
            and self.together <= max(1, self.sockets // 10)
            and self.unready <= READY_SECONDS
            and self.gone <= GONE_SECONDS
            and self.code == 0
            and self.acknowledged > 0
            and self.missing == 0
            and self.kept == self.turns
        )

    def __str__(self) -> str:
        return (
            f"not ready after {self.unready:.2f} s, gone after {self.gone:.1f} s with {self.code}; told "
            f"{self.told} of {self.sockets} (at most {self.together} to come back together); answers kept {self.kept} "
            f"of {self.turns}; acknowledged {self.acknowledged}, of these missing {self.missing}"
        )


async def unready(url: str) -> float:
    """Seconds until the server says that it is not ready, or is not there any more."""
    start = time.monotonic()
    async with aiohttp.ClientSession() as http:
        while time.monotonic() - start < GONE_SECONDS:
            try:
                async with http.get(f"{url}/health/ready") as answer:
                    if answer.status == 503:
                        return time.monotonic() - start
            except aiohttp.ClientError:
                break
            await asyncio.sleep(0.01)
    return float("inf")


def judge(database: Path, asked: list[Guest], guests: list[Guest]) -> tuple[int, int]:
    """Acknowledged messages that the database does not have; answers that it has."""
    with contextlib.closing(sqlite3.connect(database)) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        ids = {id for (id,) in file.execute("SELECT client_id FROM messages WHERE role = 'user'")}
        answered = {id for (id,) in file.execute("SELECT conversation_id FROM messages WHERE role = 'assistant'")}
    missing = sum(id not in ids for guest in guests for id in guest.acknowledged)
    return missing, sum(guest.chat.ready["conversation_id"] in answered for guest in asked)


async def main(sockets: int, turns: int, program: tuple[str, ...]) -> Verdict:
    port = free_port()
    url = f"http://localhost:{port}"
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        async with contextlib.AsyncExitStack() as stack:
            model = await stack.enter_async_context(instant_model(pause=PAUSE, words=STORY))
            settings = {"MA_LLM__BASE_URL": model, "MA_LLM__MODEL": "instant", "MA_MAX_SESSIONS": str(sockets)}
            process = await stack.enter_async_context(serving(data, port, program=program, **settings))
            token = await visitor_token(url, BOT, url)
            guests = [Guest(url, number, token) for number in range(sockets)]
            for guest in guests:
                await stack.enter_async_context(guest.chat)
            asked, typing = guests[:turns], guests[turns : 2 * turns]
            await asyncio.gather(*(guest.ask(APART * n / turns) for n, guest in enumerate(asked)))
            tasks = [asyncio.create_task(guest.type()) for guest in typing]
            await asyncio.sleep(1)
            process.send_signal(signal.SIGTERM)
            start = time.monotonic()
            refused = await unready(url)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2 * GONE_SECONDS):
                    await process.wait()
            gone = time.monotonic() - start
            code = process.returncode if process.returncode is not None else -1
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        told = [guest.chat.of("draining") for guest in guests]
        moments = Counter(draining[0]["retry_ms"] for draining in told if draining)
        missing, kept = judge(data / "machineavatars.db", asked, guests)
    return Verdict(
        sockets,
        sum(map(bool, told)),
        max(moments.values(), default=sockets),
        refused,
        gone,
        code,
        sum(len(guest.acknowledged) for guest in guests),
        missing,
        turns,
        kept,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, default=200)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--mutant", action="store_true", help="a server that does not drain; it must be caught")
    chosen = parser.parse_args()
    found = asyncio.run(main(chosen.sockets, chosen.turns, HASTY if chosen.mutant else ("-m", "server")))
    print(found)
    if chosen.mutant:
        blamed = found.acknowledged > 0 and found.told < found.sockets
        print("caught" if blamed else "NOT CAUGHT")
        sys.exit(0 if blamed else 1)
    sys.exit(0 if found.good else 1)
