"""A whole spoken turn with the real models, over a plain Socket.IO client: heard, answered aloud, interrupted."""

import base64
import json
import re

import numpy as np
import pytest
import soxr
from aiohttp import ClientSession

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


async def test_an_answer_is_streamed_by_request_as_it_is_made() -> None:
    async with server() as url, ClientSession(url) as client:
        asked = {"chatbot_id": "cb_demo"}
        async with client.post("/api/v1/auth/visitor-token", json=asked, headers={"Origin": url}) as response:
            headers = {"Origin": url, "Authorization": f"Bearer {(await response.json())['access_token']}"}
        body = {**asked, "message": QUESTION, "audio": {"format": "wav"}}
        async with client.post("/api/v1/chat-3d/stream", json=body, headers=headers) as response:
            assert (response.status, response.content_type) == (200, "text/event-stream")
            events = re.findall(r"event: (\S+)\ndata: (.*)", await response.text())
        names, end = [name for name, _ in events], json.loads(events[-1][1])
        assert (names[0], names[-1], end["finish_reason"]) == ("message.start", "message.end", "stop")
        assert names.index("text.delta") < names.index("audio.chunk") < names.index("message.end")
        assert "".join(json.loads(data)["text"] for name, data in events if name == "text.delta") == end["response"]
        pcm = b"".join(base64.b64decode(json.loads(data)["data"]) for name, data in events if name == "audio.chunk")
        assert len(pcm) // 2 == pytest.approx(end["usage"]["audio_seconds"] * OUTPUT_RATE, abs=OUTPUT_RATE // 1000)
        assert wrong(end["response"], await read(pcm)) <= 2 + len(words(end["response"])) // 5
        assert end["lipsync"]["cues"]
