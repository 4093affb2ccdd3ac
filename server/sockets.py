"""The only file that imports socketio: namespace `/chat`, events in, bytes out.

Handlers only check and enqueue, in the order of arrival, and never wait for a session. The remedies for the stack's
hazards are here: acknowledgements are sent by the session, after its commit; a socket that connects and says nothing is
closed. Those that reach below Socket.IO are in `engine`.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

import orjson
import socketio
import structlog
from aiohttp import web
from pydantic import ValidationError
from socketio import packet

from api._kit.auth import LEEWAY, Principal, Tokens
from api._kit.errors import ApiError, Forbidden, Unauthenticated, Unavailable
from pipelines.ports import Clock
from server import wire
from server.core.buckets import Bucket
from server.engine import Engine, end
from server.hub import Hub
from server.inbox import SessionBusy
from server.session import Session
from server.telemetry import Metrics

CONNECT_SECONDS = 10.0
"""An Engine.IO socket that has not joined `/chat` by then is closed; so is one that has joined and sent no hello."""
MAX_FRAME = 262_144
"""Bytes of one websocket message beyond which the engine closes the socket."""
PING_INTERVAL, PING_TIMEOUT = 25, 20
"""Seconds. Pings are nearly all that an idle socket costs."""
EVENTS_A_MINUTE = 120
"""Of one socket, and as many more are told that they were refused."""
REPORTS = frozenset({"play", "ack", "ping"})
"""What a client says of its own accord, at a pace that the server knows: far below what is heard."""
REPORTS_A_SECOND, REPORTS_AT_ONCE = 20, 400
RECHECK = 4.0
"""Seconds for which a token that was good is taken to be so still; then the next event asks again."""
MIC_SPEED = 2.0
"""Seconds of sound that a microphone may send in a second: it catches up after a pause of the network."""
MIC_BURST = 2.0
"""Seconds for which it may be faster still."""
MIC_SHORTEST, MIC_LONGEST = 0.004, 0.2
"""Seconds of sound: what a frame counts for at least, and what it holds at most."""
MIC_PAUSE = 1.0
"""Seconds for which a microphone that sends too much is not heard."""
RETURNS = frozenset({"slow", "drained", "expired"})
"""Why a socket was closed, when its client does well to come back."""

log = structlog.get_logger()


class _Server(socketio.AsyncServer):  # type: ignore[misc]
    """Socket.IO with acknowledgements sent by whoever accepts the event, whenever that is."""

    sockets: "Sockets"

    async def _handle_event_internal(
        self, server: Any, sid: str, eio_sid: str, data: list[Any], namespace: str, id: int | None
    ) -> None:
        async def ack(payload: dict[str, object]) -> None:
            if id is not None:
                await self._send_packet(eio_sid, packet.Packet(packet.ACK, namespace=namespace, id=id, data=[payload]))

        await self.sockets.received(sid, str(data[0]), data[1:], ack)

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        if isinstance(data, str) and len(data) > wire.MAX_EVENT_BYTES:
            await self.sockets.too_large(eio_sid, len(data))
            return
        await super()._handle_eio_message(eio_sid, data)

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> Any:
        answer = await super()._handle_eio_connect(eio_sid, environ)
        self.sockets.expect_connect(eio_sid)
        return answer

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        if environ := self.environ.get(eio_sid):
            end(environ)
        await super()._handle_eio_disconnect(eio_sid, reason)

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    async def send_event(self, eio_sid: str, name: str, payload: str | bytes) -> None:
        """What `emit` does for one socket, without the task and the turns of the loop that it takes for many."""
        data = [name, orjson.Fragment(payload) if isinstance(payload, str) else payload]
        await self._send_packet(eio_sid, packet.Packet(packet.EVENT, namespace=wire.NAMESPACE, data=data))


class SocketLink:
    """One joined socket, as the session sees it."""

    def __init__(
        self,
        server: _Server,
        eio_sid: str,
        principal: Principal,
        metrics: Metrics,
        clock: Clock,
        expiry: asyncio.Handle,
    ) -> None:
        self.principal = principal
        self.session: Session | None = None
        self.eio_sid = eio_sid
        self.gone = self.closing = False
        self._server, self._metrics, self._clock, self._expiry = server, metrics, clock, expiry
        self._events, self._refusals = (Bucket(EVENTS_A_MINUTE / 60, EVENTS_A_MINUTE) for _ in range(2))
        self._reports = Bucket(REPORTS_A_SECOND, REPORTS_AT_ONCE)
        self._mic = Bucket(MIC_SPEED, MIC_SPEED * MIC_BURST)
        self._deaf_until = 0.0
        self._asked = clock.monotonic()

    def doubted(self) -> bool:
        """Whether it is time to ask again if its token is good; says so once."""
        now = self._clock.monotonic()
        if now - self._asked < RECHECK:
            return False
        self._asked = now
        return True

    def lost(self) -> None:
        """The socket is closed."""
        self.gone = True
        self._expiry.cancel()

    def wait(self, name: str) -> float:
        """Seconds until this event is welcome; 0 counts it."""
        return (self._reports if name in REPORTS else self._events).take(self._clock.monotonic())

    async def hears(self, media: wire.Media) -> bool:
        """Whether the microphone keeps to its pace; where it does not, it is told once and then left unheard a while.

        Raises ValueError for a frame that is too long.
        """
        seconds = len(media.payload) / (2 * max(1, media.rate))
        if seconds > MIC_LONGEST:
            raise ValueError(f"a frame of the microphone holds at most {MIC_LONGEST * 1000:.0f} ms of sound")
        now = self._clock.monotonic()
        if now < self._deaf_until:
            return False
        if not self._mic.take(now, max(seconds, MIC_SHORTEST)):
            return True
        self._deaf_until = now + MIC_PAUSE
        message = f"The microphone sends more than {MIC_SPEED:g} seconds of sound in a second."
        await self.refuse("RATE_LIMIT_EXCEEDED", message, retry_ms=int(MIC_PAUSE * 1000), param="mic")
        return False

    async def emit(self, name: str, payload: str | bytes) -> None:
        await self._server.send_event(self.eio_sid, name, payload)

    def full(self, tell: Callable[[], None]) -> bool:
        return bool(self._server.eio.crowded(self.eio_sid, tell))

    async def refuse(self, code: str, message: str, *, fatal: bool = False, **more: object) -> None:
        """An `err`, numbered with the session's events once there is a session. A flood is not answered one by one."""
        if self._refusals.take(self._clock.monotonic()):
            return
        if self.session is not None:
            self.session.outgoing.error(code, message, **more)
            return
        self._metrics.errors.labels(code).inc()
        error = wire.Err.model_validate({"code": code, "message": message, "fatal": fatal, **more})
        await self.emit("err", error.model_dump_json(exclude_none=True))

    async def close(self, reason: str) -> None:
        """Say why and close; what the client sends meanwhile is not heard."""
        self.closing = True
        bye = wire.Bye.model_validate({"reason": reason, "reconnect": reason in RETURNS})
        await self.emit("bye", bye.model_dump_json())
        await self._server.eio.hang_up(self.eio_sid)


