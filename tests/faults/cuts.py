"""Cut the connections of many visitors again and again: each event is delivered once and in order, or said to be lost.

    python -m tests.faults.cuts [--mutant]

Fifty visitors, ten of them with sound, talk through proxies that cut them twenty times each, with RST or FIN, for up to
a second; three of them are also cut once for longer than their session lasts. Every event that a client gets must have
the next number, and the sound of a response must go on where it was. Where a session could not be resumed, and at the
end, every message that was acknowledged and every answer that was seen to end must be in the history. `--mutant` runs a
server that forgets what it has sent, not what was acknowledged.
"""

import asyncio
import contextlib
import random
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from bench.serving import free_port, serving
from tests.faults.guest import GONE, KEY, SILENT, VOICED, Guest, Lost, guests, history
from tests.faults.scripted import BRIEF
from tests.faults.verdict import Verdict, judge
from tests.support.proxy import CuttingProxy, cutting_proxy

GUESTS, WITH_SOUND, LATE, CUTS = 50, 10, 3, 20
MUTANT = "forgetful"
MUTANT_CUTS = 4
"""A server that forgets is seen to at the first."""
TOO_LONG = BRIEF + 2.0
"""Seconds of an outage that outlasts a session of the `brief` server."""


class Visit:
    """One visitor behind a proxy of its own."""

    def __init__(self, guest: Guest, proxy: CuttingProxy, http: aiohttp.ClientSession, url: str) -> None:
        self.guest, self._proxy, self._http, self._url = guest, proxy, http, url
        self.accepted: dict[str, str] = {}
        self.over = False

    async def stay(self) -> None:
        """Come back after every cut."""
        while not self.over:
            renewed = self.guest.renewed
            try:
                await self.guest.join(self._http)
            except GONE:
                await asyncio.sleep(0.05)
                continue
            if self.guest.renewed > renewed:
                await self.agree()
            await self.guest.read()

    async def talk(self) -> None:
        """Say one thing after the other, each until it is acknowledged, and hear out the answer."""
        n = 0
        while not self.over:
            n += 1
            await self._say(f"m{n}", f"message {n}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(8):
                    await self._answered()

    async def _say(self, id: str, text: str) -> None:
        while id not in self.accepted and not self.over:
            await self.guest.joined.wait()
            try:
                async with asyncio.timeout(3):
                    answer = await (await self.guest.say(id, text))
                self.accepted[id] = answer["message_id"]
            except (*GONE, Lost):
                await asyncio.sleep(0.05)

    async def _answered(self) -> None:
        seen, renewed = len(self.guest.events), self.guest.renewed
        while not any(name == "resp.end" for name, _ in self.guest.events[seen:]):
            if self.guest.renewed > renewed or self.over:
                return
            self.guest.news.clear()
            await self.guest.news.wait()

    async def suffer(self, start: float, cuts: int, *, late: bool) -> None:
        """All the cuts."""
        await asyncio.sleep(start)
        for n in range(cuts):
            await asyncio.sleep(random.uniform(0.2, 1.0))
            outage = TOO_LONG if late and n == cuts // 2 else random.uniform(0, 1) ** 2
            self._proxy.refuse()
            await self._proxy.cut(reset=random.random() < 0.5)
            await asyncio.sleep(outage)
            self._proxy.accept()

    async def agree(self) -> None:
        """Whether the history has what this visitor was told."""
        kept = await history(self._http, self._url, self.guest)
        said = [row["id"] for row in kept if row["role"] == "user"]
        mine = list(self.accepted.values())
        if [id for id in said if id in set(mine)] != mine:
            self.guest.faults.append("the history does not have the messages in the order of their acknowledgement")
        if len({row["content"] for row in kept if row["role"] == "user"}) != len(said):
            self.guest.faults.append("the history has a message twice")
        answers = {row["id"] for row in kept if row["role"] == "assistant"}
        lost = [end for name, end in self.guest.events if name == "resp.end" and end["message_id"] not in answers]
        if lost:
            self.guest.faults.append(f"the history lacks {len(lost)} answers")


async def check(program: tuple[str, ...]) -> Verdict:
    cuts = MUTANT_CUTS if MUTANT in program else CUTS
    async with AsyncExitStack() as stack:
        data, port = Path(stack.enter_context(tempfile.TemporaryDirectory())), free_port()
        url = f"http://localhost:{port}"
        await stack.enter_async_context(serving(data, port, program=program, **KEY))
        http, all = await stack.enter_async_context(guests(url, GUESTS))
        visits = []
        for n, guest in enumerate(all):
            proxy = await stack.enter_async_context(cutting_proxy("127.0.0.1", port))
            guest.url, guest.caps = proxy.url, dict(VOICED if n < WITH_SOUND else SILENT)
            guest.patience = BRIEF - 0.5
            visits.append(Visit(guest, proxy, http, url))
        async with asyncio.TaskGroup() as staying:
            for visit in visits:
                staying.create_task(visit.stay())
            talking = [staying.create_task(visit.talk()) for visit in visits]
            async with asyncio.TaskGroup() as suffering:
                for n, visit in enumerate(visits):
                    late = WITH_SOUND <= n < WITH_SOUND + LATE
                    suffering.create_task(visit.suffer(n * 0.04, cuts, late=late))
            await asyncio.sleep(3)
            for visit in visits:
                visit.over = True
                visit.guest.news.set()
            for task in talking:
                task.cancel()
            for visit in visits:
                await visit.agree()
                await visit.guest.leave()
    broken = [f"visitor {n}: {fault}" for n, guest in enumerate(all) for fault in guest.faults]
    resumed, renewed = sum(guest.resumed for guest in all), sum(guest.renewed for guest in all)
    if renewed < LATE:
        broken.append(f"only {renewed} sessions were said to be lost of {LATE} that were away too long")
    events = sum(len(guest.events) for guest in all)
    sound = sum(guest.heard(rid) for guest in all for rid in range(1, 500)) / 24_000
    suffered = sum(guest.cuts for guest in all)
    return Verdict(
        f"{events:,} events, {sound:.0f} s of sound, {suffered} cuts: {resumed} resumed, {renewed} lost and said so",
        broken,
    )


if __name__ == "__main__":
    sys.exit(judge(__doc__, check, "brief", mutant=MUTANT, complaint=" has number "))
