"""Send the same message five times over two sockets at once: it is kept once, answered once, and acknowledged alike.

    python -m tests.faults.again [--mutant]

`--mutant` runs a server that does not look at a message's own id.
"""

import asyncio
import sqlite3
import sys
import tempfile
from pathlib import Path

from bench.serving import free_port, serving
from tests.faults.guest import KEY, guests
from tests.faults.verdict import Verdict, judge

ROUNDS, TIMES = 40, 5


async def check(program: tuple[str, ...]) -> Verdict:
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
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)
            for task in reading:
                task.cancel()
        replies = sum(name == "resp.start" for name, _ in one.events + two.events)
        with sqlite3.connect(data / "machineavatars.db") as database:
            roles = dict(database.execute("SELECT role, count(*) FROM messages GROUP BY role").fetchall())
    rows = roles.get("user", 0)
    if rows != ROUNDS + 1:
        broken.append(f"{rows} rows of {ROUNDS + 1} messages")
    if replies != ROUNDS + 1:
        broken.append(f"{replies} answers to {ROUNDS + 1} messages")
    return Verdict(f"{ROUNDS} messages sent {TIMES} times over two sockets: {rows} rows, {replies} answers", broken)


if __name__ == "__main__":
    sys.exit(judge(__doc__, check, "brisk", mutant="repeating"))
