"""Text to speech in a worker process: Kokoro, 82 million parameters, int8, with its own exact durations."""

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from pipelines.workers import phones
from pipelines.workers.child import CallFailed, Cancelled, Reply
from pipelines.workers.english import accents
from pipelines.workers.framing import Header
from pipelines.workers.waveform import Array, last_audible, pcm16, silence_before

RATE = 24_000
STEP = 600  # samples for each unit of duration
DURATIONS = "/encoder/Cast_output_0"
END = "$"
LAG = 960  # samples by which the durations trail the sound: the median over the onsets and ends of 64 fricatives
TAIL = 6_000  # samples of silence that stay after the last sound
MOST_SYMBOLS = 400  # the model reads 510
LONGEST_TEXT = 1_000
HELLO = "həlˈO"
# What espeak writes with two letters, Kokoro was taught as one (misaki's table for languages other than English).
LIGATURES = {
    "aɪ": "I", "aʊ": "W", "eɪ": "A", "oʊ": "O", "əʊ": "Q", "ɔɪ": "Y",
    "dz": "ʣ", "dʒ": "ʤ", "ts": "ʦ", "tʃ": "ʧ",
}  # fmt: skip

Read = tuple[str, int, int]


class Kokoro:
    """Symbols to audio and their durations, in the voice of a style table (one row for each number of symbols)."""

    def __init__(self, folder: Path, threads: int) -> None:
        vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        self._ids: dict[str, int] = vocabulary["model"]["vocab"]
        self._folder = folder
        self._styles: dict[str, Array] = {}
        graph = onnx.load(str(folder / "kokoro-quantized.onnx"))
        graph.graph.output.append(onnx.helper.make_tensor_value_info(DURATIONS, onnx.TensorProto.INT64, None))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        data = graph.SerializeToString()
        self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def knows(self, symbols: str) -> str:
        """The symbols that the model was trained on; an accented letter that it was not becomes letter and accent."""
        parts = (
            c if c in self._ids else unicodedata.normalize("NFD", c) for c in unicodedata.normalize("NFC", symbols)
        )
        return "".join(symbol for symbol in "".join(parts) if symbol in self._ids)

    def say(self, symbols: str, voice: str) -> tuple[Array, list[phones.Timed]]:
        """Audio at RATE, and the samples of every symbol and of the silences at both ends, which sum to its length."""
        ids = [self._ids[symbol] for symbol in symbols]
        style = self._style(voice)[min(len(ids), 509)][None]
        feed = {"input_ids": np.array([[0, *ids, 0]]), "style": style, "speed": np.ones(1, np.float32)}
        waveform, durations = self._session.run(["waveform", DURATIONS], feed)
        audio: Array = waveform.reshape(-1)
        samples = [int(n) * STEP for n in durations.reshape(-1)]
        named = [END, *symbols, END]
        if sum(samples) != len(audio) or len(samples) != len(named):
            return audio, phones.guess(named, len(audio))
        shift = min(LAG, samples[0])
        samples[0], samples[-1] = samples[0] - shift, samples[-1] + shift
        return audio, list(zip(named, samples, strict=True))

    def _style(self, voice: str) -> Array:
        if voice not in self._styles:
            table = np.fromfile(self._folder / "voices" / f"{voice}.bin", "<f4")
            self._styles[voice] = table.reshape(-1, 256)
        return self._styles[voice]


