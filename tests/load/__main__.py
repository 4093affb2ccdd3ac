"""What one core must carry: every promise of capacity, measured and held against its bar.

    python -m tests.load [CHECK ...] [--soak SECONDS]

The exit code is 1 when a bar is missed. The server has core 0 to itself and its clients core 1, as far as the machine
lets them: the load average is printed with every result, and a busy machine is a reason to run a check again.
"""

import argparse
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import uvloop

from bench.capacity import idle, messages, show, talking, voices
from bench.soak import soak

SOAK = 210.0
"""Seconds of the soak, so that everything takes less than ten minutes; the promise is for 480."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One figure of a measurement, and the most (or the least) that it may be."""

    figure: str
    limit: float
    least: bool = False

    def missed(self, found: object) -> str | None:
        value = float(getattr(found, self.figure))
        if value >= self.limit if self.least else value <= self.limit:
            return None
        return f"{self.figure} is {value:,.1f}, not {'at least' if self.least else 'at most'} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Check:
    what: str
    measure: Callable[[], Awaitable[object]]
    bars: tuple[Bar, ...]

    def run(self) -> list[str]:
        """Every bar that was missed."""
        found = uvloop.run(_whole(self.measure))
        show(found)
        return [missed for bar in self.bars if (missed := bar.missed(found))]


async def _whole(measure: Callable[[], Awaitable[object]]) -> object:
    return await measure()


def checks(soak_seconds: float) -> dict[str, Check]:
    return {
        "sockets": Check(
            "2,000 visitors join as fast as they can and are silent for a minute",
            idle,
            (
                Bar("joined_per_second", 150, least=True),
                Bar("kib", 65),
                Bar("dropped", 0),
                Bar("unpinged", 0),
                Bar("cpu", 5),
            ),
        ),
        "messages": Check(
            "200 messages a second for a minute, from 200 visitors",
            messages,
            (Bar("lost", 0), Bar("p95_ms", 20), Bar("p99_ms", 50), Bar("per_second", 195, least=True)),
        ),
        "voices": Check(
            "20 voices for a minute, in real time",
            voices,
            (Bar("late_p99_ms", 40), Bar("underruns", 0), Bar("cpu", 80), Bar("answers", 100, least=True)),
        ),
        "lag": Check(
            "two voices talk with the real models: the server's loop stays awake",
            talking,
            (Bar("lag_p99_ms", 10), Bar("lag_samples", 300, least=True), Bar("answered", 10, least=True)),
        ),
        "soak": Check(
            f"100 visitors talk and interrupt for {soak_seconds:.0f} s: nothing is left lying about",
            partial(soak, soak_seconds),
            (
                Bar("tasks_growth", 2),
                Bar("files_growth", 0),
                Bar("rss_growth", 5),
                Bar("dropped", 0),
                Bar("errors", 0),
                Bar("interrupted", 100, least=True),
            ),
        ),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=", ".join(checks(SOAK)) + "; all of them by default")
    parser.add_argument("--soak", type=float, default=SOAK, metavar="SECONDS", help=f"default {SOAK:.0f}")
    chosen = parser.parse_args()
    table = checks(chosen.soak)
    if unknown := set(chosen.checks) - set(table):
        parser.error(f"no such check: {', '.join(sorted(unknown))}")
    failed = []
    for name in chosen.checks or table:
        print(f"\n== {name}: {table[name].what}", flush=True)
        start = time.monotonic()
        missed = table[name].run()
        for line in missed:
            print(f"  MISSED: {line}")
        print(f"  {'failed' if missed else 'passed'} in {time.monotonic() - start:.0f} s", flush=True)
        failed += [name] if missed else []
    print(f"\n{'missed: ' + ', '.join(failed) if failed else 'all bars held'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
