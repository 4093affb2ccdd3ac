"""The only file that reads a clock or rolls dice: time, ids and random numbers are passed in from here."""

import asyncio
import random
import time

from ulid import ULID


class SystemClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Ids:
    """Opaque ids: a prefix and a ULID, such as `msg_01J...`."""

    def new(self, prefix: str) -> str:
        return f"{prefix}_{ULID()}"


class Dice:
    """Random numbers for jitter; never for secrets."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)
