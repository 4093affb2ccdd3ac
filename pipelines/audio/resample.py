"""The client's microphone at any usual rate, as a stream at the rate that everything behind it expects."""

import numpy as np
import soxr

from pipelines.frames import INPUT_RATE

LOWEST, HIGHEST = 8_000, 48_000
QUALITY = "LQ"  # holds back 20 ms at most, the better ones 40; its aliases are 50 dB down, enough for a recogniser


class Resampler:
    """Mono 16-bit little-endian PCM in, the same at `INPUT_RATE` out. Stateful: one for each stream, pieces in order.

    Raises ValueError for a rate outside 8 to 48 kHz and for a piece that is not whole samples.
    """

    def __init__(self, rate: int) -> None:
        if not LOWEST <= rate <= HIGHEST:
            raise ValueError(f"sample rate {rate} is not supported; use {LOWEST} to {HIGHEST} Hz")
        self._rate = rate
        self._stream = (
            None if rate == INPUT_RATE else soxr.ResampleStream(rate, INPUT_RATE, 1, dtype="int16", quality=QUALITY)
        )

    @property
    def rate(self) -> int:
        return self._rate

    def push(self, pcm: bytes) -> bytes:
        """What is ready; a few milliseconds stay in the filter until more comes."""
        return self._resample(pcm, last=False)

    def flush(self) -> bytes:
        """The rest; the stream is over."""
        return self._resample(b"", last=True)

    def _resample(self, pcm: bytes, *, last: bool) -> bytes:
        if len(pcm) % 2:
            raise ValueError(f"{len(pcm)} bytes are not whole 16-bit samples")
        if self._stream is None:
            return pcm
        return bytes(self._stream.resample_chunk(np.frombuffer(pcm, "<i2"), last=last).tobytes())
