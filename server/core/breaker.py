"""A circuit breaker: what does not answer is left alone for a while and then tried once. No clock inside."""


class Breaker:
    """Closed at first. A failure opens it for `pause` seconds; then one call at a time may try."""

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._until: float | None = None

    @property
    def open(self) -> bool:
        return self._until is not None

    def allows(self, now: float) -> bool:
        """Whether to call. `now` is monotonic seconds. Whoever is let through an open breaker tries for all others."""
        if self._until is None:
            return True
        if now < self._until:
            return False
        self._until = now + self._pause
        return True

    def succeeded(self) -> None:
        self._until = None

    def failed(self, now: float, pause: float | None = None) -> None:
        """`pause` is for one that says itself how long to leave it alone."""
        self._until = now + (self._pause if pause is None else pause)
