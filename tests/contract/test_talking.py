"""A whole spoken turn with the real models, over a plain Socket.IO client: heard, answered aloud, interrupted."""

import re

import numpy as np
import pytest
import soxr

from bench.client import ChatClient
from bench.serving import models, server
from bench.speech import spoken
from pipelines.frames import INPUT_RATE, OUTPUT_RATE
from pipelines.models.store import ModelStore
from pipelines.registry import ProviderSettings, recogniser
from pipelines.workers.process import running

pytestmark = [pytest.mark.models, pytest.mark.timeout(180)]

QUESTION = "What can you do for me?"


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def wrong(said: str, heard: str) -> int:
    """Words that must be changed, added or left out to make one of the other (Levenshtein)."""
    a, b = words(said), words(heard)
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row, before = [i], row
        for j, y in enumerate(b, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y)))
    return row[-1]


async def read(pcm: bytes) -> str:
    """What the recogniser makes of a response's sound."""
    samples = soxr.resample(np.frombuffer(pcm, "<i2"), OUTPUT_RATE, INPUT_RATE).astype("<i2").tobytes()
    stt, worker = recogniser(ModelStore(models()), ProviderSettings())
    async with running(worker):
        return (await stt.transcribe(samples, "en")).text


async def test_a_spoken_question_is_understood_and_answered_aloud() -> None:
    (question,) = await spoken(models(), QUESTION)
    async with server() as url, ChatClient(url, "cb_demo") as chat:
        await chat.speak(bytes(INPUT_RATE) + question + bytes(2 * INPUT_RATE))
        end = (await chat.wait("resp.end", timeout=60)).payload
        assert wrong(QUESTION, chat.of("stt.final")[0]["text"]) <= 2
        assert end["status"] == "done"
        sound = bytes(chat.sound[end["rid"]].pcm)
        assert len(sound) // 2 == sum(seg["len"] for seg in chat.of("seg"))
        answer = end["heard"]["text"]
        assert wrong(answer, await read(sound)) <= max(2, len(words(answer)) // 5)
        keys = [key for face in chat.of("face") for key in face["keys"]]
        assert len(keys) > 10
        assert chat.of("lat")[0]["t_audible"] > 0


async def test_speaking_over_the_answer_cuts_it_and_asks_anew() -> None:
    question, second = await spoken(models(), QUESTION, "Please stop, tell me what it costs.")
    async with server() as url, ChatClient(url, "cb_demo") as chat:
        await chat.speak(bytes(INPUT_RATE) + question + bytes(2 * INPUT_RATE))
        await chat.wait("audio", timeout=30)
        await chat.speak(second + bytes(2 * INPUT_RATE))
        cut = await chat.wait("cut", timeout=10)
        ended = await chat.wait("resp.end", lambda end: end["rid"] == cut.payload["rid"])
        assert cut.payload["reason"] == "voice"
        assert ended.payload["status"] == "cut"
        late = [got for got in chat.events if got.name == "audio" and got.payload.rid == cut.payload["rid"]]
        assert all(got.at <= cut.at for got in late)
        assert (await chat.wait("resp.end", lambda end: end["rid"] > cut.payload["rid"], timeout=60)).payload


async def test_noise_is_not_answered() -> None:
    noise = (np.random.default_rng(1).normal(0, 3000, 2 * INPUT_RATE)).astype("<i2").tobytes()
    async with server() as url, ChatClient(url, "cb_demo") as chat:
        await chat.speak(noise + bytes(2 * INPUT_RATE))
        await chat.emit("ping", {"c": 1.0})
        await chat.wait("pong")
        assert chat.of("resp.start") == []
        assert (await chat.say("Still there?", "m1"))["ok"] is True
