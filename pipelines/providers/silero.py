"""Voice activity by Silero, in its worker process."""

import itertools

from pipelines.providers.base import VadStream
from pipelines.workers.process import WorkerProcess, WorkerSpec

WINDOW_BYTES = 2 * 512


def worker(streams: int = 1024) -> WorkerSpec:
    """The process that listens to up to `streams` microphones."""
    return WorkerSpec(
        kind="voice_activity",
        config={"streams": streams},
        public="Voice input is briefly unavailable.",
        start_timeout=20,
        call_timeout=5,
        in_flight=2 * streams,
    )


class SileroVad:
    """Opens one stream for each microphone."""

    def __init__(self, process: WorkerProcess) -> None:
        self._process = process
        self._numbers = itertools.count(1)

    async def open(self) -> VadStream:
        return _Stream(self._process, next(self._numbers))


class _Stream:
    """Keeps the part of a window that is still missing samples. After a crash of the worker the stream goes on with a
    fresh state, which settles within a few windows."""

    def __init__(self, process: WorkerProcess, number: int) -> None:
        self._process = process
        self._number = number
        self._rest = b""

    async def push(self, pcm: bytes) -> list[float]:
        data = self._rest + pcm
        whole = len(data) - len(data) % WINDOW_BYTES
        self._rest = data[whole:]
        if not whole:
            return []
        header, _ = await self._process.request("push", {"stream": self._number}, data[:whole])
        return [float(p) for p in header["p"]]

    async def close(self) -> None:
        if self._process.state == "ready":
            await self._process.request("close", {"stream": self._number})
