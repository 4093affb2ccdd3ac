"""The real speech and language models, through their workers: what goes in comes out, in time and in order."""

import asyncio
import os
import re
import select
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soxr

from pipelines.frames import INPUT_RATE, OUTPUT_RATE, SpeechChunk
from pipelines.models.store import ModelStore
from pipelines.providers.base import ChatMessage, Llm, LlmOptions, ProviderError, Tts
from pipelines.registry import Providers, ProviderSettings, build
from pipelines.workers.process import WorkerProcess, running

pytestmark = pytest.mark.models

MODELS = Path(__file__).parents[2] / "var" / "models"
JOE = "en_US-joe-medium"
SENTENCES = (
    "What time do you open on Saturday?",
    "I would like to speak to a human please.",
    "The box was thrown beside the parked truck.",
    "How much does shipping cost to Germany?",
)
STORY = (
    "I bought a blue bike from your store last summer.",
    "It was a birthday present for my youngest daughter.",
    "She rides it to school every day, even in the rain.",
    "Last week the front light stopped working.",
    "I changed the battery, but that did not help.",
    "My neighbor thinks that a wire is broken inside the frame.",
    "Could somebody in your workshop take a look at it?",
    "I am free on Tuesday and on Thursday afternoon.",
    "Please tell me how much the repair would cost.",
    "If it is expensive, I would rather buy a new light.",
    "By the way, the brakes are still excellent.",
    "Thank you for your help, I am not in a hurry at all.",
)


@asynccontextmanager
async def providers(*kinds: str) -> AsyncIterator[tuple[Providers, dict[str, WorkerProcess]]]:
    """The providers, of whose workers only `kinds` run."""
    built = build(ModelStore(MODELS), ProviderSettings())
    workers = {worker.spec.kind: worker for worker in built.workers}
    async with running(*(workers[kind] for kind in kinds)):
        for kind in kinds:
            await workers[kind].ready()
        yield built, workers


async def speak(tts: Tts, text: str, voice: str = JOE) -> SpeechChunk:
    chunks = [chunk async for chunk in tts.speak(text, voice)]
    assert len(chunks) == 1
    return chunks[0]


def microphone(chunk: SpeechChunk, noise: float = 0.002) -> bytes:
    """What a microphone would have heard of it: at its rate, with silence around and some noise."""
    audio = np.frombuffer(chunk.pcm, "<i2").astype(np.float32) / 32768
    heard = np.pad(soxr.resample(audio, OUTPUT_RATE, INPUT_RATE), INPUT_RATE // 5)
    heard += np.random.default_rng(1).normal(0, noise, len(heard))
    return (heard * 32767).clip(-32768, 32767).astype("<i2").tobytes()


def kill(worker: WorkerProcess) -> None:
    """Kill it and wait until the kernel has closed what it held."""
    assert worker.pid is not None
    watched = os.pidfd_open(worker.pid)
    os.kill(worker.pid, signal.SIGKILL)
    select.select([watched], [], [], 10)
    os.close(watched)


def wrong_words(said: str, heard: str) -> int:
    a, b = (re.sub(r"[^a-z' ]", "", text.lower()).split() for text in (said, heard))
    row = list(range(len(b) + 1))
    for i, word in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (word != other))
    return row[-1]


async def test_what_the_voice_says_the_recogniser_understands() -> None:
    async with providers("speech_to_text", "text_to_speech") as (use, _):
        for sentence in SENTENCES:
            transcript = await use.stt.transcribe(microphone(await speak(use.tts, sentence)), "en-US")
            assert wrong_words(sentence, transcript.text) <= 2, transcript
            assert 0.2 < transcript.confidence <= 1


