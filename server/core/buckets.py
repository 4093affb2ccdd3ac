"""Token buckets: how much of something may come, and how long to wait for more. No clock inside."""


class Bucket:
    """Holds at most `burst` tokens, is full at first, and gains `rate` tokens a second."""

    def __init__(self, rate: float, burst: float) -> None:
        if rate <= 0 or burst <= 0:
            raise ValueError("a bucket has a rate and a burst above zero")
        self._rate, self._burst = rate, burst
        self._tokens = burst
        self._at: float | None = None

    def take(self, now: float, cost: float = 1) -> float:
        """0 when `cost` was taken; otherwise nothing was, and it is there after so many seconds.

        `now` is monotonic seconds; a time before the last one counts as the last one. Raises ValueError for a cost that
        is negative or above the burst.
        """
        if not 0 <= cost <= self._burst:
            raise ValueError(f"a cost is from 0 to {self._burst}, not {cost}")
        if self._at is not None:
            self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now if self._at is None else max(now, self._at)
        if cost <= self._tokens:
            self._tokens -= cost
            return 0.0
        return (cost - self._tokens) / self._rate
