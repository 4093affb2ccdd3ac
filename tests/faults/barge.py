"""Interrupt answers at random moments: nothing of them comes after, and nothing of them is left.

    python -m tests.faults.barge [--times 200] [--seed 1] [--mutant]

First on a virtual clock, by voice, by button and by typing: the last frame of an answer is not later than the moment of
its interruption, no answer's frames come between another's, no task is left and every stream of a provider is closed.
Then over real sockets: from `stop` to `cut`, p99 at most 100 ms. The exit code is 1 when one of these is not so.
`--mutant` does not cancel an interrupted reply; then the exit code is 0 only if the check caught it.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.client import ChatClient, visitor_token
from server import wire
from server.replies import CutReason, Replies
from tests.faults.kill9 import BOT
from tests.support.fakes import ScriptedLlm, ToneTts, speech
from tests.support.live import live
from tests.support.scene import Scene

P99 = 0.1
CLIENTS = 4
CONTENT = frozenset({"resp.start", "txt", "seg", "face", "cue", "audio"})
WORDS = ["Well, ", "that is ", "a fine question. ", *["And there is more to say about it. "] * 6]
ORIGIN = "http://localhost:0"


async def _not_cancelled(self: Replies, reason: CutReason, _group: asyncio.TaskGroup) -> None:
    """The mistake: the client is told, and the reply goes on."""
    reply, self._reply, self._task = self._reply, None, None
    if reply and reply.started:
        self._outgoing.send(wire.Cut(rid=reply.rid, fade_ms=30, reason=reason))


@dataclass(frozen=True, slots=True)
class Talk:
    """What came of a conversation on the virtual clock."""

    cuts: int
    late: int
    """Frames of an answer after its interruption."""
    mixed: int
    """Frames of an answer after those of a later one."""
    open: int
    """Streams of providers that were not closed."""


def talk(times: int, dice: random.Random) -> Talk:
    """One conversation, interrupted so many times. Fails when a task is left."""
    interrupted: dict[int, float] = {}

    async def script(scene: Scene) -> None:
        for n in range(times):
            scene.say("Tell me", id=f"m{n}")
            await asyncio.sleep(dice.uniform(0.0, 2.5))
            started = scene.of("resp.start")
            rid, how = (started[-1]["rid"] if started else 0), dice.choice(("button", "barge", "typing", "voice"))
            if how == "voice":
                await scene.speak(speech(0.4))
                starts = [at for at, name, payload in scene.events if name == "vad" and payload["state"] == "start"]
                interrupted.setdefault(scene.of("resp.start")[-1]["rid"] if scene.of("resp.start") else 0, starts[-1])
                continue
            interrupted.setdefault(rid, scene.clock.monotonic())
            if how == "button":
                scene.session.post(wire.Stop())
            elif how == "barge":
                scene.session.post(wire.Barge(state="confirmed", mic_t=0))
            await asyncio.sleep(dice.choice((0.0, 0.3)) if how != "typing" else 0.0)
        scene.session.post(wire.Stop())
        await asyncio.sleep(60)

    scene = Scene(llm=ScriptedLlm(WORDS, delay=0.03), tts=ToneTts(ms=40, delay=0.05))
    scene.play(script)
    last: dict[int, float] = {}
    newest = mixed = 0
    for at, name, payload in scene.events:
        if name in CONTENT:
            rid = payload.rid if name == "audio" else payload["rid"]
            last[rid] = at
            mixed += rid < newest
            newest = max(newest, rid)
    cut = {payload["rid"]: at for at, name, payload in scene.events if name == "cut"}
    late = sum(last[rid] > min(at, interrupted.get(rid, at)) for rid, at in cut.items())
    open_ = scene.llm.opened - scene.llm.closed + scene.tts.opened - scene.tts.closed
    return Talk(len(cut), late, mixed, open_)


async def interrupt(chat: ChatClient, times: int, dice: random.Random) -> tuple[list[float], int]:
    """Seconds from each `stop` to its `cut`; frames of an answer that came after its `cut`."""
    waits = []
    for n in range(times):
        since = len(chat.events)
        await chat.say("Tell me", f"m{n}")
        rid = (await chat.wait("audio", since=since)).payload.rid
        await asyncio.sleep(dice.uniform(0.0, 0.2))
        start = time.monotonic()
        await chat.emit("stop", {"rid": rid, "reason": "button"})
        waits.append((await chat.wait("cut", lambda cut, rid=rid: cut["rid"] == rid, since=since)).at - start)
    await asyncio.sleep(0.5)
    late, cut = 0, set[int]()
    for got in chat.events:
        rid = got.payload.rid if got.name == "audio" else got.payload.get("rid")
        late += got.name in CONTENT and rid in cut
        if got.name == "cut":
            cut.add(rid)
    return waits, late


async def over_sockets(times: int, dice: random.Random) -> tuple[list[float], int, int]:
    """The same of many clients at once, and how many streams of providers stayed open."""
    llm, tts = ScriptedLlm(WORDS, delay=0.02), ToneTts(ms=40, delay=0.02)
    with tempfile.TemporaryDirectory() as folder:
        async with live(Path(folder), llm=llm, tts=tts) as server:
            token = await visitor_token(server.url, BOT, ORIGIN)

            async def one() -> tuple[list[float], int]:
                chat = ChatClient(server.url, BOT, origin=ORIGIN)
                chat.token = token
                async with chat:
                    return await interrupt(chat, times // CLIENTS, dice)

            results = await asyncio.gather(*(one() for _ in range(CLIENTS)))
    waits = sorted(wait for waits, _ in results for wait in waits)
    return waits, sum(late for _, late in results), llm.opened - llm.closed + tts.opened - tts.closed


def main(times: int, seed: int) -> bool:
    """Prints what was found; whether it was good."""
    dice = random.Random(seed)
    talked = talk(times, dice)
    print(
        f"virtual: {times} interruptions of {talked.cuts} answers (seed {seed}): frames after an interruption "
        f"{talked.late}, out of turn {talked.mixed}, streams left open {talked.open}, tasks left 0"
    )
    if talked.cuts <= times // 4 or talked.late or talked.mixed or talked.open:
        return False
    waits, late, left = asyncio.run(over_sockets(times, dice))
    p99 = waits[len(waits) * 99 // 100]
    print(
        f"sockets: cut after p50 {waits[len(waits) // 2] * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms of {len(waits)}; "
        f"frames after a cut {late}, streams left open {left}"
    )
    return p99 <= P99 and not (late or left)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--mutant", action="store_true", help="replies that are not cancelled; it must be caught")
    chosen = parser.parse_args()
    if chosen.mutant:
        Replies.cancel = _not_cancelled  # type: ignore[method-assign]
    found = main(chosen.times, chosen.seed)
    if chosen.mutant:
        print("caught" if not found else "NOT CAUGHT")
    sys.exit(0 if found != chosen.mutant else 1)