class Voices:
    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._languages: Mapping[str, str] = config["voices"]
        self._model: Kokoro | None = None
        if config["default"] in self._languages:
            self._ready().say(HELLO, config["default"])  # so that the first user does not wait

    def about(self) -> Header:
        return {"voices": sorted(self._languages)}

    def call(self, op: str, args: Mapping[str, Any], payload: bytes, cancelled: Cancelled) -> Reply:
        text, voice = str(args["text"]), str(args["voice"])
        if len(text) > LONGEST_TEXT:
            raise CallFailed(f"a clause of {len(text)} characters", retryable=False)
        if voice not in self._languages:
            raise CallFailed(f"no voice is called {voice!r}", retryable=False)
        model, lead_ms = self._ready(), args.get("lead_ms")
        if "symbols" not in args:
            read = [(model.knows(s), c0, c1) for s, c0, c1 in self._accents[self._languages[voice]].read(text)]
            return self._speak(voice, read, lead_ms, cancelled)
        read = [(known, 0, 0) for s in joined(args["symbols"]).split() if (known := model.knows(s))]
        header, pcm = self._speak(voice, read, lead_ms, cancelled)
        alone: Mapping[str, str] = args["words"]
        return header | {"words": phones.words(text, header["phones"], lambda word: joined(alone.get(word, "")))}, pcm

    def _ready(self) -> Kokoro:
        if self._model is None:
            self._accents = accents(Path(self._config["dictionaries"]))
            self._model = Kokoro(Path(self._config["model"]), self._config["threads"])
        return self._model

    def _speak(self, voice: str, read: Sequence[Read], lead_ms: int | None, cancelled: Cancelled) -> Reply:
        if not any(phones.is_sound(symbol) for symbols, *_ in read for symbol in symbols):
            return {"phones": [], "words": []}, b""
        model = self._ready()
        pieces: list[Array] = []
        timed: list[phones.Timed] = []
        spans: list[phones.Word] = []
        for batch in _batches(read):
            if cancelled():
                break
            audio, spoken = model.say(" ".join(symbols for symbols, *_ in batch), voice)
            spans += _words(batch, spoken, sum(len(piece) for piece in pieces))
            pieces.append(audio)
            timed += spoken
        if not pieces:
            return {"phones": [], "words": []}, b""
        whole = np.concatenate(pieces)
        start = 0 if lead_ms is None else silence_before(whole, lead_ms * RATE // 1000)
        audible = last_audible(whole)
        whole = whole[start : audible + TAIL]
        said = phones.hush(phones.fit(phones.fold(timed), start, len(whole)), audible - start)
        end = max((t1 for symbol, _, t1, _ in said if symbol != phones.SILENCE), default=len(whole))
        words = [(_within(t0 - start, end), _within(t1 - start, end), c0, c1) for t0, t1, c0, c1 in spans]
        return {"phones": said, "words": words}, pcm16(whole)


def joined(symbols: str) -> str:
    """espeak's symbols as Kokoro knows them."""
    for two, one in LIGATURES.items():
        symbols = symbols.replace(two, one)
    return symbols.replace("-", "")


def _within(time: int, end: int) -> int:
    return min(max(0, time), end)


def _batches(read: Sequence[Read]) -> Iterator[list[Read]]:
    """Words in runs that the model can take at once."""
    batch: list[Read] = []
    size = 0
    for word in read:
        if batch and size + len(word[0]) + 1 > MOST_SYMBOLS:
            yield batch
            batch, size = [], 0
        batch.append(word)
        size += len(word[0]) + 1
    if batch:
        yield batch


def _words(batch: Sequence[Read], said: Sequence[phones.Timed], start: int) -> list[phones.Word]:
    """Where each word's sounds are: known exactly, because every symbol was made from one word. The space before a word
    is its own, as in `phones.fold`."""
    edges = [start]
    for _, samples in said:
        edges.append(edges[-1] + samples)
    words, at = [], 1
    for i, (symbols, c0, c1) in enumerate(batch):
        sounds = [at + k for k, symbol in enumerate(symbols) if phones.is_sound(symbol)]
        if sounds:
            first = sounds[0] - 1 if symbols[0] in phones.STRESS or i else sounds[0]
            words.append((edges[first], edges[sounds[-1] + 1], c0, c1))
        at += len(symbols) + 1
    return words


def load(config: Mapping[str, Any]) -> Voices:
    return Voices(config)
