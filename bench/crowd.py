"""Visitors of `/chat` by the thousand: bare websocket messages, so that the server is measured and not its clients."""

import asyncio
import base64
import gc
import resource
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import orjson

from api._kit.auth import Tokens
from pipelines.frames import INPUT_RATE, OUTPUT_RATE
from server import wire
from server.demo import CHATBOT, ORGANIZATION
from server.infra.clock import Ids, SystemClock
from server.infra.secrets import Keyring

SECRET = base64.urlsafe_b64encode(bytes(range(48))).decode()
"""`MA_SECRET_KEY` of the servers that these visitors have tokens for."""
CONNECTING = 48
"""How many join at once."""
JOIN_SECONDS = 20.0
FRAME = INPUT_RATE // 50
"""Samples of a microphone frame: 20 ms."""


class Refused(Exception):
    """The server did not let a visitor in."""


class _NothingRevoked:
    async def standing(self, token_id: str, session: str, user_id: str, version: int) -> str:
        return "good"


def tokens(count: int, origin: str) -> list[str]:
    """One for each visitor, signed here: asking the server for them is another benchmark."""
    keys = Keyring(SECRET.encode()).derive("tokens")
    signer = Tokens(keys, clock=SystemClock(), ids=Ids(), revocations=_NothingRevoked())  # type: ignore[arg-type]
    return [signer.visitor(f"anonymous_{n:016}", ORGANIZATION, CHATBOT, origin) for n in range(count)]


