"""Send messages faster than a handler looks at them: they are kept in the order in which they were sent.

    python -m tests.faults.order [--mutant]

Twenty clients send 200 messages each, eight at once, to a server whose handlers take up to 20 ms for each.
`--mutant` runs a server that handles every event in a task of its own, as the Socket.IO library does by default.
"""

import asyncio
import sqlite3
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.serving import free_port, serving
from tests.faults.guest import KEY, Guest, guests
from tests.faults.verdict import Verdict, judge

CLIENTS, MESSAGES = 20, 200
PATIENCE = 60
WINDOW = 8
"""Messages of one client that are under way at once."""


async def talk(guest: Guest) -> list[str]:
    """Returns what was not accepted."""
    room = asyncio.Semaphore(WINDOW)
    calls: list[tuple[str, asyncio.Future[Any]]] = []
    async with asyncio.timeout(PATIENCE):
        for n in range(MESSAGES):
            await room.acquire()
            call = await guest.say(f"m{n}", f"{n}")
            call.add_done_callback(lambda _: room.release())
            calls.append((f"m{n}", call))
        return [id for id, call in calls if not (await call)["ok"]]


async def check(program: tuple[str, ...]) -> Verdict:
    broken: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        data, port = Path(folder), free_port()
        async with (
            serving(data, port, program=program, **KEY),
            guests(f"http://localhost:{port}", CLIENTS) as (http, all),
            asyncio.TaskGroup() as group,
        ):
            for guest in all:
                await guest.join(http)
            reading = [group.create_task(guest.read()) for guest in all]
            for lost in await asyncio.gather(*(talk(guest) for guest in all)):
                broken += [f"{id} was not accepted" for id in lost]
            for task in reading:
                task.cancel()
        with sqlite3.connect(data / "machineavatars.db") as database:
            rows = database.execute("SELECT conversation_id, content FROM messages WHERE role = 'user' ORDER BY rowid")
            talks: dict[str, list[int]] = {}
            for conversation, content in rows:
                talks.setdefault(conversation, []).append(int(content))
    for conversation, numbers in talks.items():
        turned = sum(b < a for a, b in pairwise(numbers))
        if turned:
            broken.append(f"{conversation}: {turned} messages came before one that was sent earlier")
        if sorted(numbers) != list(range(MESSAGES)):
            broken.append(f"{conversation}: {len(numbers)} messages are kept of {MESSAGES}")
    return Verdict(f"{CLIENTS * MESSAGES} messages of {len(talks)} clients, {len(broken)} complaints", broken)


if __name__ == "__main__":
    sys.exit(
        judge(__doc__, check, "brisk", "dawdling", mutant="crowding", complaint="came before one that was sent earlier")
    )
