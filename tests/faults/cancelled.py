"""Break off the keeping of messages in the midst of it: nobody may be told that a message was accepted which was not.

    python -m tests.faults.cancelled [--mutant]

A hundred messages, one after the other, are sent to a server whose handling of each is cancelled before the commit or
while it is under way. None may be acknowledged as accepted; sent again under its old id, each is, and is kept once.
`--mutant` runs a server that acknowledges when a message comes.
"""

import asyncio
import sqlite3
import sys
import tempfile
from pathlib import Path

from bench.serving import free_port, serving
from tests.faults.guest import KEY, Guest, guests
from tests.faults.verdict import Verdict, judge

ROUNDS = 100
PATIENCE = 0.25
"""Seconds that a client waits for an acknowledgement which should not come."""
LANES = 10


async def accepted(guest: Guest, id: str, text: str, seconds: float) -> str | None:
    """The number under which the server says that it has accepted the message."""
    try:
        async with asyncio.timeout(seconds):
            answer = await (await guest.say(id, text))
    except TimeoutError:
        return None
    whole = isinstance(answer, dict) and answer.get("ok") is True and answer.get("id") == id
    return str(answer["message_id"]) if whole else None


async def check(program: tuple[str, ...]) -> Verdict:
    broken: list[str] = []
    ids: dict[str, str | None] = {}

    async def rounds(guest: Guest, lane: int) -> None:
        for n in range(lane, ROUNDS, LANES):
            id, when = f"m{n}", "before" if n // LANES % 2 else "amidst"
            text = f"cancel {when} {n}"
            if await accepted(guest, id, text, PATIENCE):
                broken.append(f"{id} was accepted although its keeping was broken off")
            ids[text] = await accepted(guest, id, text, 5)
            if ids[text] is None:
                broken.append(f"{id} was not accepted when it came again")

    with tempfile.TemporaryDirectory() as folder:
        data, port = Path(folder), free_port()
        async with (
            serving(data, port, program=program, **KEY),
            guests(f"http://localhost:{port}", LANES) as (http, all),
            asyncio.TaskGroup() as group,
        ):
            for guest in all:
                await guest.join(http)
            reading = [group.create_task(guest.read()) for guest in all]
            async with asyncio.TaskGroup() as talking:
                for lane, guest in enumerate(all):
                    talking.create_task(rounds(guest, lane))
            for task in reading:
                task.cancel()
        with sqlite3.connect(data / "machineavatars.db") as database:
            rows = database.execute("SELECT content, id FROM messages WHERE role = 'user'").fetchall()
    kept = dict(rows)
    broken += [f"{text!r} was accepted and is not kept" for text, id in ids.items() if kept.get(text) != id]
    if len(rows) != len(kept):
        broken.append(f"{len(rows) - len(kept)} messages are kept twice")
    return Verdict(f"{ROUNDS} messages broken off, {len(broken)} falsely accepted or lost", broken)


if __name__ == "__main__":
    sys.exit(
        judge(
            __doc__,
            check,
            "brisk",
            "cancelling",
            mutant="early",
            complaint="was accepted although its keeping was broken off",
        )
    )
