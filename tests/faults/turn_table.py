"""Walk the turn table at random, 10,000 steps: what may never happen does not.

    python -m tests.faults.turn_table [--mutant]

Never two replies, none cancelled that does not exist, idle within reach of every floor, and an event that a floor does
not know changes nothing. `--mutant` breaks one row after the other; then the exit code is 0 only if each was caught.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO

from pipelines.core.turn import TABLE, Command, Event, Floor
from tests.properties.test_turn_table import walk

EXAMPLES, STEPS = 200, 50

Row = tuple[Floor, Event, Floor, tuple[Command, ...]]
BROKEN: tuple[Row, ...] = (
    (Floor.SPEAKING, Event.USER_TYPED, Floor.THINKING, (Command.START_REPLY,)),
    (Floor.HEARING, Event.USER_TYPED, Floor.THINKING, (Command.CANCEL_REPLY, Command.START_REPLY)),
    (Floor.SPEAKING, Event.STOP, Floor.IDLE, ()),
    (Floor.ENDPOINT, Event.TRANSCRIBED, Floor.THINKING, ()),
    (Floor.IDLE, Event.REPLY_ENDED, Floor.SPEAKING, ()),
)


@contextmanager
def broken(row: Row) -> Iterator[None]:
    """The table with this row instead of its own."""
    floor, event, target, commands = row
    before = dict(TABLE[floor])
    TABLE[floor][event] = (target, commands)
    try:
        yield
    finally:
        TABLE[floor] = before


def caught(row: Row) -> bool:
    """Whether the walk finds out about it."""
    with broken(row), redirect_stdout(StringIO()):
        try:
            walk(EXAMPLES, STEPS)
        except AssertionError:
            return True
    return False


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutant", action="store_true", help="tables with a wrong row; each must be caught")
    if parser.parse_args().mutant:
        missed = [row for row in BROKEN if not caught(row)]
        print(f"{len(BROKEN)} broken tables: " + (f"NOT CAUGHT: {missed}" if missed else "all caught"))
        sys.exit(1 if missed else 0)
    start = time.monotonic()
    walk(EXAMPLES, STEPS)
    print(f"{EXAMPLES * STEPS:,} steps in {time.monotonic() - start:.1f} s: nothing that must not happen")
