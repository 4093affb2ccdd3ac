"""The outgoing half of one conversation: numbered, replayable, bounded. No I/O.

The socket may die and come back; the stream does not. `push` numbers an event, `take` gives what may go on the wire now
(never more than `window` unacknowledged bytes of events), `ack` forgets, `resume` rewinds to what the client saw.
Media take no number: they ride behind the event they follow, are paced by what is heard, and are forgotten when heard.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace


class ResumeGap(Exception):
    """The client asks for events that have already been forgotten: it must start from the history."""


class Overrun(Exception):
    """The client has stopped reading: more than `limit` bytes are waiting."""


@dataclass(frozen=True, slots=True)
class Out:
    """One thing for the wire: an event (JSON) with its number, or media (bytes) up to sample `end` of reply `rid`."""

    seq: int
    name: str
    payload: str | bytes
    size: int
    rid: int = 0
    end: int = 0
    resent: bool = False

    @property
    def media(self) -> bool:
        return isinstance(self.payload, bytes)


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

    def push(self, name: str, payload: str, size: int) -> int:
        """Keep one more event, for `size` bytes; returns its number. Raises Overrun, and keeps nothing, when the budget
        is spent."""
        self._keep(Out(self._last + 1, name, payload, size))
        self._last += 1
        return self._last

    def push_media(self, name: str, payload: bytes, size: int, rid: int, end: int) -> None:
        """Keep media up to sample `end` of response `rid`. Raises Overrun."""
        self._keep(Out(self._last, name, payload, size, rid, end))

    def _keep(self, out: Out) -> None:
        if self._bytes + out.size > self._limit:
            raise Overrun(self._bytes)
        self._kept.append(out)
        self._bytes += out.size

    def take(self) -> Out | None:
        """The next thing that may be sent now; it counts as sent. An event larger than the window goes alone."""
        if self._sent == len(self._kept):
            return None
        out = self._kept[self._sent]
        if not out.media:
            if self._flying and self._flying + out.size > self._window:
                return None
            self._flying += out.size
        self._sent += 1
        return out

    def ack(self, seq: int) -> None:
        """The client has seen every event up to `seq`. Raises ValueError for one that was never made."""
        if seq > self._last:
            raise ValueError(f"ack {seq} is ahead of {self._last}")
        if seq > self._acked:
            self._acked = seq
            self._forget(lambda out: not out.media and out.seq <= seq)

    def heard(self, rid: int, samples: int) -> None:
        """The client has played this much of response `rid`, or will not; and so with everything of those before it."""
        self._forget(lambda out: out.media and (out.rid < rid or (out.rid == rid and out.end <= samples)))

    def _forget(self, gone: Callable[[Out], bool]) -> None:
        """Drop what is `gone`: events when they are on the wire, media in any case."""
        kept: deque[Out] = deque()
        sent = 0
        for n, out in enumerate(self._kept):
            if gone(out) and (n < self._sent or out.media):
                self._bytes -= out.size
                self._flying -= 0 if out.media else out.size
                continue
            sent += n < self._sent
            kept.append(out)
        self._kept, self._sent = kept, sent

    def resume(self, seen: int, rid: int = 0, played: int = 0) -> None:
        """Forget what was seen and played, and send the rest again. Raises ResumeGap when something between is gone."""
        if not self._acked <= seen <= self._last:
            raise ResumeGap(f"the client saw {seen}; kept are {self._acked + 1} to {self._last}")
        self.ack(seen)
        self.heard(rid, played)
        self._kept = deque(replace(out, resent=True) if n < self._sent else out for n, out in enumerate(self._kept))
        self._sent = self._flying = 0

    def reset(self) -> None:
        """Forget everything but the number: the client starts from the history."""
        self._kept.clear()
        self._sent = self._bytes = self._flying = 0
        self._acked = self._last
