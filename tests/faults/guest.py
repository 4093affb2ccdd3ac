"""A visitor of `/chat` who comes back after a cut and keeps account of what was delivered; bare websocket messages."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from bench.crowd import SECRET, Refused, tokens
from pipelines.frames import OUTPUT_RATE
from server import wire
from server.demo import CHATBOT

SILENT = {"in": [], "out": [], "face": []}
VOICED = {"in": [], "out": ["pcm16"], "face": ["oculus15"]}
GONE = (OSError, aiohttp.ClientError, TimeoutError, Refused)
"""What a connection comes to when it is cut."""
JOIN_SECONDS = 10.0
TICK = 0.25


class Lost(Exception):
    """The socket went before the acknowledgement came."""


@dataclass(slots=True)
class Sound:
    """What has come of one response: up to which sample, and when its first sample was played."""

    have: int
    start: float
    whole: bool = False


@dataclass
class Guest:
    """`join` connects, `read` runs until the socket is gone. `faults` says in words what was not as promised."""

    url: str
    token: str
    origin: str
    caps: dict[str, Any] = field(default_factory=lambda: dict(SILENT))
    ready: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    last_seq: int = 0
    resumed: int = 0
    renewed: int = 0
    """How often the server said that something was lost."""
    cuts: int = 0
    patience: float = 0.0
    """Seconds for which a session is kept in any case."""
    acks: bool = True
    """Whether events are acknowledged and sound is reported as played."""

    def __post_init__(self) -> None:
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._call = self._acked = 0
        self._sounds: dict[int, Sound] = {}
        self._playing = 0
        self._paused: Any = None
        self._left = time.monotonic()
        self.news = asyncio.Event()
        self.joined = asyncio.Event()

    async def join(self, http: aiohttp.ClientSession, **more: Any) -> None:
        """Connect and say hello, resuming the session there was. Raises GONE."""
        async with asyncio.timeout(JOIN_SECONDS):
            address = f"{self.url}/socket.io/?EIO=4&transport=websocket"
            self._socket = socket = await http.ws_connect(address, headers={"Origin": self.origin}, max_msg_size=0)
            await _text(socket)
            await socket.send_str("40/chat," + orjson.dumps({"token": self.token}).decode())
            if not (answer := await _text(socket)).startswith("40/chat,"):
                raise Refused(answer)
            await self._send("hello", self._hello(**more), 0)
            while not (answer := await _text(socket)).startswith("43"):
                if answer.startswith("42"):
                    raise Refused(answer)
        self._welcome(orjson.loads(answer[answer.index("[") :])[0])

    def _hello(self, **more: Any) -> dict[str, Any]:
        hello = {"proto": wire.VERSION, "caps": self.caps, "chatbot_id": CHATBOT, **more}
        if self.ready:
            resume = {"sid": self.ready["sid"], "token": self.ready["token"], "last_seq": self.last_seq}
            if sound := self._sounds.get(self._playing):
                resume |= {"rid": self._playing, "played": self._played(sound)}
            hello |= {"conversation_id": self.ready["conversation_id"], "resume": resume}
        return hello

    def _welcome(self, ready: dict[str, Any]) -> None:
        if ready["recovered"]:
            self.resumed += 1
            if ready["sid"] != self.ready["sid"]:
                self.faults.append("recovered, but another session")
        else:
            self.renewed += bool(self.ready)
            if self.ready and (away := time.monotonic() - self._left) < self.patience:
                self.faults.append(f"lost after {away:.1f} s away")
            self.last_seq = self._acked = ready["seq"]
            self._sounds.clear()
            self._playing = 0
        self.ready = ready
        self.joined.set()
        self.news.set()

    async def read(self) -> None:
        """Until the socket is gone."""
        assert self._socket is not None
        ticking = asyncio.create_task(self._tick())  # ends with this
        try:
            async for message in self._socket:
                await self._message(message)
        except GONE:
            pass
        finally:
            ticking.cancel()
            self.joined.clear()
            self.cuts += 1
            self._left = time.monotonic()
            for call in self._calls.values():
                if not call.done():
                    call.set_exception(Lost())
                    call.exception()  # whoever waits for it hears of it; nobody has to
            self._calls.clear()
            if self._paused is not None:  # it would wait for an answer that it does not read
                self._paused.abort()
                self._paused = None
            await self._socket.close()

    async def stop_reading(self) -> None:
        """From now on what comes stays in the pipe."""
        assert self._socket is not None
        transport = self._socket._response.connection.transport  # type: ignore[union-attr]
        transport.pause_reading()  # type: ignore[union-attr]
        self._paused = transport

    async def leave(self) -> None:
        if self._socket is not None:
            await self._socket.close()

    async def emit(self, name: str, payload: Any) -> None:
        await self._send(name, payload)

    async def say(self, id: str, text: str, **more: Any) -> asyncio.Future[Any]:
        """Sent when this returns; the future holds the acknowledgement, or Lost."""
        self._call += 1
        self._calls[self._call] = future = asyncio.get_running_loop().create_future()
        await self._send("say", {"id": id, "text": text, **more}, self._call)
        return future

    async def _send(self, name: str, payload: Any, call: int | None = None) -> None:
        if self._socket is None or self._socket.closed:
            raise ConnectionResetError("not connected")
        body = orjson.dumps([name, payload]).decode()
        await self._socket.send_str(f"42/chat,{'' if call is None else call}{body}")

    async def _message(self, message: aiohttp.WSMessage) -> None:
        assert self._socket is not None
        if message.type is aiohttp.WSMsgType.BINARY:
            self._sound(wire.Media.unpack(message.data))
            return
        data: str = message.data
        if data == "2":
            await self._socket.send_str("3")
        elif data.startswith("42"):
            name, payload = orjson.loads(data[data.index("[") :])
            self._event(name, payload)
            if self.acks and self.last_seq >= self._acked + 16:
                await self._ack()
        elif data.startswith("43"):
            start = data.index("[")
            call = self._calls.pop(int(data[data.index(",") + 1 : start]), None)
            if call is not None and not call.done():
                call.set_result(next(iter(orjson.loads(data[start:])), None))

    def _event(self, name: str, payload: Any) -> None:
        if name != "bye":
            if payload["seq"] != self.last_seq + 1:
                self.faults.append(f"{name} has number {payload['seq']} after {self.last_seq}")
            self.last_seq = max(self.last_seq, payload["seq"])
        self.events.append((name, payload))
        self.news.set()

    def _sound(self, media: wire.Media) -> None:
        now, end = time.monotonic(), media.t + len(media.payload) // 2
        sound = self._sounds.get(media.rid)
        if sound is None:
            sound = self._sounds[media.rid] = Sound(media.t, now)
            self._playing = max(self._playing, media.rid)
        if media.t > sound.have:
            self.faults.append(f"sound of {media.rid} jumps from {sound.have} to {media.t}")
        if end < sound.have and wire.Flag.RESENT not in media.flags:
            self.faults.append(f"sound of {media.rid} comes twice at {media.t} and is not marked")
        sound.start += max(0.0, now - sound.start - sound.have / OUTPUT_RATE)
        sound.have = max(sound.have, end)
        sound.whole = sound.whole or wire.Flag.LAST in media.flags

    def _played(self, sound: Sound) -> int:
        return min(sound.have, int((time.monotonic() - sound.start) * OUTPUT_RATE))

    def heard(self, rid: int) -> int:
        """Up to which sample the sound of a response has come without a hole."""
        return self._sounds[rid].have if rid in self._sounds else 0

    async def _ack(self) -> None:
        self._acked = self.last_seq
        await self._send("ack", {"seq": self.last_seq})

    async def _tick(self) -> None:
        told = 0
        with contextlib.suppress(*GONE):
            while True:
                await asyncio.sleep(TICK)
                if not self.acks:
                    continue
                if self.last_seq > self._acked:
                    await self._ack()
                sound = self._sounds.get(self._playing)
                if sound is not None and told != self._playing:
                    played = self._played(sound)
                    done = sound.whole and played == sound.have
                    told = self._playing if done else 0
                    state = "done" if done else "tick"
                    await self._send("play", {"rid": self._playing, "played": played, "state": state})


async def _text(socket: aiohttp.ClientWebSocketResponse) -> str:
    message = await socket.receive()
    if message.type is not aiohttp.WSMsgType.TEXT:
        raise Refused(f"{message.type.name} instead of words")
    return str(message.data)


@asynccontextmanager
async def guests(
    url: str, count: int, *, origin: str = "", caps: dict[str, Any] = SILENT
) -> AsyncIterator[tuple[aiohttp.ClientSession, list[Guest]]]:
    """So many, not joined yet, for a server whose secret key is `SECRET`; and what they connect with."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        yield http, [Guest(url, token, origin or url, dict(caps)) for token in tokens(count, origin or url)]


async def history(http: aiohttp.ClientSession, url: str, guest: Guest) -> list[dict[str, Any]]:
    """What the server has kept of the guest's conversation, oldest first."""
    path = f"{url}/api/v1/history/conversations/{guest.ready['conversation_id']}/messages"
    found: list[dict[str, Any]] = []
    for page in range(1, 100):
        parameters = {"page": page, "limit": 100}
        async with http.get(path, params=parameters, headers={"Authorization": f"Bearer {guest.token}"}) as answer:
            if answer.status == 404:  # nothing has been said yet
                return []
            answer.raise_for_status()
            rows = (await answer.json())["data"]
        found += rows
        if len(rows) < 100:
            break
    return found


KEY = {"MA_SECRET_KEY": SECRET}
