"""How much one core carries: idle sockets, joining, messages, voices; and how late the loop wakes while voices talk.

    python -m bench.capacity [idle | connect | messages | voices | lag | talkers | all]

The server runs on core 0 and its clients on core 1, except with real models (`lag`, `talkers`), which need both. The
models of the rest are scripted and answer at once. Figures of the server are its own process's: /proc and /metrics.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import uvloop

from bench.client import CAPS, TEXT_CAPS
from bench.crowd import SECRET, crowd, many_files
from bench.meter import Inside, Reading, load_average, percentile
from bench.serving import free_port, models, serving
from bench.speech import QUESTIONS, spoken
from bench.talkers import Speaker, Typist
from pipelines.frames import INPUT_RATE

SCRIPTED = ("-m", "tests.load.scripted")
SERVER_CORE, CLIENT_CORE = 0, 1
SESSIONS = 5_000
BEARABLE_MS = 2_000
DELAYS = "0.05,0.05,0.1"
"""Seconds that the scripted models take to recognise, to think, and to speak a clause."""
QUESTION_PCM = b"\x10\x10" * (INPUT_RATE * 3 // 2)
"""What a scripted recogniser takes for a question of a second and a half."""
WARM = 20
"""Visitors who come before anything is measured, so that nothing is loaded for the first time."""


@dataclass(frozen=True, slots=True)
class Place:
    """A server to measure."""

    url: str
    pid: int

    def read(self) -> Reading:
        return Reading.of(self.pid)


@asynccontextmanager
async def place(*, scripted: bool = True, **settings: str) -> AsyncIterator[Place]:
    """A server of its own: with scripted models on one core, this process on another; with real ones on all."""
    settings = {"MA_SECRET_KEY": SECRET, "MA_MAX_SESSIONS": str(SESSIONS), **settings}
    everywhere = os.sched_getaffinity(0)
    if scripted and len(everywhere) > 1:
        os.sched_setaffinity(0, {CLIENT_CORE})
    try:
        with tempfile.TemporaryDirectory() as data:
            port = free_port()
            program = SCRIPTED if scripted else ("-m", "server")
            voice = {"MA_TTS__VOICE": "tone"} if scripted else {}
            core = SERVER_CORE if scripted else None
            async with serving(Path(data), port, program=program, core=core, **voice, **settings) as process:
                yield Place(f"http://localhost:{port}", process.pid)
    finally:
        os.sched_setaffinity(0, everywhere)


# --- sockets that say nothing ---


@dataclass(frozen=True, slots=True)
class Idle:
    """2,000 visitors who join as fast as they can and then say nothing. `kib` is the server's growth for each."""

    sockets: int
    joined_per_second: float
    slowest_second: float
    join_p95_ms: float
    joining_cpu: float
    kib: float
    dropped: int
    unpinged: int
    cpu: float


