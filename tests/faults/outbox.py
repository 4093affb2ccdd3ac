"""Kill a program between commit and publication: every event is told at least once, every job done to its end.

    python -m tests.faults.outbox [--rounds 20] [--mutant]

Every round runs `tests.faults.teller` on the same database file. In every other one it kills itself in the moment after
a commit, before anybody has heard of it; in the others it is killed at a random moment. A last life makes nothing new
and ends when all is told and done. Then: there is an event for every change and none besides; each was told, none was
made up, and the copies have one id, so that whoever drops them has each exactly once; the first copies came in the
order of their conversation; and every job that was cut off was begun again and done. The exit code is 1 otherwise.
`--mutant` runs two programs with a mistake, one that tells from memory and one that settles before it has told; then
the exit code is 0 only if both are caught.
"""

import argparse
import asyncio
import contextlib
import random
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from server.infra.db import migrate

SECONDS = 60.0
"""How long a program may take to come up, and then to end, on a machine that does much else."""


@dataclass(frozen=True, slots=True)
class Verdict:
    changes: int
    events: int
    lost: int
    made_up: int
    copies: int
    disorder: int
    jobs: int
    interrupted: int
    undone: int

    @property
    def good(self) -> bool:
        tried = self.events > 0 and self.interrupted > 0
        return tried and self.changes == self.events and not (self.lost or self.made_up or self.disorder or self.undone)

    def __str__(self) -> str:
        return (
            f"changes {self.changes}, events {self.events}, never told {self.lost}, made up {self.made_up}, "
            f"told again {self.copies}, out of order {self.disorder}; "
            f"jobs {self.jobs}, cut off {self.interrupted}, not done {self.undone}"
        )


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def judge(folder: Path) -> Verdict:
    """What the database holds against what the outside world was told."""
    with contextlib.closing(sqlite3.connect(folder / "teller.db")) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        ((conversations,),) = file.execute("SELECT count(*) FROM conversations")
        places = {id: (talk, n) for id, talk, n in file.execute("SELECT id, conversation_id, position FROM messages")}
        events = {id for (id,) in file.execute("SELECT id FROM events")}
        jobs = {id: (status, tries) for id, status, tries in file.execute("SELECT id, status, attempts FROM jobs")}
    told = [line.split() for line in lines(folder / "told")]
    first = list(dict.fromkeys((id, message) for id, message in told))
    last: dict[str, int] = {}
    disorder = 0
    for _, message in first:
        if message in places:
            talk, position = places[message]
            disorder += position < last.get(talk, 0)
            last[talk] = position
    done = set(lines(folder / "done"))
    heard = {id for id, _ in told}
    return Verdict(
        changes=conversations + len(places),
        events=len(events),
        lost=len(events - heard),
        made_up=len(heard - events),
        copies=len(told) - len(heard),
        disorder=disorder,
        jobs=len(jobs),
        interrupted=sum(tries > 1 for _, tries in jobs.values()),
        undone=sum(status != "succeeded" or id not in done for id, (status, _) in jobs.items()),
    )


@asynccontextmanager
async def life(folder: Path, *options: str, mistake: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The program, from when it is up until it has ended, or is ended after `SECONDS`."""
    arguments = ("-m", "tests.faults.teller", str(folder), "--mistake", mistake, *options)
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    try:
        async with asyncio.timeout(SECONDS):
            assert await process.stdout.readline() == b"up\n", "the program did not come up"
        yield process
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECONDS):
                await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def main(rounds: int, mistake: str = "") -> Verdict:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        await migrate(f"sqlite+aiosqlite:///{folder / 'teller.db'}")
        for round_ in range(rounds):
            fatal = str(random.randint(20, 120)) if round_ % 2 == 0 else "0"
            async with life(folder, "--fatal", fatal, mistake=mistake) as process:
                if fatal == "0":
                    await asyncio.sleep(random.uniform(0.1, 0.5))
                    process.kill()
        async with life(folder, "--finish", mistake=mistake):
            pass
        return judge(folder)


async def mutants(rounds: int) -> bool:
    caught = True
    for mistake in ("memory", "early"):
        found = await main(rounds, mistake)
        print(f"{mistake}: {found}: {'caught' if found.lost else 'NOT CAUGHT'}", flush=True)
        caught = caught and found.lost > 0
    return caught


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--mutant", action="store_true", help="programs with a mistake; they must be caught")
    chosen = parser.parse_args()
    if chosen.mutant:
        sys.exit(0 if asyncio.run(mutants(chosen.rounds)) else 1)
    verdict = asyncio.run(main(chosen.rounds))
    print(verdict)
    sys.exit(0 if verdict.good else 1)
