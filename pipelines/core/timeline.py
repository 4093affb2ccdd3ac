"""Pacing: how far the listener is, and when the next piece of a response may leave."""

from pipelines.frames import OUTPUT_RATE

AHEAD = 2 * OUTPUT_RATE
_ASK_AGAIN_SECONDS = 0.25
_STALE_SECONDS = 2.0


class Pacer:
    """The playhead of one response, so that never more than `ahead` samples are sent and unheard.

    Without play reports, sound is taken to start when it is first sent and to stand still while nothing is left to
    play. With them, the last report counts, and runs on for at most 2 s: a client that has gone silent (a sleeping tab)
    holds the response back. Times are monotonic seconds.
    """

    def __init__(self, rate: int = OUTPUT_RATE, ahead: int = AHEAD) -> None:
        self._rate, self._ahead = rate, ahead
        self._sent = 0
        self._heard = 0
        self._at: float | None = None
        self._reported = False
        self._paused = False

    @property
    def sent(self) -> int:
        return self._sent

    def send(self, samples: int, now: float) -> None:
        """`samples` more have been sent."""
        if self._at is None or (not self._paused and self.playhead(now) >= self._sent):
            self._heard, self._at = self._sent, now
        self._sent += samples

    def report(self, played: int, now: float, *, playing: bool = True) -> None:
        """The client has played `played` samples of the response, and goes on or not. It cannot unhear them."""
        self._heard = max(min(played, self._sent), self._heard if self._reported else 0)
        self._at, self._paused, self._reported = now, not playing, True

    def playhead(self, now: float) -> int:
        """How many samples have been heard by now, as well as one can know."""
        if self._at is None or self._paused:
            return self._heard
        elapsed = max(0.0, now - self._at)
        if self._reported:
            elapsed = min(elapsed, _STALE_SECONDS)
        return min(self._sent, self._heard + int(elapsed * self._rate))

    def wait(self, samples: int, now: float) -> float:
        """Seconds to wait before asking again; 0 means that a piece of `samples` may be sent now.

        At most 0.25, so that a report that came meanwhile counts. A piece longer than half of `ahead` counts as that
        half, or the sound would run dry before it may leave.
        """
        over = self._sent - self.playhead(now) + min(samples, self._ahead // 2) - self._ahead
        return min(_ASK_AGAIN_SECONDS, over / self._rate) if over > 0 else 0.0
