"""Sound files in and out: uploads are decoded in the box, answers encoded in threads, while the event loop goes on."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final, get_args

from api._kit.ports import AudioFormat, Box, TooExpensive, Unreadable
from pipelines.audio.decode import AudioRejected, Reason
from pipelines.audio.encode import Format, encode

THREADS: Final = 2
_CONTAINER: Final[dict[AudioFormat, Format]] = {"mp3": "mp3", "opus": "ogg", "wav": "wav"}
_REASONS: Final[dict[str, Reason]] = {reason: reason for reason in get_args(Reason)}


class SpeechFiles:
    """Encodes answers, two at a time, and has uploads decoded."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="audio-files")

    async def encode(self, pcm: bytes, rate: int, format: AudioFormat) -> bytes:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, encode, pcm, _CONTAINER[format], rate)

    async def decode(self, data: bytes) -> bytes:
        """Raises AudioRejected, Unavailable."""
        try:
            return await self._box.run("audio", data)
        except Unreadable as error:
            raise AudioRejected(_REASONS.get(error.reason, "damaged"), str(error)) from None
        except TooExpensive as error:
            raise AudioRejected("too_large", str(error)) from None

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
