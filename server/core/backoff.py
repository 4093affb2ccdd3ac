"""How long to wait before trying again. No clock and no dice inside."""


def backoff(attempt: int, *, first: float, most: float, chance: float) -> float:
    """Seconds to wait after attempt number `attempt` (1 or more) has failed: doubling from `first` up to `most`.

    `chance`, from 0 to 1, spreads those who failed together over the upper half of the wait ("equal jitter":
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). Raises ValueError.
    """
    if attempt < 1 or not 0 < first <= most or not 0 <= chance <= 1:
        raise ValueError("attempts count from 1, 0 < first <= most, and a chance is from 0 to 1")
    wait = most if attempt > 64 else min(most, first * 2.0 ** (attempt - 1))
    return wait * (1 + chance) / 2
