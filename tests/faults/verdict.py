"""How a check of faults is run: against the server, or against one that breaks the rule, which it must notice."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was measured, and what of it was not as promised."""

    figure: str
    broken: Sequence[str] = ()


def judge(doc: str | None, check: Callable[[tuple[str, ...]], Awaitable[Verdict]], *stage: str, mutant: str) -> int:
    """Run `check` on the program of a scripted server with the rules `stage`; with `--mutant` on one that breaks the
    rule `mutant` as well. Returns the exit code."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutant", action="store_true", help="a server that breaks the rule; it must be caught")
    chosen = parser.parse_args()
    rules = (*stage, mutant) if chosen.mutant else stage
    verdict = asyncio.run(check(("-m", "tests.faults.scripted", *rules)))
    for complaint in verdict.broken[:10]:
        print(f"  {complaint}")
    good = not verdict.broken
    said = ("caught" if not good else "NOT CAUGHT") if chosen.mutant else ("good" if good else "BROKEN")
    print(f"{verdict.figure}: {said}", flush=True)
    return 0 if good != chosen.mutant else 1
