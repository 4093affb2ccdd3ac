"""How good the mouth is, how big its keys are and what it costs: `python -m bench.lipsync [--voice VOICE.onnx]`.

Without a voice the recorded phones of tests/corpus are used and nothing is said about the sound; with one its sentences
are spoken anew, and the opening of the mouth is compared with the sound's envelope. The exit code is 1 when a bar is
missed.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.core.lipsync import curve, frames, keys
from pipelines.core.visemes import ARKIT_52, ARKIT_OF_OCULUS, OCULUS_15, PP, Kind, sounds
from pipelines.frames import OUTPUT_RATE, Phone, SpeechChunk
from pipelines.providers.base import Voice
from pipelines.providers.piper import PiperTts, worker
from pipelines.workers.process import WorkerProcess, running

CORPUS = Path(__file__).parents[1] / "tests/corpus/phones_en.json"
MS = OUTPUT_RATE // 1000
REPEATS = 20
LAGS_MS = range(-150, 151, 5)

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Utterance:
    text: str
    phones: tuple[Phone, ...]
    samples: int
    audio: Array | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """One figure, its unit, and the bar it must not pass, below or above."""

    name: str
    value: float
    unit: str
    least: float | None = None
    most: float | None = None

    @property
    def passes(self) -> bool:
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)

    def __str__(self) -> str:
        bars = [f"{sign} {bar:g}" for sign, bar in ((">=", self.least), ("<=", self.most)) if bar is not None]
        verdict = ("ok  " if self.passes else "FAIL") if bars else "    "
        return f"{verdict} {self.name:<52} {self.value:>9.3f} {self.unit:<12} {' and '.join(bars)}"


def recorded() -> list[Utterance]:
    rows = json.loads(CORPUS.read_text(encoding="utf-8"))
    return [Utterance(row["text"], tuple(Phone(*p) for p in row["phones"]), row["samples"]) for row in rows]


async def spoken(voice: Path, texts: Sequence[str]) -> list[Utterance]:
    process = WorkerProcess(worker({"bench": voice}, "bench"))
    tts = PiperTts(process, [Voice("bench", "bench", "en-US", "neutral", "piper", "fast", "")], lead_ms=None)
    async with running(process):
        return [_utterance(chunk) for text in texts async for chunk in tts.speak(text, "bench")]


def _utterance(chunk: SpeechChunk) -> Utterance:
    audio = np.frombuffer(chunk.pcm, "<i2").astype(np.float64) / 32768
    return Utterance(chunk.text, chunk.phones, chunk.samples, audio)


def sampled(utterance: Utterance, step: int = MS) -> tuple[NDArray[np.int64], Array]:
    """The curve every `step` samples: times [n] and weights [n, 15]."""
    times, weights = curve(utterance.phones, utterance.samples)
    at = np.arange(0, utterance.samples + 1, step)
    return at, np.stack([np.interp(at, times, weights[:, v]) for v in range(len(OCULUS_15))], 1)


def measure(utterances: Sequence[Utterance]) -> list[Result]:
    closures: list[bool] = []
    false: list[NDArray[np.bool_]] = []
    jumps: list[Array] = []
    misses: list[float] = []
    ends: list[int] = []
    size = 0
    count = 0
    for utterance in utterances:
        at, weights = sampled(utterance)
        shut = np.zeros(len(at), bool)
        vowels = np.zeros(len(at), bool)
        for phone in utterance.phones:
            kinds = {sound.kind for sound in sounds(phone.symbol)}
            if Kind.BILABIAL in kinds:
                window = (at >= phone.t0 - 40 * MS) & (at <= phone.t1 + 10 * MS)
                closures.append(bool(weights[window, PP].max(initial=0) >= 0.9))
                shut |= window
            if kinds & {Kind.VOWEL, Kind.ROUNDED}:
                vowels |= (at >= phone.t0) & (at < phone.t1)
        false.append(weights[vowels & ~shut, PP] >= 0.5)
        calm = np.maximum(weights[16:, PP], weights[:-16, PP]) == 0
        jumps.append(np.abs(weights[16:] - weights[:-16]).max(1)[calm])
        found = keys(utterance.phones, utterance.samples)
        for v in range(len(OCULUS_15)):
            own = [key for key in found if key.id == v]
            again = np.interp(at, [k.t for k in own], [k.weight for k in own]) if own else np.zeros(len(at))
            misses.append(float(np.abs(again - weights[:, v]).max()))
        ends.append(abs(found[-1].t - utterance.samples))
        count += len(found)
        size += len(json.dumps([[k.t, k.id, k.weight] for k in found], separators=(",", ":")))
    seconds = sum(utterance.samples for utterance in utterances) / OUTPUT_RATE
    leaps = np.concatenate(jumps)
    return [
        Result("lips closed at p, b, m in [start - 40, end + 10 ms]", 100 * float(np.mean(closures)), "%", least=99),
        Result(
            "false closures in vowels, outside those windows", 100 * float(np.mean(np.concatenate(false))), "%", most=1
        ),
        Result("timeline's end against the audio's", max(ends), "samples", most=1),
        Result("largest jump in 16 ms, closures aside", float(leaps.max()), "", most=0.35),
        Result("99 % of the jumps are at most", float(np.percentile(leaps, 99)), ""),
        Result("keys against the curve, worst", max(misses), "", most=0.05),
        Result("keys a second", count / seconds, "1/s"),
        Result("bytes a second as JSON rows", size / seconds, "B/s", most=1_000),
    ]


def lag(utterances: Sequence[Utterance]) -> list[Result]:
    """Cross-correlation of the mouth's opening with the envelope of 100 to 3,500 Hz; below 0 the mouth is first."""
    opening = (
        ARKIT_OF_OCULUS[:, ARKIT_52.index("jawOpen")] + ARKIT_OF_OCULUS[:, ARKIT_52.index("mouthLowerDownLeft")] / 2
    )
    totals = dict.fromkeys(LAGS_MS, 0.0)
    norm = 0.0
    for utterance in utterances:
        if utterance.audio is None:
            continue
        step = 5 * MS
        at, weights = sampled(utterance, step)
        spectrum = np.fft.rfft(utterance.audio)
        frequency = np.fft.rfftfreq(len(utterance.audio), 1 / OUTPUT_RATE)
        spectrum[(frequency < 100) | (frequency > 3_500)] = 0
        power = np.convolve(np.fft.irfft(spectrum, len(utterance.audio)) ** 2, np.hanning(20 * MS), "same")
        inside = at < len(power)
        mouth = weights[inside] @ opening
        sound = np.sqrt(power[at[inside]])
        mouth, sound = (mouth - mouth.mean()) / mouth.std(), (sound - sound.mean()) / sound.std()
        norm += len(mouth)
        for ms in LAGS_MS:
            shift = ms // 5
            later = mouth[max(0, shift) : len(mouth) + min(0, shift)]
            totals[ms] += float(later @ sound[max(0, -shift) : len(sound) - max(0, shift)])
    best = max(totals, key=lambda ms: totals[ms])
    return [
        Result("lag of the mouth behind the sound", best, "ms", least=-60, most=0),
        Result("correlation at that lag", totals[best] / norm, ""),
    ]


