"""Which providers there are and how each is built from the model store: the tables to add a provider to.

Errors:

    ModelMissing      a chosen model or voice is known but not pulled; the message holds the command
    PackageMissing    the engine of the chosen voice is not installed
    UnknownModel      no manifest knows the name
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final, Protocol

from pipelines.core.language import primary
from pipelines.frames import SpeechChunk
from pipelines.models.manifest import Entry
from pipelines.models.store import ModelMissing, ModelStore, UnknownModel
from pipelines.providers import kokoro, llama, piper, silero, whisper
from pipelines.providers.base import Llm, LlmCapabilities, ProviderError, Speed, Stt, Tts, TtsCapabilities, Vad, Voice
from pipelines.providers.openai_compat import Endpoint, OpenAiLlm, fixed
from pipelines.workers.process import WorkerProcess

EMBEDDED_MODEL = "smollm2-135m-instruct-q4"
EMBEDDED_CONTEXT = 2048
REMOTE_CONTEXT = 8192
SPEED: Mapping[str, Speed] = {"piper": "fast", "kokoro": "good"}
"""What to expect of an engine that was not measured on this machine."""


class PackageMissing(ValueError):
    """The package that runs the voice is not installed."""

    def __init__(self, voice: str, package: str) -> None:
        super().__init__(f"the voice {voice!r} needs the package {package!r}: install it, or choose another voice")


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """What the providers are built from. Without `llm_base_url` the embedded server runs `llm_model`, or the packaged
    model."""

    stt_model: str = "whisper-tiny.en"
    stt_threads: int = 2
    voice: str = "en_US-joe-medium"
    tts_threads: int = 2
    llm_base_url: str = ""
    llm_model: str = ""
    llm_api_key: str = ""
    llm_threads: int = 2


class Speaking(Protocol):
    """A Tts whose iterator can be closed early, as every provider's here can."""

    @property
    def capabilities(self) -> TtsCapabilities: ...

    def speak(self, text: str, voice: str) -> AsyncGenerator[SpeechChunk]: ...


def _whisper(store: ModelStore, entry: Entry, settings: ProviderSettings) -> tuple[Stt, WorkerProcess]:
    process = WorkerProcess(whisper.worker(store.path(entry.name), settings.stt_threads))
    return whisper.WhisperStt(process, entry.name, entry.languages), process


@dataclass(slots=True)
class Espeak:
    """Piper's process, once there is one: it also reads for voices of other engines."""

    process: WorkerProcess | None = None


def _piper(
    store: ModelStore, entries: Sequence[Entry], settings: ProviderSettings, espeak: Espeak
) -> tuple[Speaking, tuple[WorkerProcess, ...]]:
    voices = [voice for entry in entries for voice in voices_of(entry)]
    paths = {voice.id: store.path(entry.name) for entry in entries for voice in voices_of(entry)}
    espeak.process = WorkerProcess(piper.worker(paths, settings.voice, settings.tts_threads))
    return piper.PiperTts(espeak.process, voices), (espeak.process,)


def _kokoro(
    store: ModelStore, entries: Sequence[Entry], settings: ProviderSettings, espeak: Espeak
) -> tuple[Speaking, tuple[WorkerProcess, ...]]:
    """Without Piper's package only the voices that need no reader; without any voice of Piper its process reads all
    the same."""
    entry, dictionaries = entries[0], store.path("misaki-en")
    voices = [voice for voice in voices_of(entry) if _runs("piper") or not kokoro.foreign(voice)]
    new: tuple[WorkerProcess, ...] = ()
    if espeak.process is None and any(kokoro.foreign(voice) for voice in voices):
        espeak.process = WorkerProcess(piper.worker({}, settings.voice, settings.tts_threads))
        new = (espeak.process,)
    languages = {voice.id: voice.language for voice in voices}
    spec = kokoro.worker(store.path(entry.name), dictionaries, languages, settings.voice, settings.tts_threads)
    process = WorkerProcess(spec)
    return kokoro.KokoroTts(process, voices, espeak.process), (*new, process)


