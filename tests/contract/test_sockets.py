"""Namespace `/chat` over real sockets with a stock Socket.IO client: what it may rely on, and what it may not do."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio
from jsonschema import Draft202012Validator
from socketio import packet

from api._kit.auth import Principal
from bench.client import TEXT_CAPS, ChatClient, visitor_token
from server import sockets, wire
from server.infra.clock import SystemClock
from server.session import Session
from tests.support.fakes import ScriptedLlm, silence, speech
from tests.support.live import Live, live

BOT = "cb_demo"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path) as running:
        yield running


def client(server: Live, **more: Any) -> ChatClient:
    return ChatClient(server.url, BOT, origin="http://localhost:0", **more)


async def test_a_typed_message_is_acknowledged_and_answered(server: Live) -> None:
    async with client(server) as chat:
        ack = await chat.say("Hello", "m1")
        assert ack["ok"] is True
        assert ack["id"] == "m1"
        assert ack["message_id"].startswith("msg_")
        end = await chat.wait("resp.end")
        assert end.payload["status"] == "done"
        assert end.payload["heard"]["text"] == "".join(txt["d"] for txt in chat.of("txt")).strip()


async def test_a_spoken_question_is_answered_with_sound_and_a_face(server: Live) -> None:
    async with client(server) as chat:
        await chat.speak(speech(0.5) + silence(0.6))
        await chat.wait("resp.end")
        assert chat.of("stt.final")[0]["text"] == "hello there"
        sound = chat.sound[1]
        assert sound.whole
        assert len(sound.pcm) // 2 == sum(seg["len"] for seg in chat.of("seg"))
        assert chat.of("face")


async def test_every_event_is_as_the_schema_says_and_numbered_without_a_gap(server: Live) -> None:
    schema = wire.json_schema()
    async with client(server) as chat:
        await chat.say("Hello", "m1")
        await chat.speak(speech(0.4) + silence(0.6))
        await chat.wait("resp.end", lambda end: end["rid"] == 2)
        numbers = []
        for got in chat.events:
            if got.name == "audio":
                continue
            name = schema["x-events"]["server"][got.name]
            Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": schema["$defs"]}).validate(got.payload)
            numbers.append(got.payload["seq"])
        assert numbers == list(range(1, len(numbers) + 1))
        name = schema["x-events"]["server"]["ready"]
        Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": schema["$defs"]}).validate(chat.ready)


async def test_the_conversation_is_in_the_history_of_rest(server: Live) -> None:
    async with client(server, caps=TEXT_CAPS) as chat, aiohttp.ClientSession() as http:
        await chat.say("Hello", "m1")
        end = await chat.wait("resp.end")
        path = f"/api/v1/history/conversations/{chat.ready['conversation_id']}/messages"
        async with http.get(server.url + path, headers={"Authorization": f"Bearer {chat.token}"}) as answer:
            messages = (await answer.json())["data"]
        assert [(message["role"], message["content"]) for message in messages] == [
            ("user", "Hello"),
            ("assistant", end.payload["heard"]["text"]),
        ]
        assert messages[1]["id"] == end.payload["message_id"]


@pytest.mark.parametrize(
    ("event", "payload", "code", "words"),
    [
        ("say", {"id": "x", "text": "y" * 4001}, "INVALID_FORMAT", "4,000"),
        ("say", {"id": "x"}, "MISSING_FIELD", "text"),
        ("say", {"id": "x", "text": "hi", "surprise": 1}, "INVALID_FORMAT", "surprise"),
        ("say", "just words", "INVALID_FORMAT", "say"),
        ("say", {"id": "x", "text": "   "}, "INVALID_FORMAT", "visible"),
        ("say", {"id": "x", "text": "a\x00b"}, "INVALID_FORMAT", "control characters"),
        ("say", {"id": "x\x00", "text": "hi"}, "INVALID_FORMAT", "control characters"),
        ("dance", {}, "INVALID_FORMAT", "dance"),
        ("play", {"rid": 1, "played": -5, "state": "tick"}, "INVALID_FORMAT", "played"),
        ("ack", {"seq": 10_000}, "INVALID_REQUEST", "ahead"),
        ("hello", {"chatbot_id": BOT}, "INVALID_FORMAT", "once"),
        ("mic", {"not": "bytes"}, "INVALID_FORMAT", "bytes"),
        ("mic", b"short", "INVALID_FORMAT", "header"),
        ("mic", wire.Media(wire.Kind.MIC_PCM16, 0, 0, 2_000, 0, bytes(64)).pack(), "INVALID_FORMAT", "2000"),
        ("mic", wire.Media(wire.Kind.OUT_PCM16, 0, 0, 16_000, 0, bytes(64)).pack(), "INVALID_FORMAT", "microphone"),
        ("mic", wire.Media(wire.Kind.MIC_PCM16, 0, 0, 16_000, 0, bytes(63)).pack(), "INVALID_FORMAT", "even"),
        ("mic", wire.Media(wire.Kind.MIC_PCM16, 0, 0, 16_000, 0, bytes(6402)).pack(), "INVALID_FORMAT", "200 ms"),
        ("mic", wire.Media(wire.Kind.MIC_PCM16, 0, 0, 0, 0, b"").pack(), "INVALID_FORMAT", "sample rate"),
    ],
)
async def test_a_bad_event_gets_an_error_and_the_session_lives_on(
    server: Live, event: str, payload: Any, code: str, words: str
) -> None:
    async with client(server, caps=TEXT_CAPS) as chat:
        await chat.emit(event, payload)
        error = (await chat.wait("err")).payload
        assert error["code"] == code
        assert words in error["message"]
        assert error["fatal"] is False
        assert (await chat.say("Still there?", "m2"))["ok"] is True


async def test_an_event_over_64_kb_gets_an_error_and_the_session_lives_on(server: Live) -> None:
    async with client(server, caps=TEXT_CAPS) as chat:
        await chat.emit("say", {"id": "x", "text": "y" * 66_000})
        assert (await chat.wait("err")).payload["code"] == "PAYLOAD_TOO_LARGE"
        assert (await chat.say("Still there?", "m2"))["ok"] is True


async def refused(server: Live, auth: Any, origin: str = "http://localhost:0") -> str:
    sio = socketio.AsyncClient(reconnection=False)
    reasons: list[Any] = []
    sio.on("connect_error", reasons.append, namespace=wire.NAMESPACE)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await sio.connect(
            server.url, auth=auth, transports=["websocket"], namespaces=[wire.NAMESPACE], headers={"Origin": origin}
        )
    await sio.disconnect()
    return str(reasons)


async def test_a_wrong_token_is_refused_with_its_code(server: Live) -> None:
    assert "INVALID_TOKEN" in await refused(server, {"token": "nonsense"})
    assert "INVALID_TOKEN" in await refused(server, {})


async def test_a_token_of_another_website_is_refused(server: Live) -> None:
    token = await visitor_token(server.url, BOT, "http://localhost:0")
    assert "FORBIDDEN" in await refused(server, {"token": token}, origin="https://evil.example")


async def test_an_unknown_chatbot_is_refused_at_hello(server: Live) -> None:
    token = await visitor_token(server.url, BOT, "http://localhost:0")
    async with asyncio.timeout(5):
        sio = socketio.AsyncClient(reconnection=False)
        errors: asyncio.Queue[Any] = asyncio.Queue()
        sio.on("err", errors.put, namespace=wire.NAMESPACE)
        await sio.connect(server.url, auth={"token": token}, transports=["websocket"], namespaces=[wire.NAMESPACE])
        await sio.emit("hello", {"chatbot_id": "cb_nobody"}, namespace=wire.NAMESPACE)
        error = await errors.get()
        await sio.disconnect()
    assert error["code"] in ("FORBIDDEN", "RESOURCE_NOT_FOUND")
    assert error["fatal"] is True


async def test_events_before_hello_are_refused_in_words(server: Live) -> None:
    token = await visitor_token(server.url, BOT, "http://localhost:0")
    async with asyncio.timeout(5):
        sio = socketio.AsyncClient(reconnection=False)
        errors: asyncio.Queue[Any] = asyncio.Queue()
        sio.on("err", errors.put, namespace=wire.NAMESPACE)
        await sio.connect(server.url, auth={"token": token}, transports=["websocket"], namespaces=[wire.NAMESPACE])
        await sio.emit("say", {"id": "1", "text": "hi"}, namespace=wire.NAMESPACE)
        error = await errors.get()
        await sio.disconnect()
    assert "hello" in error["message"]


async def test_a_session_outlives_its_socket_and_is_resumed_without_loss(tmp_path: Path) -> None:
    async with live(tmp_path, llm=ScriptedLlm([f"word{n} " for n in range(60)], delay=0.01)) as server:
        chat = client(server, caps=TEXT_CAPS)
        async with chat:
            await chat.say("Tell me", "m1")
            await chat.wait("txt")
            await chat._sio.disconnect()
            seen = max(got.payload["seq"] for got in chat.events)
            ready = chat.ready
            again = client(server, caps=TEXT_CAPS)
            again.token = chat.token
            resume = {"sid": ready["sid"], "token": ready["token"], "last_seq": seen}
            again._group = chat._group
            await again.join(resume=resume)
            await again.wait("resp.end")
            assert again.ready["recovered"] is True
            assert again.ready["sid"] == ready["sid"]
            numbers = [got.payload["seq"] for got in again.events]
            assert numbers == list(range(seen + 1, seen + 1 + len(numbers)))
            words = [txt["d"] for txt in chat.of("txt") + again.of("txt")]
            assert words == [f"word{n} " for n in range(60)]
            await again._sio.disconnect()


async def test_a_socket_that_never_joins_is_closed(server: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "CONNECT_SECONDS", 0.2)
    async with aiohttp.ClientSession() as http, asyncio.timeout(5):
        url = f"{server.url}/socket.io/?EIO=4&transport=websocket"
        async with http.ws_connect(url, compress=15) as silent:
            assert not silent.compress
            while (message := await silent.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
            assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING)


async def knock(server: Live, token: str | None = None) -> tuple[socketio.AsyncClient, asyncio.Queue[Any]]:
    """A socket that has joined and said nothing, and everything that it is told: rows of name and payload."""
    token = token or await visitor_token(server.url, BOT, "http://localhost:0")
    told: asyncio.Queue[Any] = asyncio.Queue()
    sio = socketio.AsyncClient(reconnection=False)
    sio.on("*", lambda name, payload=None: told.put_nowait((name, payload)), namespace=wire.NAMESPACE)
    sio.on("disconnect", lambda *_: told.put_nowait(("disconnect", None)), namespace=wire.NAMESPACE)
    await sio.connect(server.url, auth={"token": token}, transports=["websocket"], namespaces=[wire.NAMESPACE])
    return sio, told


async def test_the_deadline_does_not_run_while_a_hello_is_answered_and_runs_on_when_it_fails(
    server: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "CONNECT_SECONDS", 0.3)
    hub, door = server.house.hub, server.house.sockets
    opened, running = hub.open, []

    async def look(principal: Principal, hello: wire.Hello) -> Any:
        running.append(len(door._deadlines))
        return await opened(principal, hello)

    monkeypatch.setattr(hub, "open", look)
    sio, told = await knock(server)
    await sio.emit("hello", {"chatbot_id": "cb_nobody"}, namespace=wire.NAMESPACE)
    async with asyncio.timeout(5):
        assert (await told.get())[0] == "err"
        assert (await told.get())[0] == "disconnect"
    assert running == [0]


@pytest.mark.parametrize("moment", ["opening", "telling"])
async def test_a_hello_whose_socket_has_gone_meanwhile_leaves_its_session_to_the_sweeper(
    server: Live, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    hub, door = server.house.hub, server.house.sockets
    opened, told = hub.open, door._server._send_packet
    left: asyncio.Queue[Session] = asyncio.Queue()
    joined: list[Session] = []

    async def hang_up() -> None:
        await door._server.eio.hang_up(next(iter(door._links.values())).eio_sid)

    async def open(principal: Principal, hello: wire.Hello) -> Any:
        answer = await opened(principal, hello)
        if moment == "opening":
            await hang_up()
        return answer

    async def send(eio_sid: str, sent: packet.Packet) -> None:
        await told(eio_sid, sent)
        if moment == "telling" and sent.packet_type == packet.ACK:
            await hang_up()

    async def join(session: Session, _link: Any) -> None:
        joined.append(session)
        left.put_nowait(session)

    leave = hub.leave

    def gone(session: Session, link: Any) -> None:
        leave(session, link)
        left.put_nowait(session)

    monkeypatch.setattr(hub, "open", open)
    monkeypatch.setattr(hub, "join", join)
    monkeypatch.setattr(hub, "leave", gone)
    monkeypatch.setattr(door._server, "_send_packet", send)
    sio, _ = await knock(server)
    await sio.emit("hello", {"chatbot_id": BOT}, namespace=wire.NAMESPACE, callback=lambda *_: None)
    async with asyncio.timeout(5):
        for _ in range(1 if moment == "opening" else 2):
            session = await left.get()
    assert not joined
    assert session.outgoing.link is None
    assert session.id in hub._away


async def test_polling_is_not_served(server: Live) -> None:
    async with aiohttp.ClientSession() as http, http.get(f"{server.url}/socket.io/?EIO=4&transport=polling") as answer:
        assert answer.status == 400


async def test_the_second_of_two_tabs_takes_the_session_over(server: Live) -> None:
    async with client(server, caps=TEXT_CAPS) as first:
        second = client(server, caps=TEXT_CAPS)
        second.token, second._group = first.token, first._group
        ready = first.ready
        await second.join(resume={"sid": ready["sid"], "token": ready["token"], "last_seq": 0})
        bye = await first.wait("bye")
        assert bye.payload["reason"] == "superseded"
        assert (await second.say("Here now", "m1"))["ok"] is True
        await second.wait("resp.end")
        await second._sio.disconnect()


async def test_a_stolen_session_id_without_its_token_starts_anew(server: Live) -> None:
    async with client(server, caps=TEXT_CAPS) as owner:
        thief = client(server, caps=TEXT_CAPS)
        thief._group = owner._group
        await thief.join(resume={"sid": owner.ready["sid"], "token": "rst_guess", "last_seq": 0})
        assert thief.ready["recovered"] is False
        assert thief.ready["sid"] != owner.ready["sid"]
        await thief._sio.disconnect()


async def test_at_the_door_of_a_full_house_one_is_told_when_to_come_back(tmp_path: Path) -> None:
    async with live(tmp_path, max_sessions=1) as server, client(server, caps=TEXT_CAPS):
        other = client(server, caps=TEXT_CAPS)
        token = await visitor_token(server.url, BOT, "http://localhost:0")
        sio = socketio.AsyncClient(reconnection=False)
        errors: asyncio.Queue[Any] = asyncio.Queue()
        sio.on("err", errors.put, namespace=wire.NAMESPACE)
        await sio.connect(server.url, auth={"token": token}, transports=["websocket"], namespaces=[wire.NAMESPACE])
        await sio.emit("hello", {"chatbot_id": other.chatbot_id}, namespace=wire.NAMESPACE)
        async with asyncio.timeout(5):
            error = await errors.get()
        await sio.disconnect()
    assert error["code"] == "SERVICE_UNAVAILABLE"
    assert error["retry_ms"] > 0


async def test_logging_out_closes_the_sockets_of_that_token(server: Live) -> None:
    person = {"email": "ada@example.com", "password": "a long passphrase", "name": "Ada", "accept_terms": True}
    async with aiohttp.ClientSession(server.url) as http:
        await http.post("/api/v1/auth/register", json=person)
        login = {"email": person["email"], "password": person["password"]}
        token = (await (await http.post("/api/v1/auth/login", json=login)).json())["access_token"]
        bearer = {"Authorization": f"Bearer {token}"}
        made = await http.post("/api/v1/chatbots/create", json={"name": "Mine", "type": "text"}, headers=bearer)
        chat = ChatClient(server.url, (await made.json())["id"], caps=TEXT_CAPS)
        chat.token = token
        async with chat:
            assert (await chat.say("Hello", "m1"))["ok"] is True
            await http.post("/api/v1/auth/logout", headers=bearer)
            bye = await chat.wait("bye", timeout=5)
            assert bye.payload == {**bye.payload, "reason": "revoked", "reconnect": False}
    assert "INVALID_TOKEN" in await refused(server, {"token": token})


async def test_line_ends_and_tabs_may_be_typed(server: Live) -> None:
    async with client(server, caps=TEXT_CAPS) as chat:
        assert (await chat.say("one\ntwo\r\n\tthree", "m1"))["ok"] is True


async def test_a_visitor_without_a_website_of_its_own_is_refused(server: Live) -> None:
    token = await visitor_token(server.url, BOT, "http://localhost:0")
    assert "FORBIDDEN" in await refused(server, {"token": token}, origin="null")


async def test_a_socket_is_closed_when_its_token_expires_and_its_client_may_return(
    server: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = client(server, caps=TEXT_CAPS)
    chat.token = await visitor_token(server.url, BOT, chat.origin)
    expires_at = (await server.house.sockets._tokens.verify(chat.token)).expires_at
    monkeypatch.setattr(sockets, "LEEWAY", SystemClock().now() + 1 - expires_at)
    async with chat:
        bye = await chat.wait("bye", timeout=5)
        assert bye.payload == {**bye.payload, "reason": "expired", "reconnect": True}


async def test_a_client_that_can_only_hear_what_is_never_sent_is_warned(server: Live) -> None:
    async with client(server, caps={"in": [], "out": ["opus"]}) as chat:
        warning = (await chat.wait("warn", lambda warn: warn["code"] == "FORMAT_NOT_SENT")).payload
        assert "pcm16" in warning["message"]
        assert chat.ready["out"]["format"] == "none"