def cost(utterances: Sequence[Utterance]) -> list[Result]:
    seconds = REPEATS * sum(utterance.samples for utterance in utterances) / OUTPUT_RATE
    results = []
    for name, make in (("keys", keys), ("frames", lambda phones, samples: frames(phones, samples, 60))):
        for utterance in utterances:
            make(utterance.phones, utterance.samples)
        begun = time.process_time()
        for _ in range(REPEATS):
            for utterance in utterances:
                make(utterance.phones, utterance.samples)
        results.append(Result(f"cost of {name}", 1000 * (time.process_time() - begun) / seconds, "ms CPU/s", most=1))
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--voice", type=Path, help="a Piper voice; its .onnx.json must lie beside it")
    parser.add_argument("--record", type=Path, help="write the spoken phones as a corpus")
    arguments = parser.parse_args()
    utterances = recorded()
    if arguments.voice:
        utterances = asyncio.run(spoken(arguments.voice, [utterance.text for utterance in utterances]))
    if arguments.record:
        rows = [
            {"text": u.text, "samples": u.samples, "phones": [[p.symbol, p.t0, p.t1, p.stress] for p in u.phones]}
            for u in utterances
        ]
        arguments.record.write_text(json.dumps(rows, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
    results = measure(utterances) + cost(utterances) + (lag(utterances) if arguments.voice else [])
    print(f"{len(utterances)} utterances, {sum(u.samples for u in utterances) / OUTPUT_RATE:.1f} s of speech")
    for result in results:
        print(result)
    return 0 if all(result.passes for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
