"""Sound files in and out: FFmpeg's work, in threads of its own so that the event loop goes on."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from api._kit.ports import AudioFormat
from pipelines.audio.decode import decode
from pipelines.audio.encode import Format, encode

THREADS: Final = 2
_CONTAINER: Final[dict[AudioFormat, Format]] = {"mp3": "mp3", "opus": "ogg", "wav": "wav"}


class SpeechFiles:
    """Encodes answers and decodes uploads, two at a time."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="audio-files")

    async def encode(self, pcm: bytes, rate: int, format: AudioFormat) -> bytes:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, encode, pcm, _CONTAINER[format], rate)

    async def decode(self, data: bytes) -> bytes:
        """Raises AudioRejected."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, decode, data)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