async def idle(sockets: int = 2000, seconds: float = 60) -> Idle:
    """`unpinged` are those that have not had a ping for every 30 s."""
    many_files()
    waits: list[float] = []
    times: list[float] = []

    def joined(wait: float) -> None:
        waits.append(wait)
        times.append(time.monotonic())

    async with place() as server:
        async with crowd(server.url, WARM, CAPS):
            await asyncio.sleep(1)
        before = server.read()
        async with crowd(server.url, sockets, CAPS, joined) as visitors:
            all_in = server.read()
            rate = sockets / (all_in.at - before.at)
            seconds_in = [int(at - times[0]) for at in times]
            slowest = min((seconds_in.count(n) for n in range(seconds_in[-1])), default=sockets)
            await asyncio.sleep(3)
            start = server.read()
            await asyncio.sleep(seconds)
            end = server.read()
            pings = int(seconds // 30)
            return Idle(
                sockets,
                rate,
                slowest,
                percentile(waits, 95) * 1000,
                all_in.load_since(before),
                (end.rss - before.rss) / sockets,
                sum(visitor.closed for visitor in visitors),
                sum(visitor.pings < pings for visitor in visitors),
                end.load_since(start),
            )


# --- text ---


@dataclass(frozen=True, slots=True)
class Messages:
    """Typed messages, each from the moment it was sent to its acknowledgement. `late` is the sender's own lateness."""

    sent: int
    per_second: float
    lost: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    reply_p95_ms: float
    late_p99_ms: float
    cpu: float
    cpu_ms_a_turn: float


async def messages(rate: float = 200, seconds: float = 60, visitors: int = 200) -> Messages:
    """`rate` messages a second over all visitors; 0 sends as fast as answers come."""
    many_files()
    async with place() as server, crowd(server.url, visitors, TEXT_CAPS) as there:
        talks = [Typist(visitor, n) for n, visitor in enumerate(there)]
        await asyncio.sleep(1)
        start, first = server.read(), time.monotonic() + 0.1
        async with asyncio.TaskGroup() as group:
            for n, talk in enumerate(talks):
                if rate:
                    every = visitors / rate
                    group.create_task(talk.steadily(first + n / rate, every, first + seconds))
                else:
                    group.create_task(talk.at_once(first + seconds))
        end = server.read()
    acks = [took * 1000 for talk in talks for took in talk.acks]
    sent = sum(talk.sent for talk in talks)
    replies = [took * 1000 for talk in talks for took in talk.replies]
    late = [took * 1000 for talk in talks for took in talk.late]
    return Messages(
        sent,
        len(acks) / (end.at - start.at),
        sent - len(acks),
        percentile(acks, 50),
        percentile(acks, 95),
        percentile(acks, 99),
        percentile(replies, 95),
        percentile(late, 99),
        end.load_since(start),
        1000 * (end.cpu - start.cpu) / max(1, len(acks)),
    )


# --- voices ---


@dataclass(frozen=True, slots=True)
class Voices:
    """Visitors who speak in real time. `late` is from the sending of the frame that a `vad` event is about to that
    event's arrival; `underruns` are pieces of speech that came after they should have been heard."""

    voices: int
    utterances: int
    answers: int
    late_p50_ms: float
    late_p99_ms: float
    pieces: int
    underruns: int
    cpu: float
    lag_p99_ms: float


async def voices(count: int = 20, seconds: float = 60) -> Voices:
    """Scripted models that take their time."""
    async with place(MA_LOAD_DELAYS=DELAYS) as server, crowd(server.url, count, CAPS) as there:
        speakers = [Speaker(visitor, QUESTION_PCM, silent=True) for visitor in there]
        await asyncio.sleep(1)
        start, inside = server.read(), await Inside.of(server.url)
        async with asyncio.TaskGroup() as group:
            for n, speaker in enumerate(speakers):
                group.create_task(speaker.speak(seconds, offset=n * 0.137 % 2))
        end, after = server.read(), await Inside.of(server.url)
    late = [1000 * took for speaker in speakers for took in speaker.late]
    return Voices(
        count,
        sum(speaker.asked for speaker in speakers),
        sum(speaker.answered for speaker in speakers),
        percentile(late, 50),
        percentile(late, 99),
        sum(visitor.pieces for visitor in there),
        sum(visitor.underruns for visitor in there),
        end.load_since(start),
        after.lag_since(inside, 99),
    )


@dataclass(frozen=True, slots=True)
class Talking:
    """Visitors who talk with the real models, all on this machine."""

    voices: int
    asked: int
    answered: int
    wait_p50_ms: float
    wait_p95_ms: float
    underruns: int
    lag_samples: int
    lag_p99_ms: float
    lag_max_ms: float
    cpu: float


async def talking(count: int = 2, seconds: float = 60, **settings: str) -> Talking:
    """`wait` is voice to voice: from the end of a question to the first audible sample of its answer."""
    questions = await spoken(models(), *QUESTIONS)
    async with place(scripted=False, **settings) as server, crowd(server.url, count, CAPS) as there:
        speakers = [Speaker(visitor, questions[n % len(questions)]) for n, visitor in enumerate(there)]
        async with asyncio.TaskGroup() as group:  # the first turns load and warm what they need
            for n, speaker in enumerate(speakers):
                group.create_task(speaker.speak(8, offset=n * 0.7 % 3))
        for speaker in speakers:
            speaker.forget()
        start, inside = server.read(), await Inside.of(server.url)
        async with asyncio.TaskGroup() as group:
            for n, speaker in enumerate(speakers):
                group.create_task(speaker.speak(seconds, offset=n * 0.7 % 3))
        end, after = server.read(), await Inside.of(server.url)
    waits = [1000 * took for speaker in speakers for took in speaker.waits]
    return Talking(
        count,
        sum(speaker.asked for speaker in speakers),
        sum(speaker.answered for speaker in speakers),
        percentile(waits, 50),
        percentile(waits, 95),
        sum(visitor.underruns for visitor in there),
        after.observed_since(inside),
        after.lag_since(inside, 99),
        after.lag_since(inside, 100),
        end.load_since(start),
    )


def show(found: object) -> None:
    print(f"\n{type(found).__name__} ({load_average()})")
    for field in fields(found):  # type: ignore[arg-type]
        value = getattr(found, field.name)
        print(f"  {field.name:20} {value:10,.1f}" if isinstance(value, float) else f"  {field.name:20} {value:8,}")


async def conversations(most: int = 6, seconds: float = 45) -> None:
    """One more at a time, until half of the answers take longer than `BEARABLE_MS`."""
    for count in range(1, most + 1):
        found = await talking(count, seconds)
        show(found)
        if not found.wait_p50_ms <= BEARABLE_MS:
            break


async def main(what: str) -> None:
    wanted = ("idle", "messages", "voices", "lag", "talkers") if what == "all" else (what,)
    for name in wanted:
        match name:
            case "idle":
                show(await idle())
            case "connect":
                show(await idle(seconds=0))
            case "messages":
                show(await messages())
                show(await messages(rate=0, seconds=20))
            case "voices":
                show(await voices())
            case "lag":
                show(await talking())
            case "talkers":
                await conversations()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ("idle", "connect", "messages", "voices", "lag", "talkers", "all")
    parser.add_argument("what", nargs="?", default="all", choices=names)
    uvloop.run(main(parser.parse_args().what))
