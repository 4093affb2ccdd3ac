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
    measured: bool = True
    """False when something else was in the way, so that it says nothing of the server."""


def outcome(verdict: Verdict, complaint: str = "") -> tuple[str, int]:
    """What a check came to, in a word, and the exit code. `complaint` is part of what a mutant must be blamed for."""
    if not verdict.measured:
        return "NOT MEASURED", 1
    if not complaint:
        return ("BROKEN", 1) if verdict.broken else ("good", 0)
    blamed = any(complaint in said for said in verdict.broken)
    return ("caught", 0) if blamed else ("NOT CAUGHT", 1)


def judge(
    doc: str | None,
    check: Callable[[tuple[str, ...]], Awaitable[Verdict]],
    *stage: str,
    mutant: str,
    complaint: str,
) -> int:
    """Run `check` on the program of a scripted server with the rules `stage`; with `--mutant` on one that breaks the
    rule `mutant` as well, which must cause the `complaint`. Returns the exit code."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutant", action="store_true", help="a server that breaks the rule; it must be caught")
    chosen = parser.parse_args()
    rules = (*stage, mutant) if chosen.mutant else stage
    verdict = asyncio.run(check(("-m", "tests.faults.scripted", *rules)))
    for complaint in verdict.broken[:10]:
        print(f"  {complaint}")
    said, code = outcome(verdict, complaint if chosen.mutant else "")
    print(f"{verdict.figure}: {said}", flush=True)
    return code
