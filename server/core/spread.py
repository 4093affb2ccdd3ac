"""Which of several processes that serve the same gets the next request, and when one gets none for a while."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

MISSES: Final = 2
"""Looks in a row that found nobody, after which a member gets no more requests."""
MOST: Final = 256
"""Requests that one member has at the same time."""


@dataclass(slots=True, eq=False)
class Member:
    """One process. `running` counts the requests that it has."""

    url: str
    well: bool = True
    running: int = 0
    misses: int = 0

    def seen(self) -> None:
        """It says that it is well: it gets requests again."""
        self.well, self.misses = True, 0

    def missed(self) -> None:
        """It did not say that it is well."""
        self.misses += 1
        if self.misses >= MISSES:
            self.well = False

    def away(self) -> None:
        """It could not be reached at all: it gets nothing until it is seen."""
        self.well, self.misses = False, MISSES


def choose(members: Sequence[Member], tried: Collection[Member] = ()) -> Member | None:
    """The one with the least to do, of those that are well and have not been tried; the first of equals."""
    free = [member for member in members if member.well and member.running < MOST and member not in tried]
    return min(free, key=lambda member: member.running, default=None)
