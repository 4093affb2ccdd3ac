"""A bounded, closable channel between two tasks (asyncio.Queue has no close before 3.13)."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class ChannelClosed(Exception):
    """Nothing more can be sent: the receiver has gone or the sender has said it is done."""


class Channel(Generic[T]):
    """At most `size` items wait; a full channel makes its sender wait, which is all the back-pressure there is."""

    def __init__(self, size: int = 8) -> None:
        self._size = size
        self._items: deque[T] = deque()
        self._closed = False
        self._changed = asyncio.Condition()

    async def send(self, item: T) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._items) < self._size or self._closed)
            if self._closed:
                raise ChannelClosed
            self._items.append(item)
            self._changed.notify_all()

    async def close(self) -> None:
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._items) or self._closed)
            if not self._items:
                raise StopAsyncIteration
            item = self._items.popleft()
            self._changed.notify_all()
            return item
