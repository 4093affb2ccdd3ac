"""The incoming half of one conversation: a client's messages by its own ids, each taken once. No I/O.

A client sends a message again until it is acknowledged. `receive` says whether one is new; all who sent it wait for the
one commit (`committed`, `refused`). What has been committed is remembered for a while; the journal knows it for ever.
"""

from collections import OrderedDict
from typing import Generic, TypeVar

W = TypeVar("W")


class Inbox(Generic[W]):
    """`W` is whoever waits for an acknowledgement. Of one message no more than `waiters` wait, the latest of them."""

    def __init__(self, *, remembered: int = 256, waiters: int = 8) -> None:
        self._remembered, self._most = remembered, waiters
        self._waiting: dict[str, list[W]] = {}
        self._kept: OrderedDict[str, str] = OrderedDict()

    def receive(self, id: str, waiter: W | None) -> bool:
        """Whether this message has to be taken now: it is neither on its way nor remembered as kept."""
        new = id not in self._waiting and id not in self._kept
        if id not in self._kept:
            waiting = self._waiting.setdefault(id, [])
            waiting += [waiter] if waiter is not None else []
            del waiting[: -self._most]
        return new

    def kept(self, id: str) -> str | None:
        """The number under which this message was kept, while that is remembered."""
        return self._kept.get(id)

    def committed(self, id: str, message_id: str) -> list[W]:
        """The message is kept; returns who waits to hear of it."""
        self._kept[id] = message_id
        self._kept.move_to_end(id)
        if len(self._kept) > self._remembered:
            self._kept.popitem(last=False)
        return self._waiting.pop(id, [])

    def refused(self, id: str) -> None:
        """The message was not kept: sent again, it is new."""
        self._waiting.pop(id, None)
