"""Answers as streams of events: whole, read again, stopped, and asked for twice."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from api._kit.store import PLATFORM
from api.chat.store import replies
from pipelines.engine import Engine
from pipelines.ports import JournalUnavailable, NoGuard, OneModel
from pipelines.providers.base import ChatMessage, Ending, LlmOptions, ProviderError
from pipelines.registry import Voices
from tests.contract.house import VOICE, House
from tests.support.fakes import NoKnowledge, ScriptedLlm, ScriptedStt, ToneTts


@dataclass
class HeldLlm:
    """Says its first word, and the others once it is let go."""

    words: Sequence[str] = ("One ", "two ", "three.")
    go: asyncio.Event = field(default_factory=asyncio.Event)
    capabilities = ScriptedLlm.capabilities
    closed: int = 0

    async def stream(self, messages: Sequence[ChatMessage], options: LlmOptions) -> AsyncIterator[str | Ending]:
        try:
            yield self.words[0]
            await self.go.wait()
            for word in self.words[1:]:
                yield word
            yield Ending("held", "stop", 7, 3)
        finally:
            self.closed += 1

    async def warm(self, messages: Sequence[ChatMessage]) -> None:
        pass


def real(house: House, llm: Any, tts: Any = None) -> None:
    """Let the house answer with the real engine."""
    engine = Engine(
        models=OneModel(llm),
        stt=ScriptedStt(),
        tts=tts or ToneTts(delay=0),
        retriever=NoKnowledge(),
        guard=NoGuard(),
        journal=house.engine.journal,
        clock=house.clock,
        ids=house.deps.ids,
        voices=Voices([VOICE], "tone"),
    )
    house.engine.respond = engine.respond  # type: ignore[method-assign]


def events(text: str) -> list[tuple[int, str, Any]]:
    """Number, name and data of each event."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((int(lines["id"]), lines["event"], json.loads(lines["data"])))
    return found


async def said(house: House, channel: str = "text", **more: Any) -> tuple[dict[str, str], dict[str, Any]]:
    headers = await house.owner()
    bot = await house.published(headers, type=channel)
    return headers, {"chatbot_id": bot["id"], "message": "Hello", "user_id": "u", **more}


async def read(house: House, method: str, path: str, **more: Any) -> list[tuple[int, str, Any]]:
    async with house.client.request(method, path, **more) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        assert response.headers["X-Accel-Buffering"] == "no"
        assert response.headers["X-Request-ID"]
        assert "X-RateLimit-Limit" in response.headers
        return events(await response.text())


async def begun(house: House, headers: dict[str, str], body: dict[str, Any], channel: str = "text") -> str:
    """The id of an answer of which the reader has seen the first word, and left."""
    async with house.client.post(f"/api/v1/chat-{channel}/stream", headers=headers, json=body) as response:
        seen = b""
        while b"text.delta" not in seen:
            seen += await response.content.readany()
        return str(events(seen.decode().split("event: text.delta")[0] + "event: x\ndata: 0")[0][2]["message_id"])


async def test_a_text_answer_is_read_while_it_is_written(house: House) -> None:
    headers, body = await said(house)
    llm = HeldLlm()
    llm.go.set()
    real(house, llm)
    found = await read(house, "POST", "/api/v1/chat-text/stream", headers=headers, json=body)
    assert [number for number, _, _ in found] == list(range(1, len(found) + 1))
    names = [name for _, name, _ in found]
    assert names == ["message.start", "state", "state", "text.delta", "text.delta", "text.delta", "message.end"]
    end = found[-1][2]
    assert "".join(data["text"] for _, name, data in found if name == "text.delta") == end["response"]
    assert (end["finish_reason"], end["usage"]["input_tokens"], end["usage"]["output_tokens"]) == ("stop", 7, 3)
    assert end["latency"]["retrieval_ms"] is not None
    assert found[0][2]["message_id"] == end["message_id"]


async def test_a_3d_answer_brings_sound_and_mouth(house: House) -> None:
    headers, body = await said(house, "3d", audio={"format": "wav"})
    found = await read(house, "POST", "/api/v1/chat-3d/stream", headers=headers, json=body)
    kinds = {name for _, name, _ in found}
    assert {"audio.chunk", "viseme", "message.end"} <= kinds
    sound = [data for _, name, data in found if name == "audio.chunk"]
    assert len(b"".join(base64.b64decode(data["data"]) for data in sound)) == 4800
    assert {"t": 0, "emotion": "joy"} in [data for _, name, data in found if name == "state"]
    assert found[-1][2]["audio"]["duration_ms"] == 100


