"""Text to speech in a worker process: Piper, and the phonemes of espeak for voices that are not Piper's.

piper-tts is GPL-3.0. This is the only file that imports it, and it runs in a process of its own: the server talks to it
through a pipe and works without it.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import soxr
from piper import PiperVoice
from piper.config import PiperConfig
from piper.patch_voice_with_alignment import add_alignment_output
from piper.phonemize_espeak import EspeakPhonemizer

from pipelines.workers import phones
from pipelines.workers.child import CallFailed, Cancelled, Reply
from pipelines.workers.framing import Header
from pipelines.workers.waveform import Array, pcm16, silence_before

OUTPUT_RATE = 24_000
LONGEST_TEXT = 1_000


class Speaker:
    """One Piper voice. `threads` belong to the synthesis; an idle voice does not spin."""

    def __init__(self, path: Path, threads: int) -> None:
        config = PiperConfig.from_dict(json.loads(path.with_name(path.name + ".json").read_text(encoding="utf-8")))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(_with_durations(path), options, providers=["CPUExecutionProvider"])
        self._voice = PiperVoice(session=session, config=config)
        self._symbols = {ids[0]: symbol for symbol, ids in config.phoneme_id_map.items()}
        self.rate = config.sample_rate
        self.language = config.espeak_voice

    def speak(self, text: str, cancelled: Cancelled) -> tuple[Array, list[phones.Timed]]:
        """Audio at the voice's rate and its symbols with their samples, which sum to the audio's length."""
        pieces: list[Array] = []
        timed: list[phones.Timed] = []
        for sentence in self._voice.phonemize(text):
            if cancelled():
                break
            ids = self._voice.phonemes_to_ids(sentence)
            audio, samples = self._voice.phoneme_ids_to_audio(ids, include_alignments=True)
            symbols = [self._symbols.get(i, phones.PAD) for i in ids]
            if samples is not None and len(samples) == len(ids) and int(samples.sum()) == len(audio):
                timed += zip(symbols, (int(n) for n in samples), strict=True)
            else:
                timed += phones.guess(symbols, len(audio))
            pieces.append(audio.astype(np.float32))
        return (np.concatenate(pieces) if pieces else np.zeros(0, np.float32)), timed

    def pronounce(self, word: str) -> list[str]:
        return [symbol for sentence in self._voice.phonemize(word) for symbol in sentence]


class Reader:
    """Text to IPA by espeak-ng, in any of its languages."""

    def __init__(self) -> None:
        self._espeak = EspeakPhonemizer()

    def read(self, text: str, language: str) -> tuple[str, dict[str, str]]:
        """The symbols of the whole, where words run together, and of each of its words alone."""
        return self._symbols(text, language), {word: self._symbols(word, language) for word in set(text.split())}

    def _symbols(self, text: str, language: str) -> str:
        return " ".join("".join(sentence) for sentence in self._espeak.phonemize(language, text))


class Voices:
    """The default voice is loaded at the start, the others when they are first asked for."""

    def __init__(self, paths: Mapping[str, str], default: str, threads: int) -> None:
        self._paths = {name: Path(path) for name, path in paths.items()}
        self._threads = threads
        self._loaded: dict[str, Speaker] = {}
        self._reader = Reader()
        if default in paths:
            self._speaker(default).speak("Hello there.", lambda: False)  # so that the first user does not wait

    def about(self) -> Header:
        return {"voices": sorted(self._paths)}

    def call(self, op: str, args: Mapping[str, Any], payload: bytes, cancelled: Cancelled) -> Reply:
        text = str(args["text"])
        if len(text) > LONGEST_TEXT:
            raise CallFailed(f"a clause of {len(text)} characters", retryable=False)
        if op == "read":
            symbols, alone = self._reader.read(text, str(args["language"]))
            return {"symbols": symbols, "words": alone}, b""
        speaker = self._speaker(str(args["voice"]))
        audio, timed = speaker.speak(text, cancelled)
        if not len(audio):
            return {"phones": [], "words": []}, b""
        resampled: Array = soxr.resample(audio, speaker.rate, OUTPUT_RATE)
        said = phones.rescale(phones.fold(timed), speaker.rate, OUTPUT_RATE, len(resampled))
        lead = args.get("lead_ms")
        start = 0 if lead is None else silence_before(resampled, lead * OUTPUT_RATE // 1000)
        resampled, said = resampled[start:], phones.fit(said, start, len(resampled) - start)
        words = phones.words(text, said, speaker.pronounce)
        return {"phones": said, "words": words}, pcm16(resampled)

    def _speaker(self, name: str) -> Speaker:
        if name not in self._paths:
            raise CallFailed(f"no voice is called {name!r}", retryable=False)
        if name not in self._loaded:
            self._loaded[name] = Speaker(self._paths[name], self._threads)
        return self._loaded[name]


def _with_durations(path: Path) -> bytes:
    """The voice's graph with the samples of each symbol as a second output."""
    model = onnx.load(str(path))
    with suppress(ValueError):  # the voice has that output already, or cannot have it: `speak` sees which
        add_alignment_output(model)
    return bytes(model.SerializeToString())


def load(config: Mapping[str, Any]) -> Voices:
    return Voices(config["voices"], config["default"], config["threads"])
