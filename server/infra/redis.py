"""Redis, which many servers share: a client that never waits for long, whatever happened to the other end."""

from typing import Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

PATIENCE: Final = 0.25
"""Seconds that one command may take, connecting included."""
CONNECTIONS: Final = 32
GONE: Final = (RedisError, OSError, TimeoutError)
"""What a command raises when Redis is gone, frozen or full."""


def connect(url: str, patience: float = PATIENCE) -> Redis:
    """A client for `redis://...`. Nothing is opened before the first use. Raises ValueError for another address."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=patience,
        socket_timeout=patience,
        socket_connect_timeout=patience,
        retry=Retry(NoBackoff(), 0),
    )
    return Redis.from_pool(pool)
