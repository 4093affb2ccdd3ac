"""Where requests are counted: in this process for one machine, in Redis for many.

When Redis is gone or frozen, this process counts on its own and allows half of every limit (a counter of `/metrics`
says `fallback`), sign-in included: limits are never open. Nobody waits on Redis for longer than `redis.PATIENCE`; while
it is gone, one request a second tries it.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Literal

import structlog
from redis.asyncio import Redis

from api._kit.counting import Count, Tally
from api._kit.health import Condition
from pipelines.ports import Clock
from server.core.breaker import Breaker
from server.core.windows import Windows
from server.infra.redis import GONE, PATIENCE, connect

PAUSE: Final = 1.0
"""Seconds between two attempts to reach a Redis that is gone."""
GRACE: Final = 5
"""Seconds that a counter outlives its window, for what is given back late."""
Store = Literal["redis", "fallback"]

SCRIPT: Final = """
local amount = tonumber(ARGV[1])
local used, admitted = {}, 1
for i, value in ipairs(redis.call('MGET', unpack(KEYS))) do
  used[i] = tonumber(value or '0')
  if amount > 0 and used[i] + amount > tonumber(ARGV[2 * i]) then admitted = 0 end
end
if admitted == 1 and amount ~= 0 then
  for i, key in ipairs(KEYS) do
    used[i] = math.max(0, used[i] + amount)
    redis.call('SET', key, used[i], 'EX', ARGV[2 * i + 1])
  end
end
return {admitted, unpack(used)}
"""
"""Keys are counters; arguments are the amount, then each counter's limit and seconds to live."""

log = structlog.get_logger("server.limits")


def counting(
    redis_url: str,
    *,
    clock: Clock,
    counted: Callable[[Store], None] = lambda store: None,
    patience: float = PATIENCE,
) -> "LocalCounters | SteadyCounters":
    """Counters in this process, or with an address of Redis there. `counted` hears who counted."""
    if not redis_url:
        return LocalCounters()
    return SteadyCounters(connect(redis_url, patience), clock=clock, counted=counted, patience=patience)


class LocalCounters:
    """Counts in this process."""

    def __init__(self) -> None:
        self._windows = Windows()

    async def add(self, counts: Sequence[Count], amount: int, now: float) -> Tally:
        return self._windows.add(counts, amount, now)

    async def condition(self) -> Condition:
        return "ok"

    async def close(self) -> None:
        """Nothing is open."""


class RedisCounters:
    """Counts in Redis: one script, one round trip. Raises what is in `redis.GONE`. Not for a cluster, where the
    counters of one request would lie on several nodes.

    Windows are those of this server's clock, so the clocks of servers that share a Redis must agree.
    """

    def __init__(self, redis: Redis, patience: float = PATIENCE) -> None:
        self._script, self._patience = redis.register_script(SCRIPT), patience

    async def add(self, counts: Sequence[Count], amount: int, now: float) -> Tally:
        keys = [f"ma:limit:{c.seconds}:{int(now) // c.seconds}:{c.key}" for c in counts]
        arguments = [amount, *(value for c in counts for value in (c.limit, c.seconds + GRACE))]
        async with asyncio.timeout(self._patience):
            admitted, *used = await self._script(keys=keys, args=arguments)
        return Tally(bool(admitted), tuple((int(u), c.limit) for u, c in zip(used, counts, strict=True)))


class SteadyCounters:
    """Counts in Redis and, while that is gone, here with half of every limit."""

    def __init__(self, redis: Redis, *, clock: Clock, counted: Callable[[Store], None], patience: float) -> None:
        self._redis, self._clock, self._counted = redis, clock, counted
        self._shared, self._own = RedisCounters(redis, patience), Windows()
        self._breaker = Breaker(PAUSE)

    async def close(self) -> None:
        """Disconnect."""
        await self._redis.aclose()

    async def condition(self) -> Condition:
        """Degraded while Redis is gone."""
        return "degraded" if self._breaker.open else "ok"

    async def add(self, counts: Sequence[Count], amount: int, now: float) -> Tally:
        if self._breaker.allows(self._clock.monotonic()):
            try:
                tally = await self._shared.add(counts, amount, now)
            except GONE as error:
                self._breaker.failed(self._clock.monotonic())
                log.warning("redis.gone", error=type(error).__name__)
            else:
                if self._breaker.open:
                    log.info("redis.back")
                self._breaker.succeeded()
                self._counted("redis")
                return tally
        self._counted("fallback")
        return self._own.add([replace(count, limit=(count.limit + 1) // 2) for count in counts], amount, now)
