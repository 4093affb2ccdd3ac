"""Group commit, without the database: what waits together is committed together, in the order in which it came."""

import asyncio  # create_task only for the one task that commits; it ends when nothing waits, and `close` waits for it
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import structlog

W = TypeVar("W")

BATCH: Final = 64
WAITING: Final = 1024

log = structlog.get_logger()


class Full(Exception):
    """As much waits as may wait, or the house is closing: nothing was accepted."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one write: the value it returns to its caller, or the error that it raises there."""

    value: Any = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[W]):
    write: W
    outcome: asyncio.Future[Any]


class Batches(Generic[W]):
    """One batch at a time: `commit` gets up to `batch` writes and returns one outcome for each, once they are settled.

    What `commit` raises, it raises for its batch and for everyone who waits at that moment, so that nobody waits for
    longer than one attempt. A write whose caller is cancelled is committed all the same.
    """

    def __init__(
        self, commit: Callable[[Sequence[W]], Awaitable[Sequence[Outcome]]], *, batch: int = BATCH, most: int = WAITING
    ) -> None:
        self._commit, self._batch, self._most = commit, batch, most
        self._waiting: deque[_Waiting[W]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def add(self, write: W) -> Any:
        """What the write came to, after its commit. Raises its error, or Full."""
        if self._closed or len(self._waiting) >= self._most:
            raise Full
        outcome = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(write, outcome))
        if self._task is None:  # in a context of its own: the work of many requests belongs to none of them
            self._task = asyncio.create_task(self._run(), name="group commit", context=Context())
        return await outcome

    async def close(self) -> None:
        """Accept nothing more, and commit what was accepted."""
        self._closed = True
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        batch: list[_Waiting[W]] = []
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]
                try:
                    outcomes = await self._commit([waiting.write for waiting in batch])
                except Exception as error:  # the last resort: whatever it is, nobody may wait for ever
                    log.warning("writes refused", error=repr(error), writes=len(batch) + len(self._waiting))
                    batch += self._waiting
                    self._waiting.clear()
                    outcomes = [Outcome(error=error)] * len(batch)
                for waiting, outcome in zip(batch, outcomes, strict=True):
                    _settle(waiting.outcome, outcome)
        finally:
            self._task = None
            for waiting in (*batch, *self._waiting):
                waiting.outcome.cancel()  # only where this task was cancelled: all others are settled
            self._waiting.clear()


def _settle(future: asyncio.Future[Any], outcome: Outcome) -> None:
    if future.done():
        return
    if outcome.error is not None:
        future.set_exception(outcome.error)
    else:
        future.set_result(outcome.value)
