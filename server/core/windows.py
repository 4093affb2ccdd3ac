"""Counting in fixed windows that are aligned to the clock: all counters or none. No clock inside."""

from collections.abc import Sequence

from api._kit.counting import Count, Tally

MOST = 100_000
"""Keys counted in windows of one length; beyond that the one that was seen first is forgotten."""


class Windows:
    """One table of counters for each length of window, thrown away whole when the clock enters the next window."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._tables: dict[int, tuple[int, dict[str, int]]] = {}

    def add(self, counts: Sequence[Count], amount: int, now: float) -> Tally:
        """See `api._kit.limits.Counters.add`."""
        tables = [self._table(count.seconds, int(now) // count.seconds, amount > 0) for count in counts]
        used = [table.get(count.key, 0) for count, table in zip(counts, tables, strict=True)]
        admitted = all(u + amount <= count.limit for count, u in zip(counts, used, strict=True)) or amount <= 0
        if admitted and amount:
            for i, (count, table) in enumerate(zip(counts, tables, strict=True)):
                used[i] = max(0, used[i] + amount)
                if count.key not in table and len(table) >= self._most:
                    del table[next(iter(table))]
                table[count.key] = used[i]
        return Tally(admitted, tuple((u, count.limit) for count, u in zip(counts, used, strict=True)))

    def _table(self, seconds: int, index: int, enter: bool) -> dict[str, int]:
        """The counters of this window. Who only looks or gives back does not end the one that is counted in."""
        at, table = self._tables.get(seconds, (index, {}))
        if at != index:
            table = {}
        if enter:
            self._tables[seconds] = (index, table)
        return table
