"""Speech to text in a worker process: Whisper on CTranslate2, with a window as short as the utterance allows.

Whisper was trained on 30 s windows, and most of the time of a short utterance goes into its padding. A window of 8 s
takes an eighth of the time; shorter ones make the decoder loop. So: 8 s or the utterance and half a second, a bound on
the length of the text, and a second try with 30 s when the text loops all the same.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ctranslate2
import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from numpy.typing import NDArray

from pipelines.workers.child import CallFailed, Cancelled, Reply
from pipelines.workers.framing import Header

RATE = 16_000
SHORT_WINDOW_S = 8.0
FULL_WINDOW_S = 30.0
PIECE_S = 28.0  # an utterance longer than this is cut at its quietest moment
TAIL_S = 0.5
TOKENS_A_SECOND = 8
WORDS_A_SECOND = 5.0
QUIET = 1e-3  # peak, of 1: less is silence, not speech

SURELY_NOISE = 0.9
LIKELY_NOISE = 0.6
UNSURE = -1.0
PHANTOMS = frozenset({"you", "thank you", "thanks for watching", "bye", "so", "i"})

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Heard:
    """One window's text, the mean log probability of its tokens, and the model's own doubt that anyone spoke."""

    text: str
    logprob: float
    no_speech: float
    tokens: tuple[int, ...]
    bounded: bool


def loops(tokens: Sequence[int]) -> bool:
    """Whether the text goes in circles: some run of one to eight tokens three times in a row (six for one token)."""
    for size in range(1, 9):
        times = 6 if size == 1 else 3
        for start in range(len(tokens) - size * times + 1):
            run = tokens[start : start + size]
            if all(tokens[start + size * k : start + size * (k + 1)] == run for k in range(1, times)):
                return True
    return False


def hasty(text: str, seconds: float) -> bool:
    """Whether nobody could have said so many words in the time: the decoder has said some of them twice."""
    return len(text.split()) > max(4, WORDS_A_SECOND * seconds)


def once(text: str) -> str:
    """The first half of a text whose second half says the same again; any other text as it is."""
    words = text.split()
    half = len(words) // 2
    bare = [re.sub(r"\W", "", word).lower() for word in words]
    return " ".join(words[:half]) if half and bare[:half] == bare[half:] else text


def is_noise(heard: Heard) -> bool:
    """Whether the text was made up from something that is not speech."""
    words = re.sub(r"[^\w ]", "", heard.text).strip().lower()
    if not words or heard.no_speech > SURELY_NOISE:
        return True
    return heard.no_speech > LIKELY_NOISE and (heard.logprob < UNSURE or words in PHANTOMS)


def cut(samples: Array) -> list[Array]:
    """Pieces that fit the model's window, cut where 200 ms are quietest in the last third of each."""
    pieces = []
    most, block = int(PIECE_S * RATE), RATE // 5
    while len(samples) > most:
        blocks = samples[most * 2 // 3 : most]
        energy = np.square(blocks[: len(blocks) // block * block].reshape(-1, block)).mean(1)
        at = most * 2 // 3 + int(energy.argmin()) * block + block // 2
        pieces.append(samples[:at])
        samples = samples[at:]
    return [*pieces, samples]


class Recogniser:
    def __init__(self, path: str, threads: int) -> None:
        self._model = WhisperModel(path, device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True)
        self._multilingual = bool(self._model.model.is_multilingual)
        self._listen(np.zeros(RATE, np.float32), "en", SHORT_WINDOW_S)  # so that the first user does not wait

    def about(self) -> Header:
        return {"languages": list(self._model.supported_languages)}

    def call(self, op: str, args: Mapping[str, Any], payload: bytes, cancelled: Cancelled) -> Reply:
        samples: Array = np.frombuffer(payload, "<i2").astype(np.float32) / np.float32(32768)
        said: list[Heard] = []
        segments: list[tuple[int, int, int, int]] = []
        end = chars = 0
        for piece in cut(samples):
            if cancelled():
                break
            start, end = end, end + len(piece)
            if np.abs(piece).max(initial=0) < QUIET:
                continue
            heard = self._transcribe(piece, args["language"])
            if not is_noise(heard):
                said.append(heard)
                segments.append((start, end, chars, chars + len(heard.text)))
                chars += len(heard.text) + 1
        if not said:
            return {"text": "", "confidence": 0.0}, b""
        weights = [max(1, len(h.tokens)) for h in said]
        logprob = sum(h.logprob * w for h, w in zip(said, weights, strict=True)) / sum(weights)
        text, confidence = " ".join(h.text for h in said), round(min(1.0, math.exp(logprob)), 3)
        return {"text": text, "confidence": confidence, "segments": segments}, b""

    def _transcribe(self, samples: Array, language: str) -> Heard:
        seconds = len(samples) / RATE + TAIL_S
        heard = self._listen(samples, language, max(SHORT_WINDOW_S, seconds))
        spoken = len(samples) / RATE
        if (heard.bounded or loops(heard.tokens) or hasty(heard.text, spoken)) and seconds < FULL_WINDOW_S:
            heard = self._listen(samples, language, FULL_WINDOW_S)
        return replace(heard, text=once(heard.text)) if hasty(heard.text, spoken) else heard

    def _listen(self, samples: Array, language: str, window: float) -> Heard:
        if not self._multilingual:
            language = "en"
        elif language not in self._model.supported_languages:
            raise CallFailed(f"this model does not know the language {language!r}", retryable=False)
        tokenizer = Tokenizer(self._model.hf_tokenizer, self._multilingual, task="transcribe", language=language)
        prompt = self._model.get_prompt(tokenizer, [], without_timestamps=True)
        padded = np.concatenate([samples, np.zeros(max(0, int(window * RATE) - len(samples)), np.float32)])
        features = self._model.feature_extractor(padded, padding=0)[:, :3000]
        features = np.ascontiguousarray(features[None, :, : features.shape[1] // 2 * 2], dtype=np.float32)
        most = min(220, int(len(samples) / RATE * TOKENS_A_SECOND) + 16)
        result = self._model.model.generate(
            ctranslate2.StorageView.from_array(features),
            [prompt],
            beam_size=1,
            max_length=len(prompt) + most,
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        tokens = tuple(result.sequences_ids[0])
        return Heard(
            text=tokenizer.decode(tokens).strip(),
            logprob=result.scores[0] * len(tokens) / (len(tokens) + 1),
            no_speech=result.no_speech_prob,
            tokens=tokens,
            bounded=len(tokens) >= most,
        )


def load(config: Mapping[str, Any]) -> Recogniser:
    return Recogniser(config["model"], config["threads"])
