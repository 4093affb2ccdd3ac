"""How long a visitor waits: voice to voice with real models, and what the server adds to a text model's first token.

    python -m bench.latency [--turns 20] [--text-turns 100]

Voice to voice: from the last audible sample of a spoken question, sent in real time, to the first audible sample of
the answer at the client; the client plays at once. Text: from `say` to the first `txt` with a model that answers at
once, less what the same provider needs for that model's first token when nothing stands around it; what a bare HTTP
client needs is told beside.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

import aiohttp

from bench.client import TEXT_CAPS, ChatClient
from bench.instant_model import instant_model
from bench.meter import percentile
from bench.serving import models, server
from bench.speech import QUESTIONS, first_audible, spoken
from pipelines.core.prompt import messages
from pipelines.frames import INPUT_RATE, OUTPUT_RATE
from pipelines.providers.base import ChatMessage, LlmCapabilities, LlmOptions
from pipelines.providers.openai_compat import Endpoint, OpenAiLlm, fixed
from server.demo import EXAMPLES, PROMPT

MARKS = ("t_vad_end", "t_stt", "t_llm1", "t_clause", "t_tts1", "t_sent")
DEMO = "cb_demo"
WARM = 10


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


TOLD = [
    ChatMessage(role, text) for pair in EXAMPLES.items() for role, text in zip(("user", "assistant"), pair, strict=True)
]
CHAT = messages(PROMPT, [*TOLD, *TOLD[:10]], "Tell me something")
"""What the server asks the model in the middle of a conversation with the demo chatbot, or as good as."""


@dataclass(frozen=True, slots=True)
class FirstToken:
    """Milliseconds to the first token of one turn: through the server, from the provider alone, by bare HTTP."""

    server: float
    provider: float
    http: float


async def text_first_token(url: str, model: str, turns: int) -> list[FirstToken]:
    """The three ways in turn, so that a noisy moment hits all of them. The first ten turns warm up."""
    rows = []
    llm = OpenAiLlm(fixed(Endpoint(model, "none", local=True)), LlmCapabilities("instant", 4096, True))
    try:
        async with ChatClient(url, DEMO, caps=TEXT_CAPS) as chat, aiohttp.ClientSession() as http:
            for n in range(turns + WARM):
                row = FirstToken(await _through(chat, n), await _provider(llm), await _bare(http, model))
                if n >= WARM:
                    rows.append(row)
    finally:
        await llm.close()
    return rows


async def _through(chat: ChatClient, n: int) -> float:
    since = len(chat.events)
    start = time.monotonic()
    saying = asyncio.create_task(chat.say("Tell me something", f"t{n}"))
    first = await chat.wait("txt", since=since)
    await saying
    await chat.wait("resp.end", since=since)
    return (first.at - start) * 1000


async def _provider(llm: OpenAiLlm) -> float:
    start = time.monotonic()
    async with aclosing(llm.stream(CHAT, LlmOptions())) as pieces:
        await anext(pieces)
        took = (time.monotonic() - start) * 1000
        async for _ in pieces:
            pass
    return took


async def _bare(http: aiohttp.ClientSession, model: str) -> float:
    body = {"model": "instant", "stream": True, "messages": [{"role": "user", "content": "Tell me something"}]}
    start = time.monotonic()
    async with http.post(f"{model}/chat/completions", json=body) as answer:
        await answer.content.readline()
        took = (time.monotonic() - start) * 1000
        await answer.read()
    return took


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
            firsts = await text_first_token(url, model, text_turns)
        print(f"Text, {text_turns} turns, a model that answers at once")
        show("first token through the server", [row.server for row in firsts])
        show("first token of the provider", [row.provider for row in firsts])
        show("first token by bare HTTP", [row.http for row in firsts])
        show("added by the server", [row.server - row.provider for row in firsts])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--text-turns", type=int, default=100)
    chosen = parser.parse_args()
    asyncio.run(main(chosen.turns, chosen.text_turns))