class Sockets:
    def __init__(self, hub: Hub, tokens: Tokens, metrics: Metrics, *, clock: Clock, origin: str) -> None:
        self._hub, self._tokens, self._metrics, self._clock = hub, tokens, metrics, clock
        self._own_origin = origin
        self._links: dict[str, SocketLink] = {}
        self._deadlines: dict[str, asyncio.TimerHandle] = {}
        self._hangups: set[asyncio.Task[None]] = set()
        self._server = _Server(
            async_mode="aiohttp",
            async_handlers=False,
            transports=["websocket"],
            allow_upgrades=False,
            cors_allowed_origins=lambda _origin, _environ: True,
            max_http_buffer_size=MAX_FRAME,
            ping_interval=PING_INTERVAL,
            ping_timeout=PING_TIMEOUT,
            json=_Json,
        )
        self._server.sockets = self
        self._server.on("connect", self._connect, namespace=wire.NAMESPACE)
        self._server.on("disconnect", self._disconnect, namespace=wire.NAMESPACE)

    def attach(self, app: web.Application) -> None:
        """Serve `/socket.io/` from this application."""
        self._server.attach(app)

    async def close(self) -> None:
        """Say goodbye on every socket and close it, without waiting for deaf peers."""
        for handle in self._deadlines.values():
            handle.cancel()
        for link in list(self._links.values()):
            await link.close("drained")
        for eio_sid in list(self._server.eio.sockets):
            await self._server.eio.hang_up(eio_sid)
        if self._hangups:
            await asyncio.wait(self._hangups)
        await self._server.shutdown()

    # --- joining ---

    def expect_connect(self, eio_sid: str) -> None:
        """Close the socket unless it has opened a session in time."""
        loop = asyncio.get_running_loop()
        self._deadlines[eio_sid] = loop.call_later(CONNECT_SECONDS, self._late, eio_sid)

    def _late(self, eio_sid: str) -> None:
        self._deadlines.pop(eio_sid, None)
        self._later(self._server.eio.hang_up(eio_sid))

    def _expired(self, sid: str) -> None:
        """The token would not open this socket any more: its client comes back with a new one."""
        if link := self._links.get(sid):
            self._later(link.close("expired"))

    def revoke(self, user_id: str = "", session: str | None = None, chatbot_id: str = "") -> None:
        """Close the sockets that were opened in this session, by this user at all, or to talk to this chatbot."""
        for link in list(self._links.values()):
            talks_to = link.session.bot.id if link.session else link.principal.chatbot_id
            mine = link.principal.user_id == user_id and session in (None, link.principal.session)
            if mine or chatbot_id == talks_to:
                self._later(link.close("revoked"))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)  # kept in _hangups until it is done
        self._hangups.add(task)
        task.add_done_callback(self._hangups.discard)

    async def _connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        """Raises ConnectionRefusedError with the error's code and message: wrong token, wrong website."""
        try:
            principal = await self._authenticate(auth, environ)
        except ApiError as error:
            refused = {"code": error.code, "message": error.message}
            raise socketio.exceptions.ConnectionRefusedError(error.message, refused) from None
        eio_sid = self._server.manager.eio_sid_from_sid(sid, wire.NAMESPACE)
        left = principal.expires_at + LEEWAY - self._clock.now()
        expiry = asyncio.get_running_loop().call_later(max(0.0, left), self._expired, sid)
        self._links[sid] = SocketLink(self._server, eio_sid, principal, self._metrics, self._clock, expiry)
        self._metrics.sockets.set(len(self._links))

    async def _authenticate(self, auth: Any, environ: Mapping[str, Any]) -> Principal:
        token = auth.get("token") if isinstance(auth, Mapping) else None
        if not isinstance(token, str) or not token:
            raise Unauthenticated
        principal = await self._tokens.verify(token)
        origin = environ.get("HTTP_ORIGIN")
        if principal.kind == "visitor" and origin and origin not in (principal.origin, self._own_origin):
            raise Forbidden("This token was made for another website.")
        return principal

    async def _ask_again(self, link: SocketLink) -> None:
        """Where the token was revoked by another process, nobody told this one. A store that is gone proves nothing."""
        with suppress(Unavailable):
            if not await self._tokens.stands(link.principal):
                await link.close("revoked")

    async def _disconnect(self, sid: str, reason: str) -> None:
        link = self._links.pop(sid, None)
        self._metrics.sockets.set(len(self._links))
        if link is None:
            return
        link.lost()
        if link.session:
            self._hub.leave(link.session, link)

    # --- events ---

    async def received(self, sid: str, name: str, arguments: list[Any], ack: Any) -> None:
        """One event of one client. Whatever is wrong with it becomes an `err`; the socket stays."""
        link = self._links.get(sid)
        if link is None or link.closing:
            return
        if link.doubted():
            self._later(self._ask_again(link))
        payload = arguments[0] if arguments else {}
        try:
            if name == "mic":
                await self._mic(link, payload)
            elif wait := link.wait(name):
                retry, message = math.ceil(wait * 1000), "Events come faster than they are heard."
                await link.refuse("RATE_LIMIT_EXCEEDED", message, retry_ms=retry, ref=_ref(payload))
            elif name == "hello":
                await self._hello(link, payload, ack)
            else:
                self._event(link, name, payload, ack)
        except ValidationError as error:
            await self._invalid(link, name, payload, error)
        except ValueError as error:
            await link.refuse("INVALID_FORMAT", str(error), param=name)
        except SessionBusy:
            await link.refuse("RATE_LIMIT_EXCEEDED", "Too many events at once.", retry_ms=1000, ref=_ref(payload))
        except ApiError as error:
            await link.refuse(error.code, error.message, fatal=name == "hello", retry_ms=_retry(error))

    async def _hello(self, link: SocketLink, payload: Any, ack: Any) -> None:
        if link.session is not None:
            raise ValueError("hello is said once on a socket")
        hello = wire.Hello.model_validate(payload)
        session, ready = await self._open(link, hello)
        if not link.gone:
            link.session = session
            await ack(ready)
        if link.gone:  # the socket went while the session was opened or told: nobody would ever leave it
            self._hub.leave(session, link)
            return
        await self._hub.join(session, link, str(ready["token"]))
        if not ready["recovered"] and hello.caps.unheard and session.bot.type != "text":
            spoken = ", ".join(wire.SENT_FORMATS)
            message = f"You will hear nothing: caps.out names no format that this server sends ({spoken})."
            session.outgoing.send(wire.Warn(code="FORMAT_NOT_SENT", message=message))

    async def _open(self, link: SocketLink, hello: wire.Hello) -> tuple[Session, dict[str, object]]:
        """The deadline for a hello does not run while one is answered; it is the same as before when it fails."""
        deadline = self._deadlines.pop(link.eio_sid, None)
        if deadline:
            deadline.cancel()
        try:
            return await self._hub.open(link.principal, hello)
        except BaseException:
            if deadline and not link.gone:
                loop = asyncio.get_running_loop()
                self._deadlines[link.eio_sid] = loop.call_at(deadline.when(), self._late, link.eio_sid)
            raise

    async def _mic(self, link: SocketLink, payload: Any) -> None:
        if not isinstance(payload, bytes):
            raise ValueError("mic carries one bytes argument: the 24-byte header and the samples")
        session, media = self._session(link), wire.Media.unpack(payload)
        if await link.hears(media):
            session.media(media)

    def _event(self, link: SocketLink, name: str, payload: Any, ack: Any) -> None:
        model = wire.CLIENT_EVENTS.get(name)
        if model is None:
            raise ValueError(f"there is no event “{name[:40]}”")
        self._session(link).post(model.model_validate(payload), ack)

    def _session(self, link: SocketLink) -> Session:
        if link.session is None:
            raise ValueError("say hello first")
        return link.session

    async def _invalid(self, link: SocketLink, name: str, payload: Any, error: ValidationError) -> None:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or name
        message = f"{name}: {where}: {first['msg']}"
        if first["type"] == "string_too_long" and where == "text":
            message = f"A message has at most {wire.MAX_SAY_CHARACTERS:,} characters."
        code = "MISSING_FIELD" if first["type"] == "missing" else "INVALID_FORMAT"
        await link.refuse(code, message, param=where, ref=_ref(payload))

    async def too_large(self, eio_sid: str, size: int) -> None:
        """A text event over the limit was not read."""
        for link in self._links.values():
            if link.eio_sid == eio_sid:
                limit = wire.MAX_EVENT_BYTES
                await link.refuse("PAYLOAD_TOO_LARGE", f"An event has at most {limit:,} bytes; this one has {size:,}.")


class _Json:
    """orjson behind the interface that the Socket.IO library expects of a json module."""

    @staticmethod
    def dumps(value: Any, *_: Any, **__: Any) -> str:
        return orjson.dumps(value).decode()

    @staticmethod
    def loads(text: str | bytes, *_: Any, **__: Any) -> Any:
        return orjson.loads(text)


def _ref(payload: Any) -> str | None:
    ref = payload.get("id") if isinstance(payload, Mapping) else None
    return ref if isinstance(ref, str) else None


def _retry(error: ApiError) -> int | None:
    after = error.headers.get("Retry-After")
    return int(after) * 1000 if after else None