RECOGNISERS: Mapping[str, Callable[[ModelStore, Entry, ProviderSettings], tuple[Stt, WorkerProcess]]] = {
    "whisper": _whisper,
}
SPEAKERS: Mapping[
    str,
    Callable[[ModelStore, Sequence[Entry], ProviderSettings, Espeak], tuple[Speaking, tuple[WorkerProcess, ...]]],
] = {"piper": _piper, "kokoro": _kokoro}
"""In this order: a later engine may ask an earlier one to read."""


PACKAGES: Mapping[str, str] = {"piper": "piper"}
"""Packages, by the name they are imported by, without which an engine's voices are as if they were not here."""


@dataclass(frozen=True, slots=True)
class Providers:
    """Everything the pipelines ask of the outside; each of `workers` must be run for as long as they are used."""

    stt: Stt
    llm: Llm
    tts: Tts
    vad: Vad
    voices: "Voices"
    workers: tuple[WorkerProcess, ...]


def build(store: ModelStore, settings: ProviderSettings) -> Providers:
    """Check the models that `settings` name and build the providers on them. Starts nothing; reads each model once when
    it is new. Raises ModelMissing, PackageMissing and UnknownModel."""
    stt, hears = recogniser(store, settings)
    tts, voices, speaks = speakers(store, settings)
    llm, thinks = language_model(store, settings)
    listens = WorkerProcess(silero.worker())
    workers = (listens, hears, *speaks, *([thinks] if thinks else []))
    return Providers(stt, llm, tts, silero.SileroVad(listens), voices, workers)


def recogniser(store: ModelStore, settings: ProviderSettings) -> tuple[Stt, WorkerProcess]:
    entry = _ear(store, settings)
    return RECOGNISERS[entry.engine](store, entry, settings)


def speakers(store: ModelStore, settings: ProviderSettings) -> tuple[Tts, "Voices", tuple[WorkerProcess, ...]]:
    """Every installed voice of every engine whose package is here too, behind one Tts."""
    store.path(_home(store, settings).name)
    here = [
        entry
        for entry in _able(store)
        if _runs(entry.engine) and all(store.present(name) for name in (entry.name, *entry.needs))
    ]
    espeak = Espeak()
    built = [
        SPEAKERS[engine](store, [entry for entry in here if entry.engine == engine], settings, espeak)
        for engine in SPEAKERS
        if any(entry.engine == engine for entry in here)
    ]
    voices = Voices([voice for tts, _ in built for voice in tts.capabilities.voices], settings.voice)
    return (
        _ByVoice([tts for tts, _ in built]),
        voices,
        tuple(process for _, processes in built for process in processes),
    )


def needed(store: ModelStore, settings: ProviderSettings) -> list[str]:
    """The models without which these settings cannot be served. Raises UnknownModel and PackageMissing."""
    home = _home(store, settings)
    thinks = [] if settings.llm_base_url else [_embedded(store, settings).name]
    return [_ear(store, settings).name, home.name, *home.needs, *thinks]


def _able(store: ModelStore) -> list[Entry]:
    return [entry for entry in store.entries() if entry.engine in SPEAKERS and entry.voices]


def _home(store: ModelStore, settings: ProviderSettings) -> Entry:
    """The entry of the chosen voice."""
    home = next((e for e in _able(store) if any(voice.id == settings.voice for voice in e.voices)), None)
    if home is None:
        raise UnknownModel(settings.voice, [voice.id for entry in _able(store) for voice in entry.voices])
    if not _runs(home.engine):
        raise PackageMissing(settings.voice, PACKAGES[home.engine])
    return home


def _ear(store: ModelStore, settings: ProviderSettings) -> Entry:
    entry = store.entry(settings.stt_model)
    if entry.engine not in RECOGNISERS:
        raise UnknownModel(entry.name, [e.name for e in store.entries() if e.engine in RECOGNISERS])
    return entry


