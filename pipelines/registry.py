"""Which providers there are and how each is built from the model store: the tables to add a provider to.

Errors:

    ModelMissing           a chosen model or voice is known but not pulled; the message holds the command
    UnknownModel           no manifest knows the name
    LanguageUnsupported    nothing installed speaks, or hears, a language
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from pipelines.frames import SpeechChunk
from pipelines.models.manifest import Entry
from pipelines.models.store import ModelMissing, ModelStore, UnknownModel
from pipelines.providers import kokoro, llama, piper, silero, whisper
from pipelines.providers.base import Llm, LlmCapabilities, ProviderError, Stt, Tts, TtsCapabilities, Vad, Voice
from pipelines.providers.openai_compat import Endpoint, OpenAiLlm, fixed
from pipelines.workers.process import WorkerProcess

EMBEDDED_MODEL = "smollm2-135m-instruct-q4"
EMBEDDED_CONTEXT = 2048
REMOTE_CONTEXT = 8192
SPEED: Mapping[str, Literal["fast", "medium", "slow"]] = {"piper": "fast", "kokoro": "medium"}


@dataclass(frozen=True, slots=True)
class Choices:
    """What the settings ask for. Without `llm_base_url` the embedded server runs `llm_model`, or the packaged model."""

    stt_model: str = "whisper-tiny.en"
    stt_threads: int = 2
    voice: str = "en_US-joe-medium"
    tts_threads: int = 2
    llm_base_url: str = ""
    llm_model: str = ""
    llm_api_key: str = ""
    llm_first_token_timeout: float = 5.0
    llm_threads: int = 2


class LanguageUnsupported(Exception):
    """Nothing installed speaks (`part` "voice") or hears ("recogniser") `language`; `available` languages are."""

    def __init__(self, part: Literal["voice", "recogniser"], language: str, available: Sequence[str]) -> None:
        have = ", ".join(available) or "none"
        super().__init__(
            f"no installed {part} knows the language {language!r} (installed: {have}); see `machineavatars models list`"
        )
        self.part, self.language, self.available = part, language, tuple(available)


class Speaking(Protocol):
    """A Tts whose iterator can be closed early, as every provider's here can."""

    @property
    def capabilities(self) -> TtsCapabilities: ...

    def speak(self, text: str, voice: str) -> AsyncGenerator[SpeechChunk]: ...


def _whisper(store: ModelStore, entry: Entry, choices: Choices) -> tuple[Stt, WorkerProcess]:
    process = WorkerProcess(whisper.worker(store.path(entry.name), choices.stt_threads))
    return whisper.WhisperStt(process, entry.name, entry.languages), process


def _piper(store: ModelStore, entries: Sequence[Entry], choices: Choices) -> tuple[Speaking, WorkerProcess]:
    voices = [voice for entry in entries for voice in voices_of(entry)]
    paths = {voice.id: store.path(entry.name) for entry in entries for voice in voices_of(entry)}
    process = WorkerProcess(piper.worker(paths, choices.voice, choices.tts_threads))
    return piper.PiperTts(process, voices), process


def _kokoro(store: ModelStore, entries: Sequence[Entry], choices: Choices) -> tuple[Speaking, WorkerProcess]:
    entry, dictionaries = entries[0], store.path("misaki-en")
    voices = voices_of(entry)
    languages = {voice.id: voice.language for voice in voices}
    spec = kokoro.worker(store.path(entry.name), dictionaries, languages, choices.voice, choices.tts_threads)
    process = WorkerProcess(spec)
    return kokoro.KokoroTts(process, voices), process


RECOGNISERS: Mapping[str, Callable[[ModelStore, Entry, Choices], tuple[Stt, WorkerProcess]]] = {
    "whisper": _whisper,
}
SPEAKERS: Mapping[str, Callable[[ModelStore, Sequence[Entry], Choices], tuple[Speaking, WorkerProcess]]] = {
    "piper": _piper,
    "kokoro": _kokoro,
}


@dataclass(frozen=True, slots=True)
class Providers:
    """Everything the pipelines ask of the outside; each of `workers` must be run for as long as they are used."""

    stt: Stt
    llm: Llm
    tts: Tts
    vad: Vad
    voices: "Voices"
    workers: tuple[WorkerProcess, ...]


def build(store: ModelStore, choices: Choices) -> Providers:
    """Check the models that `choices` name and build the providers on them. Starts nothing; reads each model once when
    it is new. Raises ModelMissing and UnknownModel."""
    stt, hears = recogniser(store, choices)
    tts, voices, speaks = speakers(store, choices)
    llm, thinks = language_model(store, choices)
    listens = WorkerProcess(silero.worker())
    workers = (listens, hears, *speaks, *([thinks] if thinks else []))
    return Providers(stt, llm, tts, silero.SileroVad(listens), voices, workers)


def recogniser(store: ModelStore, choices: Choices) -> tuple[Stt, WorkerProcess]:
    entry = store.entry(choices.stt_model)
    factory = RECOGNISERS.get(entry.engine)
    if factory is None:
        raise UnknownModel(entry.name, [e.name for e in store.entries() if e.engine in RECOGNISERS])
    return factory(store, entry, choices)


