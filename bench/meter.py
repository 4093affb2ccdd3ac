"""What a server's process costs: processor time, memory, open files, tasks, and how late its loop wakes."""

import os
import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiohttp

_TICK = os.sysconf("SC_CLK_TCK")
_BUCKET = re.compile(r'^ma_event_loop_lag_seconds_bucket\{le="([^"]+)"\} ([0-9.e+]+)$', re.M)
_TASKS = re.compile(r"^ma_tasks ([0-9.e+]+)$", re.M)


@dataclass(frozen=True, slots=True)
class Reading:
    """One process at one moment. `cpu` is its seconds on a processor, `rss` its KiB in memory."""

    at: float
    cpu: float
    rss: int
    files: int

    @classmethod
    def of(cls, pid: int) -> Self:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text()
        rss = re.search(r"^VmRSS:\s+(\d+)", status, re.M)
        assert rss is not None
        cpu = (int(stat[11]) + int(stat[12])) / _TICK
        return cls(time.monotonic(), cpu, int(rss[1]), len(os.listdir(f"/proc/{pid}/fd")))

    def load_since(self, before: "Reading") -> float:
        """Percent of one core."""
        return 100 * (self.cpu - before.cpu) / (self.at - before.at)


@dataclass(frozen=True, slots=True)
class Inside:
    """What a server says of itself on `/metrics`: its tasks, and its loop's lag as cumulated counts up to seconds."""

    tasks: int
    lag: dict[float, float]

    @classmethod
    async def of(cls, url: str) -> Self:
        async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as answer:
            answer.raise_for_status()
            text = await answer.text()
        found = _TASKS.search(text)
        assert found is not None
        return cls(int(float(found[1])), {float(le): float(count) for le, count in _BUCKET.findall(text)})

    def lag_since(self, before: "Inside", p: float) -> float:
        """Milliseconds, the `p`th percentile of what was observed since; straight lines within a bucket."""
        counts = [(le, count - before.lag[le]) for le, count in sorted(self.lag.items())]
        wanted, low, below = counts[-1][1] * p / 100, 0.0, 0.0
        for le, count in counts:
            if count >= wanted and count > below:
                return 1000 * (low if le == float("inf") else low + (le - low) * (wanted - below) / (count - below))
            low, below = le, count
        return 0.0

    def observed_since(self, before: "Inside") -> int:
        return int(max(self.lag.values()) - max(before.lag.values()))


def percentile(values: Sequence[float], p: float) -> float:
    """By linear interpolation; `p` 0 to 100. Not a number when there are no values."""
    if len(values) < 2:
        return values[0] if values else float("nan")
    return statistics.quantiles(values, n=1000, method="inclusive")[min(998, max(0, round(p * 10) - 1))]


def load_average() -> str:
    return f"load {os.getloadavg()[0]:.1f}"
