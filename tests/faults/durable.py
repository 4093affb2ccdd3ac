"""A commit is on the disk when it returns, or the server does not start; and 200 messages a second do not wait for it.

    python -m tests.faults.durable [--seconds 20] [--mutant]

The 99th percentile of keeping a message is at most 25 ms. `--mutant` starts a server whose SQLite is told not to wait
for the disk: it must refuse, in one line.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

import uvloop

from bench.journal import MOST_MS, RATE, fresh, paced
from bench.latency import percentile
from bench.serving import free_port, serving
from tests.faults.guest import KEY

PROGRAM = ("-m", "tests.faults.scripted")


async def starts(*rules: str) -> tuple[bool, str]:
    """Whether a server with these rules starts, and what it says when it does not."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            async with serving(Path(folder), free_port(), program=(*PROGRAM, *rules), **KEY):
                return True, ""
        except RuntimeError as error:
            return False, str(error).strip()


async def measure(seconds: float) -> float:
    with tempfile.TemporaryDirectory() as folder:
        async with fresh(f"sqlite+aiosqlite:///{Path(folder) / 'bench.db'}") as journal:
            return percentile(await paced(journal, seconds), 99)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--mutant", action="store_true", help="a server that does not wait for the disk must not start")
    chosen = parser.parse_args()
    started, words = asyncio.run(starts(*(("volatile",) if chosen.mutant else ())))
    if chosen.mutant:
        caught = not started and "synchronous" in words and "Traceback" not in words
        said = words.splitlines()[-1] if words else "it starts"
        print(f"synchronous = NORMAL: {said}: {'caught' if caught else 'NOT CAUGHT'}")
        return 0 if caught else 1
    p99 = uvloop.run(measure(chosen.seconds))
    good = started and p99 <= MOST_MS
    print(f"starts with synchronous = FULL; p99 {p99:.1f} ms at {RATE} messages/s: {'good' if good else 'BROKEN'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
