"""Every check of faults in turn, and its mutant after it.

    python -m tests.faults [NAME ...]

One line for each: its name, what it measured, and whether that is as promised. The exit code is 1 when one is not.
Those that count run two at a time; those that take times have the machine to themselves, and come last.
"""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

MOST_SECONDS = 150


@dataclass(frozen=True, slots=True)
class Check:
    """`python -m tests.faults.MODULE`, with arguments of its own. `mutant` are those that break the rule it guards;
    `timed` is one that holds times against a bar."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    mutant: tuple[str, ...] = ("--mutant",)
    timed: bool = False


CHECKS = (
    Check("D1 killed", "kill9", ("--rounds", "2"), ("--mutant", "--rounds", "1")),
    Check("D2 cancelled", "cancelled"),
    Check("D3 order", "order"),
    Check("D4 cuts", "cuts"),
    Check("D5 forged", "forged"),
    Check("D6 again", "again"),
    Check("D7 durable", "durable", ("--seconds", "8"), timed=True),
    Check("D8 outbox", "outbox", ("--rounds", "12"), ("--mutant", "--rounds", "4")),
    Check("C3 stampede", "stampede", timed=True),
    Check("C6 slow readers", "slow", timed=True),
    Check("G1 G2 Redis", "redis_gone", ("--seconds", "5"), ("--mutant", "--clients", "20", "--seconds", "3"), True),
    Check("G6 drain", "drain", mutant=("--mutant", "--sockets", "60"), timed=True),
    Check("R7 slowloris", "slowloris", mutant=("--mutant", "--sockets", "20"), timed=True),
    Check("V2 V3 barge-in", "barge", timed=True),
    Check("V4 turn table", "turn_table"),
    Check("A6 websocket", "websocket"),
)


def run(check: Check, extra: tuple[str, ...], kind: str) -> bool:
    """Whether it ended well; what it said last is its figure."""
    command = [sys.executable, "-m", f"tests.faults.{check.module}", *check.arguments, *extra]
    start = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=MOST_SECONDS, check=False)
        good, said = done.returncode == 0, (done.stdout.strip() or done.stderr.strip()).splitlines()
    except subprocess.TimeoutExpired:
        good, said = False, [f"not done after {MOST_SECONDS} s"]
    seconds = time.monotonic() - start
    figure = said[-1] if said else "said nothing"
    lines = [f"{'pass' if good else 'FAIL'}  {check.name:16} {kind:7} {seconds:4.0f} s  {figure}"]
    lines += [] if good else [f"        {line}" for line in said[-8:-1]]
    print("\n".join(lines), flush=True)
    return good


def main() -> int:
    chosen = [check for check in CHECKS if not sys.argv[1:] or {check.module, *check.name.split()} & set(sys.argv[1:])]
    start = time.monotonic()
    results: list[bool] = []
    for timed in (False, True):
        runs = [
            (check, arguments, kind)
            for check in chosen
            for arguments, kind in (((), "server"), (check.mutant, "mutant"))
            if check.timed is timed
        ]
        with ThreadPoolExecutor(1 if timed else 2) as beside:
            results += beside.map(lambda one: run(*one), runs)
    print(f"{sum(results)} of {len(results)} as promised, in {time.monotonic() - start:.0f} s")
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