def _embedded(store: ModelStore, settings: ProviderSettings) -> Entry:
    entry = store.entry(settings.llm_model or EMBEDDED_MODEL)
    if entry.engine != "llama":
        raise UnknownModel(entry.name, [e.name for e in store.entries() if e.engine == "llama"])
    return entry


def _runs(engine: str) -> bool:
    return engine not in PACKAGES or find_spec(PACKAGES[engine]) is not None


def language_model(store: ModelStore, settings: ProviderSettings) -> tuple[OpenAiLlm, WorkerProcess | None]:
    if settings.llm_base_url:
        endpoint = fixed(Endpoint(settings.llm_base_url, settings.llm_api_key))
        capabilities = LlmCapabilities(settings.llm_model or "default", REMOTE_CONTEXT, local=False)
        return OpenAiLlm(endpoint, capabilities), None
    entry = _embedded(store, settings)
    spec = llama.worker(entry.name, store.path(entry.name), threads=settings.llm_threads, context=EMBEDDED_CONTEXT)
    process = WorkerProcess(spec)
    capabilities = LlmCapabilities(entry.name, EMBEDDED_CONTEXT, local=True)
    return OpenAiLlm(llama.EmbeddedEndpoint(process), capabilities), process


def voices_of(entry: Entry) -> list[Voice]:
    speed = SPEED[entry.engine]
    return [
        Voice(v.id, v.name, v.language, v.gender, entry.engine, speed, entry.licence, v.style) for v in entry.voices
    ]


QUICK: Final = 0.25
"""Seconds of work for a second of speech up to which a voice is fast."""
REAL_TIME: Final = 0.6
"""Seconds of work for a second of speech up to which a voice keeps up with a conversation."""


class Voices:
    """The installed voices, as data, and which of them a bot speaks with. How fast the slower engines are on this
    machine is known once they have been `measured`. There is at least one voice."""

    def __init__(self, voices: Sequence[Voice], default: str) -> None:
        self._voices = {voice.id: voice for voice in voices}
        self._default = default
        self._factors: dict[str, float] = {}

    def __iter__(self) -> Iterator[Voice]:
        return iter(self._voices.values())

    def __len__(self) -> int:
        return len(self._voices)

    def known(self, language: str) -> bool:
        """Whether any installed voice speaks the language; a dialect counts as its language."""
        return any(_speaks(voice, language) for voice in self)

    def measured(self, engine: str, factor: float) -> None:
        """This engine needs `factor` seconds for a second of speech on this machine."""
        self._factors[engine] = factor

    def speed(self, voice: Voice) -> Speed:
        """How it keeps up on this machine, as far as its engine was measured here."""
        factor = self._factors.get(voice.engine)
        if factor is None:
            return voice.speed
        return "fast" if factor <= QUICK else "good" if factor <= REAL_TIME else "slow"

    def keeps_up(self, id: str) -> bool:
        """Whether the voice is installed and fast enough here to be one that nobody asked for by name."""
        voice = self._voices.get(id)
        return voice is not None and (
            voice.speed == "fast" or self._factors.get(voice.engine, REAL_TIME + 1) <= REAL_TIME
        )

    def choose(self, language: str, wanted: str | None = None, own: str | None = None) -> Voice:
        """The voice of a bot of this language: the `wanted` one, else the avatar's `own` where it keeps up, else the
        default - each only if it is here and speaks the language. Else the nearest that speaks it (the same locale
        before the same language, a fast voice before a slow one); where none does, the default reads all the same."""
        for id in (wanted, own if own and self.keeps_up(own) else None, self._default):
            voice = self._voices.get(id or "")
            if voice is not None and _speaks(voice, language):
                return voice
        order = ("fast", "good", "slow")
        return min(
            (voice for voice in self if _speaks(voice, language)),
            key=lambda v: (v.language.lower() != language.lower(), order.index(v.speed)),
            default=self._voices.get(self._default) or next(iter(self)),
        )


def _speaks(voice: Voice, language: str) -> bool:
    return primary(voice.language) == primary(language)


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


__all__ = ["ModelMissing", "PackageMissing", "ProviderSettings", "Providers", "UnknownModel", "Voices", "build"]
