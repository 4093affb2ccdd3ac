"""Visitors who stop reading in the midst of an answer cost a bounded amount of memory, are cut, and may come back.

    python -m tests.faults.slow [--mutant]

Twenty visitors listen to a spoken answer and then ask, twice each, for two megabytes of text. First they read it
all; what ten neighbours wait for an acknowledgement meanwhile is the measure. Then they stop reading instead, in
mid-sentence: the server's memory may grow by 6 MB for each, all are cut within 10 s of using up their budget, the
neighbours wait at most half as long again (and 25 ms are never too long), and whoever reads again gets the session
back, with a word that something is lost. `--mutant` runs a server without a budget.
"""

import asyncio
import re
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from bench.latency import percentile
from bench.serving import free_port, serving
from tests.faults.guest import GONE, KEY, VOICED, Guest, guests
from tests.faults.verdict import Verdict, judge

SLOW, NEIGHBOURS, FLOODS = 20, 10, 2
MOST_BYTES = SLOW * 6 * 1024 * 1024
FULL_SECONDS = 6.0
"""What it takes to ask for more than the budget of 4 MB."""
CUT_SECONDS = FULL_SECONDS + 10.0
PHASE_SECONDS = 10.0
NEVER_TOO_LONG = 25.0
"""Milliseconds. Below that, half as long again is noise."""


def resident(pid: int) -> int:
    """Bytes of memory that the process holds."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


async def sockets(http: aiohttp.ClientSession, url: str) -> int:
    async with http.get(f"{url}/metrics") as answer:
        found = re.search(r"^\S*sockets\S* (\d+)", await answer.text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


class Phase:
    """Some seconds in which the neighbours talk, and the others ask for too much."""

    def __init__(self, neighbours: list[Guest], pid: int) -> None:
        self._neighbours, self._pid = neighbours, pid
        self.waits: list[float] = []
        self.peak = 0

    async def neighbour(self, guest: Guest, name: str) -> None:
        for n in range(1000):
            start = time.perf_counter()
            await (await guest.say(f"{name}{n}", "hello"))
            self.waits.append((time.perf_counter() - start) * 1000)
            await asyncio.sleep(0.25)

    async def memory(self) -> None:
        while True:
            self.peak = max(self.peak, resident(self._pid))
            await asyncio.sleep(0.1)

    async def run(self, name: str, seconds: float, asking: list[Guest]) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.neighbour(guest, name)) for guest in self._neighbours]
            tasks.append(group.create_task(self.memory()))
            flooding = [group.create_task(self.flood(guest, name)) for guest in asking]
            await asyncio.sleep(seconds)
            for task in (*tasks, *flooding):
                task.cancel()

    async def flood(self, guest: Guest, name: str) -> None:
        try:
            for n in range(FLOODS):
                await guest.emit("say", {"id": f"{name}{n}", "text": f"flood {n}", "interrupt": False, "speak": False})
                await asyncio.sleep(0.3)
        except GONE:
            pass


async def check(program: tuple[str, ...]) -> Verdict:
    broken: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        url = f"http://localhost:{port}"
        async with (
            serving(Path(folder), port, program=program, **KEY) as process,
            guests(url, SLOW + NEIGHBOURS) as (http, all),
            asyncio.TaskGroup() as group,
        ):
            slow, neighbours = all[:SLOW], all[SLOW:]
            for guest in slow:
                guest.caps = dict(VOICED)
            for guest in all:
                await guest.join(http)
            reading = [group.create_task(guest.read()) for guest in all]

            reads = Phase(neighbours, process.pid)
            await reads.run("reads", PHASE_SECONDS, slow)
            for guest in slow:
                if not guest.joined.is_set():
                    return Verdict(
                        "nothing could be measured", ["a visitor who reads was cut: is this machine busy?"], False
                    )
                await guest.say("story", "tell me a story")
            await asyncio.sleep(1)
            before = resident(process.pid)
            open_before = await sockets(http, url)
            for guest in slow:
                guest.acks = False
                await guest.stop_reading()
            stalls = Phase(neighbours, process.pid)
            start, cut_after = time.monotonic(), 0.0
            phase = group.create_task(stalls.run("stalls", PHASE_SECONDS, slow))
            while time.monotonic() < start + CUT_SECONDS and not cut_after:
                await asyncio.sleep(0.2)
                if await sockets(http, url) <= open_before - SLOW:
                    cut_after = time.monotonic() - start
            await phase
            if not cut_after:
                left = await sockets(http, url) - open_before + SLOW
                broken.append(f"{left} of {SLOW} that do not read are not cut after {CUT_SECONDS:.0f} s")
            for guest, task in zip(slow, reading, strict=False):
                task.cancel()
                await asyncio.wait({task})
                guest.acks = True
                await guest.join(http)
            back = [group.create_task(guest.read()) for guest in slow]
            if cut_after and any(guest.renewed != 1 for guest in slow):
                broken.append("who comes back is not told that something is lost")
            for guest in slow:
                async with asyncio.timeout(10):
                    if not (await (await guest.say("back", "I am back")))["ok"]:
                        broken.append("who comes back is not heard")
            for task in (*reading, *back):
                task.cancel()
    grown = stalls.peak - before
    usual, meanwhile = percentile(reads.waits, 99), percentile(stalls.waits, 99)
    if grown > MOST_BYTES:
        broken.append(f"the server's memory grew by {grown / 2**20:.0f} MB")
    if meanwhile > max(1.5 * usual, NEVER_TOO_LONG):
        broken.append(f"the neighbours waited {meanwhile:.0f} ms instead of {usual:.0f}")
    broken += [fault for guest in neighbours for fault in guest.faults]
    return Verdict(
        f"{SLOW} that do not read: {grown / 2**20:.0f} MB more, cut after {cut_after:.1f} s; neighbours' p99 "
        f"{meanwhile:.0f} ms ({usual:.0f} ms when all read)",
        broken,
    )


if __name__ == "__main__":
    sys.exit(judge(__doc__, check, "lenient", mutant="boundless", complaint="that do not read are not cut"))
