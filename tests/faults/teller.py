"""A small program that is made to be killed: it keeps messages, tells a durable consumer of them, and does jobs.

Its database, `teller.db` in FOLDER, must have been migrated.

    python -m tests.faults.teller FOLDER [--fatal N] [--finish] [--mistake memory|early]

It says `up`, then goes on until it is killed. `--fatal` makes it kill itself between the commit of its Nth message and
everything that follows from it. `--finish` makes no new work and ends when all is told and done. A mistake is what the
check must catch: `memory` tells from memory without a row, `early` settles a delivery before it has told.
"""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

import uvloop
from sqlalchemy import delete, func, select

from api._kit.events import ANY, Announcer, Event
from api._kit.jobs import RunningJob
from api._kit.store import PLATFORM, Database, deliveries, jobs
from api.history.store import Journal
from pipelines.ports import Conversation
from server.infra import db
from server.infra.clock import Dice, Ids, SystemClock
from server.infra.jobs import Jobs
from server.infra.outbox import Consume, Outbox, _Held

TALKERS = 6
LEASE = 0.5
"""Seconds after which the next life takes up what this one held."""
STEPS = 5
STEP = 0.06
MOST_LIVES = 100
"""Jobs are cut off in nearly every round; how often they may be is not what is checked here."""


class Hasty(Outbox):
    """Settles before it has told."""

    async def _tell(self, held: _Held, consume: Consume) -> None:
        await self._settle(held, delete(deliveries).where(held.row))
        await consume(held.event)


class Files:
    """What the outside world sees: one line for everything that it was told, and for every job that was done."""

    def __init__(self, folder: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._told, self._done = (os.open(folder / name, flags) for name in ("told", "done"))

    async def tell(self, event: Event) -> None:
        await asyncio.sleep(0.002)
        os.write(self._told, f"{event.id} {event.data.get('message_id', '-')}\n".encode())

    async def count(self, job: RunningJob) -> None:
        for step in range(STEPS):
            await asyncio.sleep(STEP)
            await job.progress(100 * step // STEPS)
        os.write(self._done, f"{job.id}\n".encode())


async def tell_from_memory(files: Files, heard: "asyncio.Queue[Event]") -> None:
    while True:
        await files.tell(await heard.get())


async def talk(journal: Journal, database: Database, number: int) -> None:
    conversation = Conversation(f"conv_{number}", "org_1", "cb_1", f"user_{number}", "text")
    for n in range(100_000):
        await journal.user_message(conversation, f"message {n}")
        if n % 20 == 0:
            async with database.uow("org_1") as tx:
                await tx.enqueue("count", {}, max_attempts=MOST_LIVES)
                await tx.commit()


async def finished(database: Database) -> None:
    unsettled = select(func.count()).select_from(deliveries)
    undone = select(func.count()).select_from(jobs).where(jobs.c.status.in_(("queued", "running")))
    while True:
        async with database.view(PLATFORM) as tx:
            if not await tx.scalar(unsettled) and not await tx.scalar(undone):
                return
        await asyncio.sleep(0.05)


async def main(folder: Path, fatal: int, finish: bool, mistake: str) -> None:
    url = f"sqlite+aiosqlite:///{folder / 'teller.db'}"
    announcer, clock, ids, left = Announcer(), SystemClock(), Ids(), fatal

    def die(event: Event) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    announcer.on("message.created", die)
    database = db.connect(url, announce=announcer.announce)
    files, heard = Files(folder), asyncio.Queue[Event]()
    outbox = (Hasty if mistake == "early" else Outbox)(database, announcer, clock=clock, dice=Dice(), lease=LEASE)
    if mistake == "memory":
        announcer.on(ANY, lambda event: heard.put_nowait(event) if event.id else None)
    else:
        outbox.consumer("outside", [ANY], files.tell)
    runner = Jobs(database, announcer, clock=clock, ids=ids, dice=Dice(), lease=LEASE, parallel=16)
    runner.handle("count", files.count, each=16)
    journal = Journal(database, clock=clock, ids=ids)
    async with asyncio.TaskGroup() as group, outbox, runner:
        memory = group.create_task(tell_from_memory(files, heard))
        print("up", flush=True)
        if finish:
            await finished(database)
        else:
            await asyncio.gather(*(talk(journal, database, number) for number in range(TALKERS)))
        memory.cancel()
    await database.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fatal", type=int, default=0)
    parser.add_argument("--finish", action="store_true")
    parser.add_argument("--mistake", choices=["memory", "early", ""], default="")
    chosen = parser.parse_args()
    uvloop.run(main(chosen.folder, chosen.fatal, chosen.finish, chosen.mistake))
    sys.exit(0)