async def test_a_reader_who_left_reads_on_from_where_it_was(house: House) -> None:
    headers, body = await said(house)
    llm = HeldLlm()
    real(house, llm)
    message_id = await begun(house, headers, body)
    llm.go.set()
    path = f"/api/v1/chat-text/stream/{message_id}"
    rest = await read(house, "GET", path, headers={**headers, "Last-Event-ID": "4"})
    assert [(number, name) for number, name, _ in rest] == [(5, "text.delta"), (6, "text.delta"), (7, "message.end")]
    assert rest[-1][2]["response"] == "One two three."
    whole = await read(house, "GET", path, headers=headers)
    assert [number for number, _, _ in whole] == [1, 2, 3, 4, 5, 6, 7]
    await house.refused("GET", path, 400, "INVALID_FORMAT", headers={**headers, "Last-Event-ID": "99"})
    house.clock.seconds += 601
    headers = await house.login()
    await house.refused("GET", path, 404, "RESOURCE_NOT_FOUND", headers=headers)


async def test_another_visitor_reads_nothing(house: House) -> None:
    headers = await house.owner()
    bot = await house.published(headers, type="text")
    mine, theirs = await house.visitor(bot["id"]), await house.visitor(bot["id"])
    found = await read(
        house, "POST", "/api/v1/chat-text/stream", headers=mine, json={"chatbot_id": bot["id"], "message": "Hello"}
    )
    path = f"/api/v1/chat-text/stream/{found[0][2]['message_id']}"
    await read(house, "GET", path, headers=mine)
    await house.refused("GET", path, 404, "RESOURCE_NOT_FOUND", headers=theirs)


async def test_an_answer_that_is_stopped_keeps_what_there_was(house: House) -> None:
    headers, body = await said(house)
    llm = HeldLlm()
    real(house, llm)
    message_id = await begun(house, headers, body)
    stop = f"/api/v1/chat-text/messages/{message_id}/stop"
    assert await house.json("POST", stop, 200, headers=headers, json={}) == {
        "message_id": message_id,
        "finish_reason": "cancelled",
        "response": "One",
    }
    assert llm.closed == 1
    await house.refused("POST", stop, 409, "STATE_CONFLICT", headers=headers, json={})
    found = await read(house, "GET", f"/api/v1/chat-text/stream/{message_id}", headers=headers)
    assert found[-1][1:2] == ("message.end",)
    conversation = found[0][2]["conversation_id"]
    kept = await house.json("GET", f"/api/v1/history/conversations/{conversation}/messages", 200, headers=headers)
    assert [(m["role"], m["content"], m["finish_reason"]) for m in kept["data"]] == [
        ("user", "Hello", None),
        ("assistant", "One", "cancelled"),
    ]


@pytest.mark.parametrize(("played_ms", "heard"), [(0, ""), (700, "Well, that"), (800, "Well, that is")])
async def test_only_what_was_heard_of_a_spoken_answer_counts(house: House, played_ms: int, heard: str) -> None:
    headers, body = await said(house, "voice")
    real(house, ScriptedLlm())
    found = await read(house, "POST", "/api/v1/chat-voice/stream", headers=headers, json=body)
    message_id, conversation = found[0][2]["message_id"], found[0][2]["conversation_id"]
    stop = f"/api/v1/chat-voice/messages/{message_id}/stop"
    assert (await house.json("POST", stop, 200, headers=headers, json={"played_ms": played_ms}))["response"] == heard
    kept = await house.json("GET", f"/api/v1/history/conversations/{conversation}/messages", 200, headers=headers)
    assert (kept["data"][1]["content"], kept["data"][1]["finish_reason"]) == (heard, "cancelled")
    await house.refused("POST", stop, 409, "STATE_CONFLICT", headers=headers, json={"played_ms": 3_600_000})


