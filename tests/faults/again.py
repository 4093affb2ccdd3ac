"""Send the same message five times over two sockets at once: it is kept once, answered once, and acknowledged alike.

    python -m tests.faults.again [--mutant]

Then a server dies in the moment in which it has committed a message. Sent again to the next server, five times over two
sockets, the message is answered, and once: what it was acknowledged as is the row that was there.

`--mutant` runs a server that does not look at a message's own id.
"""

import asyncio
import contextlib
import sqlite3
import sys
import tempfile
from collections import Counter
from pathlib import Path

from bench.serving import free_port, serving
from tests.faults.guest import KEY, Guest, Lost, guests
from tests.faults.verdict import Verdict, judge

MUTANT = "repeating"
ROUNDS, TIMES, DEATHS = 40, 5, 1


async def check(program: tuple[str, ...]) -> Verdict:
    alive = await repeated(program)
    if MUTANT in program:  # it has shown itself
        return alive
    dead = await died(program)
    return Verdict(f"{alive.figure}; {dead.figure}", [*alive.broken, *dead.broken])


async def died(program: tuple[str, ...]) -> Verdict:
    """Message `n` of `DEATHS` is the last that its server keeps."""
    broken: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        data, port = Path(folder), free_port()
        async with guests(f"http://localhost:{port}", 1) as (http, (one,)), guests("", 1) as (_, (two,)):
            two.url, two.origin, two.token = one.url, one.origin, one.token
            for n in range(DEATHS):
                async with serving(data, port, program=(*program, "mortal"), **KEY):
                    await one.join(http)
                    reading = asyncio.create_task(one.read())
                    await (await one.say(f"first{n}", "first words"))
                    with contextlib.suppress(Lost):
                        await (await one.say(f"last{n}", "last words"))
                    await reading
                kept = rows(data)
                async with serving(data, port, program=program, **KEY):
                    await one.join(http)
                    two.ready = {}
                    await two.join(http, conversation_id=one.ready["conversation_id"])
                    tasks = [asyncio.create_task(guest.read()) for guest in (one, two)]
                    sent = [await (one, two)[k % 2].say(f"last{n}", "last words") for k in range(TIMES)]
                    async with asyncio.timeout(10):
                        answers = await asyncio.gather(*sent)
                    if any(answer != answers[0] or not answer["ok"] for answer in answers):
                        broken.append(f"last{n} is acknowledged as {[answer['message_id'] for answer in answers]}")
                    await asyncio.sleep(0.5)
                    for task in tasks:
                        task.cancel()
                now = rows(data)
                if (found := {role: now[role] - kept[role] for role in now}) != {"user": 0, "assistant": 1}:
                    broken.append(f"after the crash a message that was kept came to {found} rows")
    return Verdict(f"{DEATHS} kept by a server that died, sent again to the next: answered once", broken)


def answers_to(*guests: Guest) -> int:
    return sum(name == "resp.start" for guest in guests for name, _ in guest.events)


def rows(data: Path) -> Counter[str]:
    with contextlib.closing(sqlite3.connect(data / "machineavatars.db")) as database:
        return Counter(dict(database.execute("SELECT role, count(*) FROM messages GROUP BY role").fetchall()))


async def repeated(program: tuple[str, ...]) -> Verdict:
    broken: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        data, port = Path(folder), free_port()
        async with (
            serving(data, port, program=program, **KEY),
            guests(f"http://localhost:{port}", 1) as (http, (one,)),
            guests(f"http://localhost:{port}", 1) as (_, (two,)),
            asyncio.TaskGroup() as group,
        ):
            two.token = one.token
            await one.join(http)
            reading = [group.create_task(one.read())]
            await (await one.say("first", "first"))
            await two.join(http, conversation_id=one.ready["conversation_id"])
            reading.append(group.create_task(two.read()))
            await asyncio.sleep(0.1)
            for n in range(ROUNDS):
                sent = [await (one, two)[k % 2].say(f"m{n}", f"message {n}") for k in range(TIMES)]
                async with asyncio.timeout(10):
                    answers = await asyncio.gather(*sent)
                if any(answer != answers[0] or not answer["ok"] for answer in answers):
                    broken.append(f"m{n} is acknowledged as {[answer['message_id'] for answer in answers]}")
                for _ in range(500):  # the next message would interrupt an answer that has not begun
                    if answers_to(one, two) >= n + 2:
                        break
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.5)
            for task in reading:
                task.cancel()
        replies = answers_to(one, two)
        kept = rows(data)["user"]
    if kept != ROUNDS + 1:
        broken.append(f"{kept} rows of {ROUNDS + 1} messages")
    if replies != ROUNDS + 1:
        broken.append(f"{replies} answers to {ROUNDS + 1} messages")
    return Verdict(f"{ROUNDS} messages sent {TIMES} times over two sockets: {kept} rows, {replies} answers", broken)


if __name__ == "__main__":
    sys.exit(judge(__doc__, check, "brisk", mutant=MUTANT, complaint=f" rows of {ROUNDS + 1} messages"))
