"""Resume too late, with what one has no right to, or with what never was: nothing is given away, nothing is lost.

    python -m tests.faults.forged [--mutant]

A client that asks for events which are forgotten is told so, and the history is the conversation it had. A session's id
with a guessed token, with the right token but of another user, or an id that never was, are answered alike: by a new
session. `--mutant` runs a server that gives a session to whoever knows its id.
"""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import aiohttp

from bench.serving import free_port, serving
from tests.faults.guest import KEY, Guest, guests, history
from tests.faults.verdict import Verdict, judge

OWN = frozenset({"sid", "token", "conversation_id", "ts"})
"""What differs between any two sessions."""


async def talked(http: aiohttp.ClientSession, guest: Guest, group: asyncio.TaskGroup) -> "asyncio.Task[None]":
    """A visitor who has joined and had three answers."""
    await guest.join(http)
    reading = group.create_task(guest.read())
    async with asyncio.timeout(20):
        for n in range(3):
            await (await guest.say(f"m{n}", f"message {n}"))
            while sum(name == "resp.end" for name, _ in guest.events) <= n:
                guest.news.clear()
                await guest.news.wait()
    return reading


async def too_late(http: aiohttp.ClientSession, url: str, guest: Guest, group: asyncio.TaskGroup) -> list[str]:
    reading = await talked(http, guest, group)
    seen = guest.last_seq
    await guest.emit("ack", {"seq": seen})
    before = await history(http, url, guest)
    await asyncio.sleep(0.2)
    await guest.leave()
    await reading
    sid, guest.last_seq = guest.ready["sid"], 1
    await guest.join(http)
    reading = group.create_task(guest.read())
    broken = [] if guest.renewed == 1 else ["events that were forgotten are said to be recovered"]
    if guest.ready["sid"] != sid or guest.ready["seq"] < seen:
        broken.append("the session is another one, or counts anew")
    after = await history(http, url, guest)
    if after != before or [row["content"] for row in after if row["role"] == "user"] != [
        f"message {n}" for n in range(3)
    ]:
        broken.append("the history is not the conversation that was had")
    if not (await (await guest.say("m3", "message 3")))["ok"]:
        broken.append("the conversation does not go on")
    await guest.leave()
    await reading
    return broken + guest.faults


async def attempt(http: aiohttp.ClientSession, guest: Guest, resume: dict[str, Any], conversation: str) -> Any:
    """What is said to somebody who tries: the welcome without what is anybody's own, or the refusal."""
    answer = await guest.join(http, resume={**resume, "last_seq": 0}, conversation_id=conversation)
    await guest.leave()
    assert answer is None
    return {key: value for key, value in guest.ready.items() if key not in OWN}, guest.ready["sid"]


async def check(program: tuple[str, ...]) -> Verdict:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        url = f"http://localhost:{port}"
        async with (
            serving(Path(folder), port, program=program, **KEY),
            guests(url, 8) as (http, all),
            asyncio.TaskGroup() as group,
        ):
            late, owner, *strangers = all
            broken = await too_late(http, url, late, group)
            reading = await talked(http, owner, group)
            sid, token, conversation = (owner.ready[key] for key in ("sid", "token", "conversation_id"))
            tries = [
                ("an id that never was", {"sid": "ses_00000000000000000000000000", "token": "rst_guess"}),
                ("a guessed token", {"sid": sid, "token": "rst_guess"}),
                ("the owner's token", {"sid": sid, "token": token}),
            ]
            answers = [
                (what, await attempt(http, stranger, resume, conversation))
                for (what, resume), stranger in zip(tries, strangers, strict=False)
            ]
            for what, (welcome, given) in answers:
                if welcome != answers[0][1][0]:
                    broken.append(f"{what} is answered differently from an id that never was")
                if given == sid:
                    broken.append(f"{what} of another user opens the session")
                if welcome["recovered"]:
                    broken.append(f"{what} of another user is said to be recovered")
            if not owner.joined.is_set() or not (await (await owner.say("m9", "still me")))["ok"]:
                broken.append("the owner has lost the session")
            await owner.leave()
            await reading
            broken += owner.faults
    return Verdict(f"{len(answers)} forged resumes and a late one, {len(broken)} complaints", broken)


if __name__ == "__main__":
    sys.exit(judge(__doc__, check, "brisk", mutant="trusting", complaint="of another user opens the session"))
