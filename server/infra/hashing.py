"""Passwords: Argon2id in one thread of its own, with a bounded queue, so that a flood of logins cannot stop a voice."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from api._kit.errors import Unavailable

T = TypeVar("T")

MEMORY_KIB: Final = 19_456
TIME: Final = 2
LANES: Final = 1
WAITING: Final = 64


class Argon2Passwords:
    """OWASP's minimum for Argon2id. Raises Unavailable when `waiting` callers are already in the queue."""

    def __init__(self, *, memory_kib: int = MEMORY_KIB, time_cost: int = TIME, waiting: int = WAITING) -> None:
        self._hasher = PasswordHasher(
            time_cost=time_cost, memory_cost=memory_kib, parallelism=LANES, hash_len=32, salt_len=16, type=Type.ID
        )
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="argon2")
        self._queue = asyncio.Semaphore(waiting)
        self._nobody = self._hasher.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        return await self._run(partial(self._hasher.hash, password))

    async def verify(self, hashed: str | None, password: str) -> bool:
        """Takes as long for an unknown person (`hashed` is None) as for a wrong password."""
        right = await self._run(partial(self._matches, hashed or self._nobody, password))
        return right and hashed is not None

    def outdated(self, hashed: str) -> bool:
        return self._hasher.check_needs_rehash(hashed)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _matches(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, job: "partial[T]") -> T:
        if self._queue.locked():
            raise Unavailable("Too many people are signing in. Please try again.", details="password queue is full")
        async with self._queue:
            return await asyncio.get_running_loop().run_in_executor(self._thread, job)
