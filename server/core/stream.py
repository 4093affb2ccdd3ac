"""The outgoing half of one conversation: numbered, replayable, bounded. No I/O.

The socket may die and come back; the stream does not. `push` numbers an event, `sendable` says what may go on the wire
now (never more than `window` unacknowledged bytes), `ack` forgets, `resume` rewinds to what the client says it saw.
Media ride unnumbered behind the event they follow and are forgotten with it.
"""

from collections import deque
from dataclasses import dataclass


class ResumeGap(Exception):
    """The client asks for events that have already been forgotten: it must start from the history."""


class Overrun(Exception):
    """The client has stopped reading: more than `limit` bytes are waiting."""


@dataclass(frozen=True, slots=True)
class Out:
    """One thing for the wire: a JSON event (`seq` is its own) or media (`seq` is that of the event before it)."""

    seq: int
    name: str
    payload: dict[str, object] | bytes
    size: int


class Stream:
    def __init__(self, *, window: int = 262_144, limit: int = 4_194_304) -> None:
        self._window, self._limit = window, limit
        self._kept: deque[Out] = deque()
        self._sent = 0
        """How many of `_kept`, from the left, are on the wire."""
        self._last = self._acked = 0
        self._bytes = self._flying = 0

    @property
    def last(self) -> int:
        """The number of the newest event."""
        return self._last

    @property
    def waiting_bytes(self) -> int:
        return self._bytes

    def push(self, name: str, payload: dict[str, object] | bytes, size: int) -> int:
        """Keep one more; returns its number. Raises Overrun and keeps nothing when the budget is spent."""
        if self._bytes + size > self._limit:
            raise Overrun(self._bytes)
        if not isinstance(payload, bytes):
            self._last += 1
        self._kept.append(Out(self._last, name, payload, size))
        self._bytes += size
        return self._last

    def sendable(self) -> list[Out]:
        """What may be sent now; it counts as sent. A single event larger than the window goes alone."""
        out: list[Out] = []
        while self._sent < len(self._kept):
            item = self._kept[self._sent]
            if self._flying and self._flying + item.size > self._window:
                break
            out.append(item)
            self._sent += 1
            self._flying += item.size
        return out

    def ack(self, seq: int) -> None:
        """The client has seen every event up to `seq`. Raises ValueError for one that was never made."""
        if seq > self._last:
            raise ValueError(f"ack {seq} is ahead of {self._last}")
        while self._sent and self._kept[0].seq <= seq:
            gone = self._kept.popleft()
            self._sent -= 1
            self._bytes -= gone.size
            self._flying -= gone.size
        self._acked = max(self._acked, seq)

    def resume(self, seen: int) -> None:
        """Forget up to `seen` and send the rest again. Raises ResumeGap when something between is gone."""
        if not self._acked <= seen <= self._last:
            raise ResumeGap(f"the client saw {seen}; kept are {self._acked + 1} to {self._last}")
        self._sent = len(self._kept)
        self._flying = self._bytes
        self.ack(seen)
        self._sent = self._flying = 0
