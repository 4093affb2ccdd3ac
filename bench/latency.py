"""How long a visitor waits: voice to voice with real models, and what the server adds to a text model's first token.

    python -m bench.latency [--turns 20] [--text-turns 100]

Voice to voice: from the last audible sample of a spoken question, sent in real time, to the first audible sample of
the answer at the client; the client plays at once. Text: from `say` to the first `txt` with a model that answers at
once, less what a bare HTTP client needs for that model's first token.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence

import aiohttp

from bench.client import TEXT_CAPS, ChatClient
from bench.instant_model import instant_model
from bench.serving import models, server
from bench.speech import QUESTIONS, first_audible, spoken
from pipelines.frames import INPUT_RATE, OUTPUT_RATE

MARKS = ("t_vad_end", "t_stt", "t_llm1", "t_clause", "t_tts1", "t_sent")
DEMO = "cb_demo"


def percentile(values: Sequence[float], p: float) -> float:
    """By linear interpolation; `p` 0 to 100."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=1000, method="inclusive")[min(998, max(0, round(p * 10) - 1))]


async def voice_to_voice(url: str, questions: Sequence[bytes], turns: int) -> list[dict[str, float]]:
    """One row a turn, milliseconds."""
    rows = []
    async with ChatClient(url, DEMO) as chat:
        for n in range(turns + 1):
            since = len(chat.events)
            pcm = questions[n % len(questions)]
            silence = bytes(2 * INPUT_RATE * 3)
            speaking = asyncio.create_task(chat.speak(pcm + silence))
            begun = time.monotonic()
            ended = begun + len(pcm) / 2 / INPUT_RATE
            lat = await chat.wait("lat", since=since, timeout=40)
            rid = lat.payload["rid"]
            sound = chat.sound[rid]
            heard = sound.first + first_audible(bytes(sound.pcm)) / OUTPUT_RATE
            row = {name: lat.payload.get(name, float("nan")) for name in MARKS}
            row["voice_to_voice"] = (heard - ended) * 1000
            if n:  # the first turn warms the models up
                rows.append(row)
            await chat.emit("stop", {"reason": "next"})
            await speaking
            await chat.wait("resp.end", since=since, timeout=20)
    return rows


async def text_first_token(url: str, model: str, turns: int) -> tuple[list[float], list[float]]:
    """Milliseconds to the first token through the server, and from the model itself, turn by turn."""
    ours, bare = [], []
    body = {"model": "instant", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    async with ChatClient(url, DEMO, caps=TEXT_CAPS) as chat, aiohttp.ClientSession() as http:
        for n in range(turns + 10):
            since = len(chat.events)
            start = time.monotonic()
            saying = asyncio.create_task(chat.say("Tell me something", f"t{n}"))
            first = await chat.wait("txt", since=since)
            took = (first.at - start) * 1000
            await saying
            await chat.wait("resp.end", since=since)
            start = time.monotonic()
            async with http.post(f"{model}/chat/completions", json=body) as answer:
                await answer.content.readline()
                direct = (time.monotonic() - start) * 1000
                await answer.read()
            if n >= 10:
                ours.append(took)
                bare.append(direct)
    return ours, bare


def show(name: str, values: Sequence[float]) -> None:
    print(f"{name:32} p50 {percentile(values, 50):8.1f} ms   p95 {percentile(values, 95):8.1f} ms")


async def main(turns: int, text_turns: int) -> None:
    if turns:
        questions = await spoken(models(), *QUESTIONS)
        async with server() as url:
            rows = await voice_to_voice(url, questions, turns)
        print(f"Voice to voice, {turns} turns, one session, everything local")
        show("voice to voice", [row["voice_to_voice"] for row in rows])
        for mark in MARKS:
            show(f"  {mark} after the last sound", [row[mark] for row in rows])
        print("  each turn: " + " ".join(f"{row['voice_to_voice']:.0f}" for row in rows))
    if text_turns:
        async with instant_model() as model, server(MA_LLM__BASE_URL=model, MA_LLM__MODEL="instant") as url:
            ours, bare = await text_first_token(url, model, text_turns)
        print(f"Text, {text_turns} turns, a model that answers at once")
        show("first token through the server", ours)
        show("first token of the bare model", bare)
        show("added by the server", [a - b for a, b in zip(ours, bare, strict=True)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--text-turns", type=int, default=100)
    chosen = parser.parse_args()
    asyncio.run(main(chosen.turns, chosen.text_turns))