async def test_a_repetition_by_key_gets_the_whole_answer_as_json(house: House) -> None:
    headers, body = await said(house)
    keyed = {**headers, "Idempotency-Key": "once"}
    found = await read(house, "POST", "/api/v1/chat-text/stream", headers=keyed, json=body)
    async with house.client.post("/api/v1/chat-text/stream", headers=keyed, json=body) as again:
        assert (again.content_type, again.headers["Idempotency-Replayed"]) == ("application/json", "true")
        assert await again.json() == found[-1][2]
    other = {**body, "message": "Something else"}
    await house.refused("POST", "/api/v1/chat-text/stream", 409, "IDEMPOTENCY_CONFLICT", headers=keyed, json=other)
    assert house.engine.asked == 1


async def test_the_same_message_again_gets_the_same_answer(house: House) -> None:
    headers, body = await said(house, client_message_id="m1")
    path = "/api/v1/chat-text/stream"
    first = await read(house, "POST", path, headers=headers, json=body)
    second = await read(house, "POST", path, headers=headers, json=body)
    assert [name for _, name, _ in second] == ["message.start", "text.delta", "message.end"]
    assert second[-1][2] == first[-1][2]
    assert house.engine.asked == 1


async def test_a_message_that_was_kept_and_never_answered_is_answered_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers, body = await said(house, client_message_id="m1")
    llm = ScriptedLlm(["Yes."], delay=0)
    real(house, llm)
    path = "/api/v1/chat-text/respond"

    async def dies(*_: Any, **__: Any) -> None:
        raise JournalUnavailable

    with monkeypatch.context() as crash:
        crash.setattr(house.engine.journal, "assistant_message", dies)
        await house.refused("POST", path, 503, "SERVICE_UNAVAILABLE", headers=headers, json=body)
    answer = await house.json("POST", path, 200, headers=headers, json=body)
    assert [message.content for message in llm.chats[-1]].count("Hello") == 1
    async with house.deps.database.uow(PLATFORM) as tx:  # the server died before it kept what to repeat
        await tx.run(replies.delete())
        await tx.commit()
    again = await house.json("POST", path, 200, headers=headers, json=body)
    assert (again["message_id"], again["response"]) == (answer["message_id"], "Yes.")
    streamed = await read(house, "POST", "/api/v1/chat-text/stream", headers=headers, json=body)
    assert streamed[-1][2]["message_id"] == answer["message_id"]
    listed = f"/api/v1/history/conversations/{answer['conversation_id']}/messages"
    rows = (await house.json("GET", listed, 200, headers=headers))["data"]
    assert [row["role"] for row in rows] == ["user", "assistant"]
    assert len(llm.chats) == 2


async def test_what_is_refused_before_the_first_event_is_an_envelope(house: House) -> None:
    headers, body = await said(house, "text")
    await house.refused("POST", "/api/v1/chat-3d/stream", 409, "STATE_CONFLICT", headers=headers, json=body)
    house.engine.failure = ProviderError("gone", retryable=True, public="Not now.")
    await house.refused("POST", "/api/v1/chat-text/stream", 503, "UPSTREAM_ERROR", headers=headers, json=body)


async def test_a_model_that_fails_half_way_is_told_in_the_stream(house: House) -> None:
    headers, body = await said(house)
    real(house, ScriptedLlm(["Well, "], failure=ProviderError("gone", retryable=True, public="Not now.")))
    found = await read(house, "POST", "/api/v1/chat-text/stream", headers=headers, json=body)
    assert [data["message"] for _, name, data in found if name == "error"] == ["Not now."]
    assert (found[-1][1], found[-1][2]["finish_reason"]) == ("message.end", "error")


async def test_each_turn_is_told_once_with_its_change(house: House) -> None:
    headers, body = await said(house)
    await read(house, "POST", "/api/v1/chat-text/stream", headers=headers, json=body)
    await house.json("POST", "/api/v1/chat-text/respond", 200, headers=headers, json=body)
    names = [event.name for event in house.events if event.name.startswith(("conversation", "message"))]
    assert names == ["conversation.started", *["message.created"] * 4]