def speakers(store: ModelStore, choices: Choices) -> tuple[Tts, "Voices", tuple[WorkerProcess, ...]]:
    """Every installed voice of every engine, behind one Tts."""
    able = [entry for entry in store.entries() if entry.engine in SPEAKERS and entry.voices]
    home = next((entry for entry in able if any(voice.id == choices.voice for voice in entry.voices)), None)
    if home is None:
        raise UnknownModel(choices.voice, [voice.id for entry in able for voice in entry.voices])
    store.path(home.name)
    here = [entry for entry in able if all(store.present(name) for name in (entry.name, *entry.needs))]
    built = [
        SPEAKERS[engine](store, [entry for entry in here if entry.engine == engine], choices)
        for engine in SPEAKERS
        if any(entry.engine == engine for entry in here)
    ]
    voices = Voices([voice for tts, _ in built for voice in tts.capabilities.voices], choices.voice)
    return _ByVoice([tts for tts, _ in built]), voices, tuple(process for _, process in built)


def language_model(store: ModelStore, choices: Choices) -> tuple[OpenAiLlm, WorkerProcess | None]:
    if choices.llm_base_url:
        endpoint = fixed(Endpoint(choices.llm_base_url, choices.llm_api_key))
        capabilities = LlmCapabilities(choices.llm_model or "default", REMOTE_CONTEXT, local=False)
        return OpenAiLlm(endpoint, capabilities, first_token_timeout=choices.llm_first_token_timeout), None
    entry = store.entry(choices.llm_model or EMBEDDED_MODEL)
    if entry.engine != "llama":
        raise UnknownModel(entry.name, [e.name for e in store.entries() if e.engine == "llama"])
    spec = llama.worker(entry.name, store.path(entry.name), threads=choices.llm_threads, context=EMBEDDED_CONTEXT)
    process = WorkerProcess(spec)
    capabilities = LlmCapabilities(entry.name, EMBEDDED_CONTEXT, local=True)
    timeout = choices.llm_first_token_timeout
    return OpenAiLlm(llama.EmbeddedEndpoint(process), capabilities, first_token_timeout=timeout), process


def voices_of(entry: Entry) -> list[Voice]:
    speed = SPEED[entry.engine]
    return [Voice(v.id, v.name, v.language, v.gender, entry.engine, speed, entry.licence) for v in entry.voices]


REAL_TIME: Final = 0.6
"""Seconds of work for a second of speech up to which a voice keeps up with a conversation."""


class Voices:
    """The installed voices, as data, and which of them a bot speaks with. How fast the slower engines are on this
    machine is known once they have been `measured`."""

    def __init__(self, voices: Sequence[Voice], default: str) -> None:
        self._voices = {voice.id: voice for voice in voices}
        self._default = default
        self._factors: dict[str, float] = {}

    def __iter__(self) -> Iterator[Voice]:
        return iter(self._voices.values())

    def __len__(self) -> int:
        return len(self._voices)

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(sorted({voice.language for voice in self}))

    def get(self, id: str) -> Voice | None:
        return self._voices.get(id)

    def measured(self, engine: str, factor: float) -> None:
        """This engine needs `factor` seconds for a second of speech on this machine."""
        self._factors[engine] = factor

    def keeps_up(self, id: str) -> bool:
        """Whether the voice is installed and fast enough here to be one that nobody asked for by name."""
        voice = self._voices.get(id)
        return voice is not None and (
            voice.speed == "fast" or self._factors.get(voice.engine, REAL_TIME + 1) <= REAL_TIME
        )

    def for_language(self, language: str, wanted: str | None = None) -> Voice:
        """The voice of a bot of this language: the wanted one if it is here and speaks the language, else the default
        if it does, else the nearest (the same locale before the same language, a fast voice before a slow one). Raises
        LanguageUnsupported."""
        for id in (wanted, self._default):
            voice = self._voices.get(id or "")
            if voice is not None and primary(voice.language) == primary(language):
                return voice
        speaking = [voice for voice in self if primary(voice.language) == primary(language)]
        if not speaking:
            raise LanguageUnsupported("voice", language, self.languages)
        order = ("fast", "medium", "slow")
        return min(speaking, key=lambda v: (v.language.lower() != language.lower(), order.index(v.speed)))


def require_recogniser(stt: Stt, language: str) -> None:
    """Raises LanguageUnsupported when `stt` cannot hear `language`."""
    if primary(language) not in stt.capabilities.languages:
        raise LanguageUnsupported("recogniser", language, stt.capabilities.languages)


def primary(language: str) -> str:
    """The language of a BCP 47 tag: `en` of `en-US`."""
    return language.replace("_", "-").split("-")[0].lower()


class _ByVoice:
    """One Tts of several: the voice decides which engine speaks."""

    def __init__(self, engines: Sequence[Speaking]) -> None:
        self._engine = {voice.id: tts for tts in engines for voice in tts.capabilities.voices}
        voices = tuple(voice for tts in engines for voice in tts.capabilities.voices)
        self._capabilities = TtsCapabilities(voices, all(tts.capabilities.phones for tts in engines))

    @property
    def capabilities(self) -> TtsCapabilities:
        return self._capabilities

    async def speak(self, text: str, voice: str) -> AsyncGenerator[SpeechChunk]:
        engine = self._engine.get(voice)
        if engine is None:
            raise ProviderError(f"no voice {voice!r}", retryable=False, public="That voice is not installed.")
        async with aclosing(engine.speak(text, voice)) as chunks:
            async for chunk in chunks:
                yield chunk


__all__ = [
    "Choices",
    "LanguageUnsupported",
    "ModelMissing",
    "Providers",
    "UnknownModel",
    "Voices",
    "build",
    "primary",
    "require_recogniser",
]
