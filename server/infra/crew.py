"""Takes work from the database and does it in tasks of its own, a bounded number at a time."""

import asyncio  # create_task only inside the crew's TaskGroup
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final, Self

import structlog

from api._kit.store import StoreUnavailable

POLL: Final = 5.0
"""Seconds after which a crew that nobody wakes looks for work: what other processes left, and what is due again."""
LEAVE: Final = 2.0
"""Seconds that work under way has to end when the house is left; then it is cancelled, and its owner gives it back."""

Work = Coroutine[Any, Any, None]
Take = Callable[[int], Awaitable[tuple[Sequence[Work], float]]]
"""Gets how much may be taken; returns that work and after how many seconds more may be due."""

log = structlog.get_logger()


class Crew:
    """Use as an async context manager: nothing runs any more when it is left. The work itself must not raise.

    While the database does not answer nothing is taken; what was taken goes on, and the crew asks again after `POLL`.
    """

    def __init__(self, name: str, take: Take, *, parallel: int) -> None:
        self._name, self._take, self._parallel = name, take, parallel
        self._woken = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stack = AsyncExitStack()
        self._group: asyncio.TaskGroup

    def wake(self) -> None:
        """There may be work."""
        self._woken.set()

    async def __aenter__(self) -> Self:
        self._group = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._foreman = self._group.create_task(self._run(), name=self._name)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._foreman.cancel()
        await asyncio.wait({self._foreman})
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LEAVE)
        for task in self._tasks:
            task.cancel()
        await self._stack.aclose()

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            await self._rest(await self._begin())

    async def _begin(self) -> float:
        """Take what there is room for; returns how long to rest."""
        free = self._parallel - len(self._tasks)
        if free < 1:
            return POLL
        try:
            works, pause = await self._take(free)
        except StoreUnavailable as error:
            log.warning("no work can be taken", crew=self._name, error=error.details)
            return POLL
        for work in works:
            task = self._group.create_task(work, name=self._name)
            self._tasks.add(task)
            task.add_done_callback(self._done)
        return min(pause, POLL)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self.wake()

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._woken.wait()
        except TimeoutError:
            return