async def test_silence_and_noise_are_nothing_said() -> None:
    rng, time = np.random.default_rng(7), np.arange(3 * INPUT_RATE) / INPUT_RATE
    sounds = {f"white {level}": rng.normal(0, level, len(time)) for level in (0, 0.001, 0.01, 0.05, 0.2)}
    sounds["half a second"] = rng.normal(0, 0.1, INPUT_RATE // 2)
    sounds["clicks"] = (rng.random(len(time)) < 0.0005) * 0.8
    sounds["hum"] = 0.1 * np.sin(2 * np.pi * 50 * time)
    sounds["chord"] = 0.1 * sum(np.sin(2 * np.pi * f * time) for f in (220, 277, 330))
    sounds["nothing"] = np.zeros(0)
    async with providers("speech_to_text") as (use, _):
        for name, sound in sounds.items():
            pcm = (sound * 32767).clip(-32768, 32767).astype("<i2").tobytes()
            assert (await use.stt.transcribe(pcm, "en")).text == "", name


async def test_a_long_utterance_is_understood_to_its_end() -> None:
    async with providers("speech_to_text", "text_to_speech") as (use, _):
        pcm = b"".join([microphone(await speak(use.tts, sentence)) for sentence in STORY])
        assert len(pcm) / 2 / INPUT_RATE > 30
        transcript = await use.stt.transcribe(pcm, "en")
    assert wrong_words(" ".join(STORY), transcript.text) <= len(" ".join(STORY).split()) // 8, transcript.text
    assert wrong_words("hurry at all", " ".join(transcript.text.split()[-3:])) <= 1


async def test_an_utterance_over_a_minute_or_in_another_language_is_refused() -> None:
    async with providers("speech_to_text") as (use, _):
        with pytest.raises(ProviderError, match="bytes"):
            await use.stt.transcribe(bytes(2 * INPUT_RATE * 61), "en")
        with pytest.raises(ProviderError, match="does not know"):
            await use.stt.transcribe(bytes(3200), "de-DE")


async def test_phones_cover_the_audio_and_words_follow_each_other() -> None:
    async with providers("text_to_speech") as (use, _):
        for text in (*SENTENCES, "Sure.", "It's $25, or 10% off — until 5 pm!", 'Dr. Smith said: "don\'t".'):
            chunk = await speak(use.tts, text)
            assert (chunk.phones[0].t0, chunk.phones[-1].t1) == (0, chunk.samples)
            assert all(a.t1 == b.t0 for a, b in pairwise(chunk.phones))
            assert [text[w.c0 : w.c1] for w in chunk.words] == [t for t in text.split() if any(map(str.isalnum, t))]
            assert all(a.t1 <= b.t0 for a, b in pairwise(chunk.words))
            assert chunk.words[-1].t1 <= chunk.samples
            assert all(w.t1 - w.t0 > OUTPUT_RATE // 50 for w in chunk.words), chunk.words


async def test_speech_starts_at_once() -> None:
    async with providers("text_to_speech") as (use, _):
        audio = np.abs(np.frombuffer((await speak(use.tts, "Sure, I can help.")).pcm, "<i2").astype(int))
    assert int(np.argmax(audio > 0.02 * audio.max())) < OUTPUT_RATE * 30 // 1000


@pytest.mark.parametrize("text", ["", "...", "—"])
async def test_what_cannot_be_said_is_no_chunk(text: str) -> None:
    async with providers("text_to_speech") as (use, _):
        assert [chunk async for chunk in use.tts.speak(text, JOE)] == []


async def test_a_voice_that_is_not_there_is_refused() -> None:
    async with providers() as (use, _):
        with pytest.raises(ProviderError) as refused:
            await speak(use.tts, "Hello.", "nobody")
    assert not refused.value.retryable


@pytest.mark.parametrize("voice", ["af_heart", "bf_emma"])
async def test_kokoro_is_understood_and_its_phones_and_words_are_in_order(voice: str) -> None:
    models = ModelStore(MODELS)
    if not models.present("kokoro-82m-int8"):
        pytest.skip("needs: machineavatars models pull kokoro-82m-int8")
    use = build(models, ProviderSettings(voice=voice))
    async with running(*(w for w in use.workers if w.spec.kind in ("kokoro", "speech_to_text"))):
        for text in SENTENCES[:2]:
            chunk = await speak(use.tts, text, voice)
            assert (chunk.phones[0].t0, chunk.phones[-1].t1) == (0, chunk.samples)
            assert all(a.t1 == b.t0 for a, b in pairwise(chunk.phones))
            assert [text[w.c0 : w.c1] for w in chunk.words] == text.split()
            assert all(a.t1 <= b.t0 for a, b in pairwise(chunk.words))
            heard = await use.stt.transcribe(microphone(chunk), "en")
            assert wrong_words(text, heard.text) <= 2, heard


async def test_a_killed_voice_fails_one_clause_and_speaks_the_next() -> None:
    async with providers("text_to_speech") as (use, workers):
        await speak(use.tts, "Hello.")
        worker = workers["text_to_speech"]
        speaking = asyncio.ensure_future(speak(use.tts, SENTENCES[1] * 5))
        await asyncio.sleep(0)
        assert worker.in_flight == 1
        kill(worker)
        with pytest.raises(ProviderError) as lost:
            await speaking
        assert lost.value.retryable
        assert (await speak(use.tts, "Hello again.")).samples > 0


async def test_speech_is_told_from_silence_on_every_microphone_alike() -> None:
    async with providers("voice_activity", "text_to_speech") as (use, _):
        pcm = microphone(await speak(use.tts, SENTENCES[1]), noise=0.0005)
        streams = [await use.vad.open() for _ in range(3)]
        heard: list[list[float]] = [[], [], []]
        for at in range(0, len(pcm), 640):
            for stream, probabilities in zip(streams, heard, strict=True):
                probabilities += await stream.push(pcm[at : at + 640])
        for stream in streams:
            await stream.close()
    assert heard[0] == heard[1] == heard[2]
    assert len(heard[0]) == len(pcm) // 1024
    assert max(heard[0][:4]) < 0.3
    assert np.median(heard[0][10:-10]) > 0.8


QUESTION = [ChatMessage("system", "You are a friendly assistant."), ChatMessage("user", "Name three colours.")]


async def said(llm: Llm, tokens: int) -> list[str]:
    """What the model answers, in its pieces."""
    told = [part async for part in llm.stream(QUESTION, LlmOptions(max_tokens=tokens))]
    return [part for part in told if isinstance(part, str)]


async def test_the_embedded_model_answers_in_pieces() -> None:
    async with providers("language_model") as (use, _):
        pieces = await said(use.llm, 24)
    assert len(pieces) > 3
    assert "".join(pieces).strip()


async def test_an_answer_that_nobody_waits_for_frees_the_embedded_model() -> None:
    async with providers("language_model") as (use, _):
        for _ in range(6):
            async with aclosing(use.llm.stream(QUESTION, LlmOptions(max_tokens=1000))) as pieces:  # type: ignore[type-var]
                await anext(pieces)
        async with asyncio.timeout(20):
            assert await said(use.llm, 4)


async def test_a_killed_model_server_is_found_again_at_its_new_place() -> None:
    async with providers("language_model") as (use, workers):
        assert await said(use.llm, 4)
        kill(workers["language_model"])
        assert await said(use.llm, 4)