def many_files() -> None:
    """Let this process, and those that it starts, open as many sockets as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Visitor:
    """One conversation. `read` must run for as long as it lasts; `on` is called with every event and when it came.

    Sound is played at once: `underruns` counts the pieces that came after they should have been heard.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.ready: dict[str, Any] = {}
        self.on: Callable[[str, Any, float], None] = lambda name, payload, at: None
        self.pings = self.underruns = self.pieces = 0
        self.closed, self.farewell = False, ""
        self.playing = 0
        """The response that is being heard; 0 for none."""
        self.mic = self.mic_seq = 0
        """The next microphone frame: its time in samples, and its number."""
        self._socket = socket
        self._sending = asyncio.Lock()
        """Nothing may come between an event and its attachment."""
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._last_call = 0
        self._binary = ""
        self._acked = 0
        self._from = self._told = 0.0
        self._samples = 0
        self._whole = False

    @classmethod
    async def join(
        cls, http: aiohttp.ClientSession, url: str, token: str, caps: Mapping[str, Any], origin: str
    ) -> Self:
        """Connect, be let in, say hello. Raises Refused, TimeoutError and aiohttp.ClientError."""
        async with asyncio.timeout(JOIN_SECONDS):
            address = f"{url}/socket.io/?EIO=4&transport=websocket"
            socket = await http.ws_connect(address, headers={"Origin": origin}, max_msg_size=0)
            visitor = cls(socket)
            await socket.receive_str()
            await socket.send_str("40/chat," + orjson.dumps({"token": token}).decode())
            answer = await socket.receive_str()
            if not answer.startswith("40/chat,"):
                raise Refused(answer)
            hello = {"proto": wire.VERSION, "caps": caps, "chatbot_id": CHATBOT}
            await visitor._send("hello", hello, visitor._call())
            while not visitor.ready:
                message = await socket.receive_str()
                if message.startswith("42"):
                    raise Refused(message)
                if message.startswith("43"):
                    visitor.ready = orjson.loads(message[message.index("[") :])[0]
            return visitor

    async def emit(self, name: str, payload: Any) -> None:
        await self._send(name, payload)

    async def call(self, name: str, payload: Any) -> asyncio.Future[Any]:
        """Sent when this returns; the future holds the acknowledgement and when it came."""
        number = self._call()
        self._calls[number] = future = asyncio.get_running_loop().create_future()
        await self._send(name, payload, number)
        return future

    async def hear(self, pcm: bytes) -> None:
        """Send one frame of the microphone."""
        flags = wire.Flag.CLIENT_PLAYING if self.playing else wire.Flag(0)
        media = wire.Media(wire.Kind.MIC_PCM16, self.mic_seq, 0, INPUT_RATE, self.mic, pcm, flags)
        self.mic_seq += 1
        self.mic += len(pcm) // 2
        async with self._sending:
            await self._socket.send_str('451-/chat,["mic",{"_placeholder":true,"num":0}]')
            await self._socket.send_bytes(media.pack())

    async def close(self) -> None:
        await self._socket.close()

    async def read(self) -> None:
        """Until the socket is closed, whoever closes it: `farewell` is what the server said."""
        with suppress(aiohttp.ClientConnectionResetError):  # closed while something was being sent
            await self._read()
        self.closed = True

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                await self._sound(message.data)
                continue
            data: str = message.data
            if data == "2":
                self.pings += 1
                await self._socket.send_str("3")
            elif data.startswith("42"):
                name, payload = orjson.loads(data[data.index("[") :])
                await self._event(name, payload)
            elif data.startswith("43"):
                start = data.index("[")
                if call := self._calls.pop(int(data[data.index(",") + 1 : start]), None):
                    call.set_result((orjson.loads(data[start:])[0], time.monotonic()))

    async def report(self) -> None:
        """What is heard, as a player tells it; call this some times a second."""
        if not self.playing or (now := time.monotonic()) - self._told < 0.25:
            return
        self._told = now
        played = min(self._samples, int((now - self._from) * OUTPUT_RATE))
        done = self._whole and played == self._samples
        await self.emit("play", {"rid": self.playing, "played": played, "state": "done" if done else "tick"})
        if done:
            self.playing = 0

    def _call(self) -> int:
        self._last_call += 1
        return self._last_call

    async def _send(self, name: str, payload: Any, number: int | None = None) -> None:
        body = orjson.dumps([name, payload]).decode()
        async with self._sending:
            await self._socket.send_str(f"42/chat,{'' if number is None else number}{body}")

    async def _event(self, name: str, payload: Any) -> None:
        now = time.monotonic()
        if name == "cut" and payload["rid"] == self.playing:
            played = min(self._samples, int((now - self._from) * OUTPUT_RATE))
            self.playing = 0
            await self.emit("play", {"rid": payload["rid"], "played": played, "state": "stop"})
        if name == "bye":
            self.farewell = payload["reason"]
        self.on(name, payload, now)
        if (seq := payload.get("seq", 0)) >= self._acked + 16:
            self._acked = seq
            await self.emit("ack", {"seq": seq})

    async def _sound(self, data: bytes) -> None:
        now, media = time.monotonic(), wire.Media.unpack(data)
        self.pieces += 1
        if wire.Flag.FIRST in media.flags:
            self.playing, self._from, self._told = media.rid, now, now
            self._samples, self._whole = 0, False
            await self.emit("play", {"rid": media.rid, "played": 0, "state": "start"})
        elif media.payload and (late := now - self._from - media.t / OUTPUT_RATE) > 0:
            self.underruns += 1
            self._from += late
        self._samples = media.t + len(media.payload) // 2
        self._whole = self._whole or wire.Flag.LAST in media.flags
        self.on("audio", media, now)


@asynccontextmanager
async def crowd(
    url: str, count: int, caps: Mapping[str, Any], joined: Callable[[float], None] = lambda seconds: None
) -> AsyncIterator[Sequence[Visitor]]:
    """So many visitors who have said hello, and who read; `joined` is told how long each has waited for that."""
    visitors: list[Visitor] = []
    waiting = iter(tokens(count, url))
    address = urlsplit(url)
    connector = aiohttp.TCPConnector(limit=0, family=2)
    async with aiohttp.ClientSession(connector=connector) as http, asyncio.TaskGroup() as readers:
        near = f"http://127.0.0.1:{address.port}"

        async def usher() -> None:
            for token in waiting:
                start = time.monotonic()
                visitor = await Visitor.join(http, near, token, caps, url)
                joined(time.monotonic() - start)
                visitors.append(visitor)
                readers.create_task(visitor.read())

        async with asyncio.TaskGroup() as ushers:
            for _ in range(min(count, CONNECTING)):
                ushers.create_task(usher())
        gc.freeze()  # else this end waits for its collector, and takes that for the server
        yield visitors
        for visitor in visitors:
            await visitor.close()
