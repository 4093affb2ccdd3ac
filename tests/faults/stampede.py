"""Cut five hundred visitors at once: all are back within ten seconds, nobody is refused, and the others notice nothing.

    python -m tests.faults.stampede [--mutant]

They come back after a random time of up to five seconds, as the widget does. Twenty visitors who were not cut talk
meanwhile: the 99th percentile of their acknowledgements is at most 200 ms. `--mutant` runs a server whose sessions end
with their sockets.
"""

import asyncio
import gc
import random
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from bench.crowd import many_files
from bench.latency import percentile
from bench.serving import free_port, serving
from tests.faults.guest import GONE, KEY, Guest, guests
from tests.faults.verdict import Verdict, judge
from tests.support.proxy import cutting_proxy

CROWD, OTHERS = 500, 20
JITTER, BACK_SECONDS, MOST_MS = 5.0, 10.0, 200.0


async def join(http: aiohttp.ClientSession, all: list[Guest]) -> None:
    """In groups, so that this end keeps up."""
    for at in range(0, len(all), 25):
        await asyncio.gather(*(guest.join(http) for guest in all[at : at + 25]))


async def talk(guest: Guest, waits: list[float]) -> None:
    for n in range(1000):
        start = time.perf_counter()
        await (await guest.say(f"m{n}", "hello"))
        waits.append((time.perf_counter() - start) * 1000)
        await asyncio.sleep(0.5)


async def check(program: tuple[str, ...]) -> Verdict:
    broken: list[str] = []
    many_files()
    settings = {"MA_MAX_SESSIONS": str(CROWD + OTHERS), "MA_MAX_CONNECTIONS_PER_ADDRESS": str(4 * CROWD), **KEY}
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        url = f"http://localhost:{port}"
        async with (
            serving(Path(folder), port, program=program, **settings),
            guests(url, CROWD + OTHERS) as (http, all),
            cutting_proxy("127.0.0.1", port) as proxy,
            asyncio.TaskGroup() as group,
        ):
            crowd, others = all[:CROWD], all[CROWD:]
            for guest in crowd:
                guest.url = proxy.url
            await join(http, all)
            waits: list[float] = []
            tasks = [group.create_task(guest.read()) for guest in all]
            talking = [group.create_task(talk(guest, waits)) for guest in others]
            await asyncio.sleep(1)
            sids = [guest.ready["sid"] for guest in crowd]
            waits.clear()
            gc.freeze()  # else this end waits for its collector, and takes that for the server
            start = time.monotonic()
            await proxy.cut()
            back: list[float] = []

            async def come_back(guest: Guest) -> None:
                await asyncio.sleep(random.uniform(0, JITTER))
                try:
                    await guest.join(http)
                except GONE as error:
                    broken.append(f"refused: {error!r}")
                    return
                back.append(time.monotonic() - start)
                tasks.append(group.create_task(guest.read()))

            async with asyncio.TaskGroup() as coming:
                for guest in crowd:
                    coming.create_task(come_back(guest))
            last = max(back, default=float("inf"))
            for task in (*talking, *tasks):
                task.cancel()
        resumed = sum(guest.resumed == 1 and guest.ready["sid"] == sid for guest, sid in zip(crowd, sids, strict=True))
    if resumed < CROWD:
        broken.append(f"only {resumed} of {CROWD} have their session back")
    if last > BACK_SECONDS:
        broken.append(f"the last is back after {last:.1f} s")
    if (p99 := percentile(waits, 99)) > MOST_MS:
        broken.append(f"the others waited {p99:.0f} ms")
    return Verdict(
        f"{resumed} of {CROWD} back, the last after {last:.1f} s; the others' p99 {p99:.0f} ms of {len(waits)}", broken
    )


if __name__ == "__main__":
    sys.exit(judge(__doc__, check, mutant="fleeting", complaint="have their session back"))
