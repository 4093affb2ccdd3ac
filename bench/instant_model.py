"""An OpenAI-compatible chat endpoint that answers at once: what a server adds to its model is what is left."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import orjson
from aiohttp import web

WORDS = "Certainly. I can tell you about that in a moment, and then some more."


@asynccontextmanager
async def instant_model(*, pause: float = 0.0, words: str = WORDS) -> AsyncIterator[str]:
    """Yields its base URL. `pause` is the seconds before each word, for a model that takes its time."""

    async def chat(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        with suppress(ConnectionResetError):  # a reply was cancelled, or its server killed
            await answer(request, response)
        return response

    async def answer(request: web.Request, response: web.StreamResponse) -> None:
        await request.read()
        await response.prepare(request)
        for n, word in enumerate(words.split()):
            await asyncio.sleep(pause)
            delta = {"role": "assistant", "content": word if n == 0 else f" {word}"}
            chunk = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "instant"}
            chunk["choices"] = [{"index": 0, "delta": delta, "finish_reason": None}]
            await response.write(b"data: " + orjson.dumps(chunk) + b"\n\n")
        await response.write(b"data: [DONE]\n\n")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()
