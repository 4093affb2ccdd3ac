"""What keeping a message costs: commits a second, and the wait for one commit, alone and at 200 messages a second.

    python -m bench.journal [--seconds 10] [--postgres postgresql+asyncpg://user@host/empty_database]

The database is a fresh file, or the empty one that is named. A message is `Journal.user_message` with a client's id, in
one of 50 conversations. The exit code is 1 when the 99th percentile at 200 messages a second is over 25 ms.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

from api.history.store import Journal
from bench.meter import percentile
from pipelines.ports import Conversation
from server.infra import db
from server.infra.clock import Ids, SystemClock

TALKS = [Conversation(f"conv_{n}", "org_bench", "cb_bench", f"user_{n}", "text") for n in range(50)]
RATE = 200
CROWD = 256
MOST_MS = 25.0


@asynccontextmanager
async def fresh(url: str) -> AsyncIterator[Journal]:
    await db.migrate(url)
    database = db.connect(url)
    try:
        await db.check_durable(database)
        journal = Journal(database, clock=SystemClock(), ids=Ids())
        for talk in TALKS:
            await journal.user_message(talk, "Good morning")
        yield journal
    finally:
        await database.close()


class Sender:
    """Messages with ids of their own, and how long each was waited for (milliseconds)."""

    def __init__(self, journal: Journal) -> None:
        self._journal, self._sent = journal, 0
        self.waits: list[float] = []

    async def send(self) -> None:
        self._sent += 1
        n = self._sent
        start = time.perf_counter()
        talk = TALKS[n % len(TALKS)]
        await self._journal.user_message(talk, "How do I put you on my website?", client_id=f"{id(self)}.{n}")
        self.waits.append((time.perf_counter() - start) * 1000)


async def alone(journal: Journal, seconds: float) -> list[float]:
    """One message after the other, with a pause between."""
    sender = Sender(journal)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await sender.send()
        await asyncio.sleep(0.01)
    return sender.waits


async def paced(journal: Journal, seconds: float) -> list[float]:
    """`RATE` messages a second, each sent when it is due, whatever became of those before."""
    sender = Sender(journal)
    start = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for n in range(int(RATE * seconds)):
            await asyncio.sleep(max(0.0, start + n / RATE - time.monotonic()))
            group.create_task(sender.send())
    return sender.waits


async def crowded(journal: Journal, seconds: float) -> float:
    """Messages a second when `CROWD` senders do nothing else."""
    sender = Sender(journal)
    end = time.monotonic() + seconds

    async def keep_sending() -> None:
        while time.monotonic() < end:
            await sender.send()

    start = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(CROWD):
            group.create_task(keep_sending())
    return len(sender.waits) / (time.monotonic() - start)


def show(name: str, waits: Sequence[float]) -> None:
    print(f"  {name:28} p50 {percentile(waits, 50):6.2f} ms   p99 {percentile(waits, 99):6.2f} ms   n={len(waits)}")


async def measure(name: str, url: str, seconds: float) -> float:
    """Prints the figures; returns the 99th percentile at `RATE`."""
    async with fresh(url) as journal:
        print(name)
        show("one at a time", await alone(journal, seconds))
        waits = await paced(journal, seconds)
        show(f"at {RATE} messages a second", waits)
        print(f"  {'as many as it takes':28} {await crowded(journal, seconds):6.0f} messages a second")
    return percentile(waits, 99)


async def main(seconds: float, postgres: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        worst = await measure("SQLite", f"sqlite+aiosqlite:///{Path(folder) / 'bench.db'}", seconds)
    if postgres:
        worst = max(worst, await measure("PostgreSQL", postgres, seconds))
    return worst <= MOST_MS


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--postgres", default="", help="the address of an empty database")
    chosen = parser.parse_args()
    sys.exit(0 if uvloop.run(main(chosen.seconds, chosen.postgres)) else 1)
