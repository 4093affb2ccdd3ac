"""What each voice sounds like: a few words, spoken by the real engine when someone first asks, and kept.

When it fails: another sample being made, an engine that does not answer and a full disk are each a 503 that says when
to try again. Conversations go before samples: one is made at a time, a sentence at a time.
"""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from api._kit.choices import Sample
from api._kit.errors import Unavailable, UpstreamError
from api._kit.ports import Speech
from pipelines.core.language import primary
from pipelines.frames import OUTPUT_RATE
from pipelines.providers.base import ProviderError, Tts, Voice
from server.infra.media import MediaFolder

TEXTS: Final[Mapping[str, tuple[str, ...]]] = {
    "de": ("Hallo, schön, dass du da bist.", "Wobei kann ich dir heute helfen?"),
    "en": ("Hello, it is good to see you.", "How can I help you today?"),
    "es": ("Hola, me alegro de verte.", "¿En qué puedo ayudarte hoy?"),
    "fr": ("Bonjour, je suis heureux de vous voir.", "Comment puis-je vous aider aujourd'hui ?"),
    "hi": ("नमस्ते, आपसे मिलकर खुशी हुई।", "आज मैं आपकी क्या मदद कर सकता हूँ?"),
    "it": ("Ciao, che piacere vederti.", "Come posso aiutarti oggi?"),
    "pt": ("Olá, é um prazer ver você.", "Como posso ajudar hoje?"),
}
ANY_LANGUAGE: Final = ("1, 2, 3, 4, 5.",)
"""What a voice of any other language can read."""
PAUSE: Final = bytes(2 * OUTPUT_RATE // 5)
PATIENCE: Final = 60.0
"""Seconds for one sample: the first one may load its engine."""
RETRY_AFTER: Final = 5


class VoiceSamples:
    """MP3 files in the data directory, one for each voice; files of other voices or other words are removed, and so
    are drafts, when no process can be at them any more."""

    def __init__(
        self, data_dir: Path, voices: Iterable[Voice], tts: Tts, speech: Speech, *, patience: float = PATIENCE
    ) -> None:
        self._tts, self._speech, self._patience = tts, speech, patience
        self._folder = data_dir / "samples"
        self.voices = tuple(voices)
        self._paths = {voice.id: self._folder / _name(voice) for voice in self.voices}
        self._turn = asyncio.Lock()
        self._making = ""

    async def file(self, voice: Voice) -> Path:
        """Raises Unavailable while the sample of another voice is made, UpstreamError when this one cannot be."""
        path = self._paths[voice.id]
        if self._turn.locked() and self._making != voice.id:
            raise Unavailable("Another sample is being made. Please try again.", retry_after=RETRY_AFTER)
        async with self._turn:
            self._making = voice.id
            if not await asyncio.to_thread(path.is_file):
                await self._make(voice, path)
        return path

    async def _make(self, voice: Voice, path: Path) -> None:
        try:
            async with asyncio.timeout(self._patience):
                pcm = PAUSE.join([await self._said(sentence, voice) for sentence in words(voice)])
                await asyncio.to_thread(self._write, path, await self._speech.encode(pcm, OUTPUT_RATE, "mp3"))
        except ProviderError as error:
            raise UpstreamError(error.public, retry_after=RETRY_AFTER) from error
        except TimeoutError as error:
            raise UpstreamError("The voice did not answer in time.", retry_after=RETRY_AFTER) from error
        except OSError as error:
            raise Unavailable(details="the sample could not be kept", retry_after=RETRY_AFTER) from error

    async def _said(self, sentence: str, voice: Voice) -> bytes:
        pcm = b"".join([chunk.pcm async for chunk in self._tts.speak(sentence, voice.id)])
        if not pcm:
            raise ProviderError(f"{voice.id} said nothing", retryable=False, public="This voice says nothing.")
        return pcm

    def _write(self, path: Path, data: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".part")
        draft.write_bytes(data)
        draft.rename(path)
        begun = path.stat().st_mtime - PATIENCE
        for other in set(self._folder.iterdir()) - set(self._paths.values()):
            with suppress(FileNotFoundError):
                if other.suffix != ".part" or other.stat().st_mtime < begun:
                    other.unlink()


def offered(samples: VoiceSamples, media: MediaFolder) -> dict[str, Sample]:
    """By voice: what it says, and the id under which the folder of media opens it."""
    return {
        voice.id: Sample(" ".join(words(voice)), media.offer(_name(voice), "mp3", partial(samples.file, voice)))
        for voice in samples.voices
    }


def words(voice: Voice) -> tuple[str, ...]:
    """The sentences of the voice's sample."""
    return TEXTS.get(primary(voice.language), ANY_LANGUAGE)


def _name(voice: Voice) -> str:
    said = "\n".join((voice.engine, voice.id, *words(voice)))
    return f"{hashlib.sha256(said.encode()).hexdigest()[:32]}.mp3"
