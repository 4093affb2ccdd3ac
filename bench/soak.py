"""A long conversation of many: what a server has left lying about after minutes of talk and interruptions.

    python -m bench.soak [--seconds 480] [--clients 100]

Everybody talks for a minute, is silent, and the server is measured; everybody talks on, is silent again, and it is
measured again. Every second answer is interrupted. The models are scripted.
"""

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import uvloop

from bench.capacity import DELAYS, QUESTION_PCM, place, show
from bench.client import CAPS
from bench.crowd import crowd, many_files
from bench.meter import Inside
from bench.talkers import Speaker

FIRST = 60.0
REST = 10.0
"""Seconds of silence before a measurement: longer than an answer takes to end."""


@dataclass(frozen=True, slots=True)
class Soak:
    """The growth from minute 1 to the end, when nobody speaks: of tasks and memory in percent, of open files."""

    clients: int
    seconds: float
    answers: int
    interrupted: int
    errors: int
    dropped: int
    tasks: int
    tasks_growth: float
    files_growth: int
    rss_mib: float
    rss_growth: float
    cpu: float


async def soak(seconds: float = 480, clients: int = 100) -> Soak:
    many_files()
    async with place(MA_LOAD_DELAYS=DELAYS) as server, crowd(server.url, clients, CAPS) as there:
        speakers = [Speaker(visitor, QUESTION_PCM, silent=True) for visitor in there]
        await _talk(speakers, FIRST)
        first, inside = server.read(), await Inside.of(server.url)
        await _talk(speakers, seconds - FIRST)
        last, after = server.read(), await Inside.of(server.url)
        return Soak(
            clients,
            seconds,
            sum(speaker.answered for speaker in speakers),
            sum(speaker.cut for speaker in speakers),
            sum(speaker.errors for speaker in speakers),
            sum(visitor.closed for visitor in there),
            after.tasks,
            100 * (after.tasks / inside.tasks - 1),
            last.files - first.files,
            last.rss / 1024,
            100 * (last.rss / first.rss - 1),
            last.load_since(first),
        )


async def _talk(speakers: Sequence[Speaker], seconds: float) -> None:
    async with asyncio.TaskGroup() as group:
        for n, speaker in enumerate(speakers):
            group.create_task(speaker.speak(seconds, offset=n * 0.137 % 4, barge_every=2))
    async with asyncio.timeout(REST + 1), asyncio.TaskGroup() as group:
        for speaker in speakers:
            group.create_task(speaker.listen(REST))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--clients", type=int, default=100)
    chosen = parser.parse_args()
    show(uvloop.run(soak(chosen.seconds, chosen.clients)))