async def test_a_greeting_is_spoken_once_and_given_again(house: House) -> None:
    headers = await house.owner()
    bot = await house.chatbot(headers)
    await house.json(
        "PATCH", f"/api/v1/chatbots/{bot['id']}", 200, headers=headers, json={"settings": {"greeting": "Good day!"}}
    )
    body = {"chatbot_id": bot["id"], "user_id": "u"}
    first = await house.json("POST", "/api/v1/chat-3d/greet", 200, headers=headers, json=body)
    second = await house.json("POST", "/api/v1/chat-3d/greet", 200, headers=headers, json=body)
    assert (first["response"], first["audio"]["duration_ms"], first["emotion"]) == ("Good day!", 100, "joy")
    assert first["lipsync"] == second["lipsync"]
    assert house.engine.said == ["Good day!"]
    assert first["conversation_id"] is None
    async with house.client.get(second["audio"]["url"].removeprefix(house.deps.origin)) as response:
        assert response.status == 200


async def test_words_become_sound(house: House) -> None:
    headers = await house.owner()
    body = {"voice_id": "tone", "text": "Hello", "format": "wav", "lipsync": "visemes"}
    made = await house.json("POST", "/api/v1/chat-voice/synthesize", 200, headers=headers, json=body)
    assert (made["audio"]["duration_ms"], made["lipsync"]["format"]) == (100, "oculus15")
    body["voice_id"] = "nobody"
    await house.refused("POST", "/api/v1/chat-voice/synthesize", 400, "INVALID_FORMAT", headers=headers, json=body)


async def test_a_voice_session_begins_a_conversation_and_ends_it(house: House) -> None:
    headers, body = await said(house, "voice")
    del body["message"]
    call = await house.json("POST", "/api/v1/chat-voice/sessions", 201, headers=headers, json=body)
    assert (call["namespace"], call["audio"]["in"]["sample_rate"]) == ("/chat", 16_000)
    principal = await house.deps.tokens.verify(call["token"])
    assert (principal.kind, principal.user_id, principal.chatbot_id) == ("visitor", "u", body["chatbot_id"])
    bot = await house.deps.bots.find(body["chatbot_id"])
    assert bot
    talk = await house.deps.conversations.resume(bot, "u", call["conversation_id"])
    await house.deps.conversations.connected(talk, 61_400)
    path = f"/api/v1/chat-voice/sessions/{call['session_id']}"
    ended = await house.json("DELETE", path, 200, headers=headers)
    assert ended == {"session_id": call["session_id"], "duration_ms": 61_400, "billed_seconds": 62}
    await house.refused("DELETE", path, 409, "STATE_CONFLICT", headers=headers)
    names = [event.name for event in house.events if event.name.startswith("conversation")]
    assert names == ["conversation.started", "conversation.ended"]


async def test_who_is_greeted_decides_how(house: House) -> None:
    headers = await house.owner()
    bot = await house.chatbot(headers)
    variants = [
        {"text": "Back again!", "returning": True},
        {"text": "Servus!", "locale": "de", "utm": {"utm_source": "alps"}},
        {"text": "Hallo!", "locale": "de"},
    ]
    settings = {"greeting": "Hello!", "greetings": variants}
    await house.json("PATCH", f"/api/v1/chatbots/{bot['id']}", 200, headers=headers, json={"settings": settings})

    async def greeted(**more: Any) -> str:
        body = {"chatbot_id": bot["id"], "user_id": "u", **more}
        greeting = await house.json("POST", "/api/v1/chat-3d/greet", 200, headers=headers, json=body)
        return str(greeting["response"])

    alps = {"utm": {"utm_source": "alps"}}
    assert [
        await greeted(),
        await greeted(language="de-AT"),
        await greeted(language="de-AT", context=alps),
        await greeted(language="den", context=alps),
    ] == ["Hello!", "Hallo!", "Servus!", "Hello!"]
    said = {"chatbot_id": bot["id"], "user_id": "u", "message": "Hello"}
    await house.json("POST", "/api/v1/chat-3d/respond", 200, headers=headers, json=said)
    assert await greeted() == "Back again!"


async def test_a_visitors_voice_session_does_not_outlive_what_the_website_signed(house: House) -> None:
    bot = await house.published(await house.owner(), type="voice")
    visitor = await house.visitor(bot["id"])
    house.clock.seconds += 50 * 60
    body = {"chatbot_id": bot["id"]}
    call = await house.json("POST", "/api/v1/chat-voice/sessions", 201, headers=visitor, json=body)
    signed = await house.deps.tokens.verify(visitor["Authorization"].split()[1])
    assert (await house.deps.tokens.verify(call["token"])).expires_at == signed.expires_at
    assert call["expires_in"] == 600
