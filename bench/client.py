"""A plain Socket.IO client of `/chat` that speaks, listens and reports as a widget does; for benchmarks and tests."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
import socketio

from pipelines.frames import INPUT_RATE, OUTPUT_RATE
from server import wire

CAPS = {"in": ["pcm16"], "out": ["pcm16"], "face": ["oculus15"]}
TEXT_CAPS = {"in": [], "out": [], "face": []}


@dataclass(slots=True)
class Got:
    """One event as it arrived; `at` is monotonic seconds."""

    at: float
    name: str
    payload: Any


@dataclass(slots=True)
class _Sound:
    """What has come of one response: its samples, when the first came, and whether it is whole or cut."""

    first: float
    pcm: bytearray = field(default_factory=bytearray)
    whole: bool = False
    stopped: bool = False


class ChatClient:
    """Use as an async context manager. `events` holds everything in order; `sound` the audio by response number."""

    def __init__(self, url: str, chatbot_id: str, *, caps: Mapping[str, Any] = CAPS, origin: str | None = None) -> None:
        self.url, self.chatbot_id, self.caps = url, chatbot_id, dict(caps)
        self.origin = origin or url
        self.events: list[Got] = []
        self.sound: dict[int, _Sound] = {}
        self.ready: dict[str, Any] = {}
        self.token = ""
        self._news = asyncio.Condition()
        self._sio = socketio.AsyncClient(reconnection=False)
        self._sio.on("*", self._event, namespace=wire.NAMESPACE)
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._mic = self._mic_seq = 0
        self._acked = 0

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        try:
            await self.join()
        except BaseException as error:
            await self._group.__aexit__(type(error), error, None)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._sio.disconnect()
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(None, None, None)

    async def join(self, **hello: Any) -> None:
        """Get a visitor's token, connect, and say hello."""
        self.token = self.token or await visitor_token(self.url, self.chatbot_id, self.origin)
        headers = {"Origin": self.origin}
        await self._sio.connect(
            self.url,
            headers=headers,
            auth={"token": self.token},
            transports=["websocket"],
            namespaces=[wire.NAMESPACE],
            wait_timeout=10,
        )
        body = {"proto": 1, "locale": "en-US", "caps": self.caps, "chatbot_id": self.chatbot_id, **hello}
        self.ready = await self._sio.call("hello", body, namespace=wire.NAMESPACE, timeout=10)

    async def emit(self, name: str, payload: Any = None) -> None:
        await self._sio.emit(name, payload, namespace=wire.NAMESPACE)

    async def say(self, text: str, id: str, **more: Any) -> dict[str, Any]:
        """Type a message; returns its acknowledgement. Raises socketio's TimeoutError when there is none."""
        body = {"id": id, "text": text, **more}
        return dict(await self._sio.call("say", body, namespace=wire.NAMESPACE, timeout=10))

    async def speak(self, pcm: bytes, *, rate: int = INPUT_RATE) -> float:
        """Send mono PCM16 in 20 ms frames in real time; returns when (monotonic) the last one was due."""
        size = rate // 50 * 2
        start = time.monotonic()
        for n, at in enumerate(range(0, len(pcm), size)):
            piece = pcm[at : at + size].ljust(size, b"\0")
            due = start + (n + 1) * 0.02
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            playing = wire.Flag.CLIENT_PLAYING if self.playing else wire.Flag(0)
            media = wire.Media(wire.Kind.MIC_PCM16, self._mic_seq, 0, rate, self._mic, piece, playing)
            await self.emit("mic", media.pack())
            self._mic_seq += 1
            self._mic += len(piece) // 2
        return start + (len(pcm) // size) * 0.02

    @property
    def playing(self) -> bool:
        """Whether some response is being heard now."""
        now = time.monotonic()
        return any(not s.stopped and now < s.first + len(s.pcm) / 2 / OUTPUT_RATE for s in self.sound.values())

    def of(self, name: str, since: int = 0) -> list[Any]:
        return [got.payload for got in self.events[since:] if got.name == name]

    async def wait(
        self, name: str, accept: Callable[[Any], bool] = lambda _: True, *, since: int = 0, timeout: float = 20
    ) -> Got:
        """The first event of this name that `accept` takes, from position `since` on. Raises TimeoutError."""

        def found() -> Got | None:
            return next((got for got in self.events[since:] if got.name == name and accept(got.payload)), None)

        async with asyncio.timeout(timeout), self._news:
            await self._news.wait_for(lambda: found() is not None)
        got = found()
        assert got is not None
        return got

    async def _event(self, name: str, payload: Any = None) -> None:
        got = Got(time.monotonic(), name, payload)
        if name == "audio":
            got.payload = media = wire.Media.unpack(payload)
            self._hear(media, got.at)
        elif name == "cut":
            sound = self.sound.get(payload["rid"])
            if sound:
                sound.stopped = True
                played = min(len(sound.pcm) // 2, int((got.at - sound.first) * OUTPUT_RATE))
                await self.emit("play", {"rid": payload["rid"], "played": played, "state": "stop"})
        async with self._news:
            self.events.append(got)
            self._news.notify_all()
        if name != "audio" and (seq := payload.get("seq", 0)) >= self._acked + 16:
            self._acked = seq
            with suppress(socketio.exceptions.BadNamespaceError):  # the server has gone meanwhile
                await self.emit("ack", {"seq": seq})

    def _hear(self, media: wire.Media, at: float) -> None:
        sound = self.sound.get(media.rid)
        if sound is None:
            sound = self.sound[media.rid] = _Sound(at)
            task = self._group.create_task(self._report(media.rid, sound))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        sound.pcm += media.payload
        sound.whole = sound.whole or bool(media.flags & wire.Flag.LAST)

    async def _report(self, rid: int, sound: _Sound) -> None:
        await self.emit("play", {"rid": rid, "played": 0, "state": "start"})
        while not sound.stopped:
            await asyncio.sleep(0.25)
            have = len(sound.pcm) // 2
            played = min(have, int((time.monotonic() - sound.first) * OUTPUT_RATE))
            done = sound.whole and played == have
            if sound.stopped:
                return
            await self.emit("play", {"rid": rid, "played": played, "state": "done" if done else "tick"})
            if done:
                return


async def visitor_token(url: str, chatbot_id: str, origin: str) -> str:
    """A visitor's token, as the widget gets it."""
    async with aiohttp.ClientSession() as http:
        body = {"chatbot_id": chatbot_id, "locale": "en-US", "page_url": f"{origin}/"}
        async with http.post(f"{url}/api/v1/auth/visitor-token", json=body, headers={"Origin": origin}) as answer:
            answer.raise_for_status()
            return str((await answer.json())["access_token"])
