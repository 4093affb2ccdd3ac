"""Talking by request and response, and what is kept of it."""

import asyncio
import io
import wave
from typing import Any

import pytest
from aiohttp import FormData

from pipelines.engine import Engine, NothingSaid
from pipelines.ports import JournalUnavailable, NoGuard, OneModel
from pipelines.providers.base import ProviderError
from pipelines.registry import Voices
from tests.contract.house import VOICE, House
from tests.support.fakes import NoKnowledge, ScriptedLlm, ScriptedStt, ToneTts


def wav(seconds: float = 0.2, rate: int = 16_000) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(2 * int(seconds * rate)))
    return out.getvalue()


async def talk(house: House, channel: str = "text", **more: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """An owner and a message to a bot of theirs."""
    headers = await house.owner()
    bot = await house.published(headers, type=channel)
    return headers, {"chatbot_id": bot["id"], "message": "Hello", **more}


async def test_a_3d_answer_comes_with_sound_that_can_be_fetched(house: House) -> None:
    headers, said = await talk(house, "3d", audio={"format": "wav"})
    answer = await house.json("POST", "/api/v1/chat-3d/respond", 200, headers=headers, json=said)
    assert (answer["audio"]["duration_ms"], answer["emotion"]) == (100, "joy")
    assert answer["gestures"] == [{"t": 100, "name": "nod"}]
    path = answer["audio"]["url"].removeprefix(house.deps.origin)
    async with house.client.get(path, headers={"Range": "bytes=0-3"}) as response:
        assert (response.status, await response.read()) == (206, b"RIFF")
        assert response.headers["Content-Type"] == "audio/wav"
    async with house.client.get(path[:-1]) as response:
        assert response.status == 404


async def test_an_answer_without_sound_or_lips_is_text(house: House) -> None:
    headers, said = await talk(house, "3d", audio={"format": "none"}, lipsync="none")
    answer = await house.json("POST", "/api/v1/chat-3d/respond", 200, headers=headers, json=said)
    assert (answer["audio"], answer["lipsync"]) == (None, None)


@pytest.mark.parametrize("format", ["mp3", "opus"])
async def test_a_voice_answer_comes_in_the_format_asked_for(house: House, format: str) -> None:
    headers, said = await talk(house, "voice", format=format)
    answer = await house.json("POST", "/api/v1/chat-voice/respond", 200, headers=headers, json=said)
    assert (answer["audio"]["format"], answer["transcript"]) == (format, "Hello")


async def test_a_spoken_question_is_heard(house: House) -> None:
    headers, said = await talk(house, "voice")
    form = FormData({"chatbot_id": said["chatbot_id"]})
    form.add_field("audio", wav(), filename="question.wav", content_type="audio/wav")
    answer = await house.json("POST", "/api/v1/chat-voice/respond", 200, headers=headers, data=form)
    assert answer["transcript"] == "what was said"
    assert len(house.engine.heard[0]) == pytest.approx(6400, abs=640)


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"not audio at all", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b"", 400, "EMPTY_CONTENT"),
        (wav(61), 413, "PAYLOAD_TOO_LARGE"),
    ],
)
async def test_a_file_that_is_no_question_is_refused(house: House, data: bytes, status: int, code: str) -> None:
    headers, said = await talk(house, "voice")
    form = FormData({"chatbot_id": said["chatbot_id"]})
    form.add_field("audio", data, filename="question.wav")
    await house.refused("POST", "/api/v1/chat-voice/respond", status, code, headers=headers, data=form)


async def test_an_unknown_field_of_a_form_is_refused(house: House) -> None:
    form = FormData({"chatbot_id": "cb_1", "surprise": "1"})
    form.add_field("audio", wav(), filename="question.wav")
    await house.refused(
        "POST", "/api/v1/chat-voice/respond", 400, "INVALID_REQUEST", headers=await house.owner(), data=form
    )


async def test_a_voice_question_is_either_written_or_spoken(house: House) -> None:
    headers, said = await talk(house, "voice")
    del said["message"]
    await house.refused("POST", "/api/v1/chat-voice/respond", 400, "MISSING_FIELD", headers=headers, json=said)


@pytest.mark.parametrize("message", ["", "  \n ", "x" * 4001])
async def test_a_message_has_between_one_and_four_thousand_characters(house: House, message: str) -> None:
    headers, said = await talk(house)
    said["message"] = message
    await house.refused("POST", "/api/v1/chat-text/respond", 400, "INVALID_FORMAT", headers=headers, json=said)


async def test_another_kind_of_chatbot_is_a_conflict(house: House) -> None:
    headers, said = await talk(house, "text")
    error = await house.refused("POST", "/api/v1/chat-3d/respond", 409, "STATE_CONFLICT", headers=headers, json=said)
    assert "/api/v1/chat-text/respond" in error["details"]


async def test_a_message_that_is_sent_again_gets_the_same_answer(house: House) -> None:
    headers, said = await talk(house, client_message_id="m1")
    answers = await asyncio.gather(
        *(house.json("POST", "/api/v1/chat-text/respond", 200, headers=headers, json=said) for _ in range(5))
    )
    assert all(answer == answers[0] for answer in answers)
    assert house.engine.asked == 1


async def test_another_users_message_of_the_same_id_gets_its_own_answer(house: House) -> None:
    headers, said = await talk(house, client_message_id="m1")
    for user in ("user_a", "user_b"):
        await house.json("POST", "/api/v1/chat-text/respond", 200, headers=headers, json={**said, "user_id": user})
    assert house.engine.asked == 2


async def test_a_visitor_speaks_for_nobody_else(house: House) -> None:
    _, said = await talk(house, user_id="someone_else")
    visitor = await house.visitor(said["chatbot_id"])
    await house.refused("POST", "/api/v1/chat-text/respond", 403, "FORBIDDEN", headers=visitor, json=said)


async def test_a_visitor_talks_to_no_other_chatbot(house: House) -> None:
    headers, said = await talk(house)
    visitor = await house.visitor(said["chatbot_id"])
    other = await house.published(headers, name="Other", type="text")
    said["chatbot_id"] = other["id"]
    await house.refused("POST", "/api/v1/chat-text/respond", 404, "RESOURCE_NOT_FOUND", headers=visitor, json=said)


async def test_a_conversation_goes_on_by_its_id_without_naming_the_user(house: House) -> None:
    headers, said = await talk(house)
    first = await house.json("POST", "/api/v1/chat-text/respond", 200, headers=headers, json=said)
    said["conversation_id"] = first["conversation_id"]
    second = await house.json("POST", "/api/v1/chat-text/respond", 200, headers=headers, json=said)
    assert (second["conversation_id"], second["user_id"]) == (first["conversation_id"], first["user_id"])


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (ProviderError("secret detail", retryable=True, public="The model is busy."), 503, "UPSTREAM_ERROR"),
        (JournalUnavailable(), 503, "SERVICE_UNAVAILABLE"),
        (NothingSaid(), 400, "EMPTY_CONTENT"),
        (RuntimeError("secret detail"), 500, "INTERNAL_ERROR"),
    ],
)
async def test_a_failure_says_what_a_visitor_may_know(house: House, failure: Exception, status: int, code: str) -> None:
    headers, said = await talk(house)
    house.engine.failure = failure
    error = await house.refused("POST", "/api/v1/chat-text/respond", status, code, headers=headers, json=said)
    assert "secret" not in str(error)


async def test_the_messages_of_a_conversation_are_listed_oldest_first(house: House) -> None:
    headers, said = await talk(house)
    answer = await house.json("POST", "/api/v1/chat-text/respond", 200, headers=headers, json=said)
    path = f"/api/v1/history/conversations/{answer['conversation_id']}"
    listed = (await house.json("GET", f"{path}/messages", 200, headers=headers))["data"]
    assert [(m["role"], m["content"]) for m in listed] == [("user", "Hello"), ("assistant", answer["response"])]
    after = (await house.json("GET", f"{path}/messages?after={listed[0]['id']}", 200, headers=headers))["data"]
    assert after == listed[1:]
    conversation = await house.json("GET", path, 200, headers=headers)
    assert (conversation["message_count"], conversation["title"], conversation["status"]) == (2, "Hello", "open")


async def test_a_visitor_sees_only_the_visitors_own_conversations(house: House) -> None:
    headers, said = await talk(house)
    visitors = [await house.visitor(said["chatbot_id"]) for _ in range(2)]
    answers = [
        await house.json("POST", "/api/v1/chat-text/respond", 200, headers=visitor, json=said) for visitor in visitors
    ]
    mine = await house.json("GET", "/api/v1/history/conversations", 200, headers=visitors[0])
    assert [c["id"] for c in mine["data"]] == [answers[0]["conversation_id"]]
    path = f"/api/v1/history/conversations/{answers[1]['conversation_id']}"
    await house.refused("GET", path, 404, "RESOURCE_NOT_FOUND", headers=visitors[0])
    everyones = await house.json("GET", "/api/v1/history/conversations", 200, headers=headers)
    assert everyones["pagination"]["total_items"] == 2


async def test_conversations_are_found_by_what_was_said(house: House) -> None:
    headers, said = await talk(house)
    await house.json("POST", "/api/v1/chat-text/respond", 200, headers=headers, json={**said, "message": "Blue shoes?"})
    for search, count in (("blue", 1), ("red", 0)):
        found = await house.json("GET", f"/api/v1/history/conversations?search={search}", 200, headers=headers)
        assert found["pagination"]["total_items"] == count


async def test_an_ended_conversation_is_not_gone_on_with(house: House) -> None:
    headers, said = await talk(house, user_id="test_user")
    first = await house.json("POST", "/api/v1/chat-text/respond", 200, headers=headers, json=said)
    path = f"/api/v1/history/conversations/{first['conversation_id']}/end"
    ended = await house.json("POST", path, 200, headers=headers, json={"reason": "solved"})
    assert (ended["status"], ended["end_reason"]) == ("ended", "solved")
    await house.refused("POST", path, 409, "STATE_CONFLICT", headers=headers)
    named = {**said, "conversation_id": first["conversation_id"]}
    await house.refused("POST", "/api/v1/chat-text/respond", 404, "RESOURCE_NOT_FOUND", headers=headers, json=named)
    second = await house.json("POST", "/api/v1/chat-text/respond", 200, headers=headers, json=said)
    assert second["conversation_id"] != first["conversation_id"]
    assert [e.data["message_count"] for e in house.events if e.name == "conversation.ended"] == [2]


async def test_a_second_rating_replaces_the_first(house: House) -> None:
    headers, said = await talk(house)
    answer = await house.json("POST", "/api/v1/chat-text/respond", 200, headers=headers, json=said)
    path = f"/api/v1/history/messages/{answer['message_id']}/feedback"
    await house.json("POST", path, 201, headers=headers, json={"rating": "down"})
    assert (await house.json("POST", path, 201, headers=headers, json={"score": 5}))["rating"] == "up"
    listed = await house.json("GET", "/api/v1/history/conversations?rating=up", 200, headers=headers)
    assert listed["pagination"]["total_items"] == 1


async def test_the_real_engine_fits_behind_the_services(house: House) -> None:
    headers, said = await talk(house, "3d", audio={"format": "wav"})
    settings = {"prompt": "You are Ada.", "examples": [{"question": "Is it free?", "answer": "Yes."}]}
    path = f"/api/v1/chatbots/{said['chatbot_id']}"
    await house.json("PATCH", path, 200, headers=headers, json={"settings": settings})
    llm = ScriptedLlm()
    engine = Engine(
        models=OneModel(llm),
        stt=ScriptedStt(),
        tts=ToneTts(delay=0),
        retriever=NoKnowledge(),
        guard=NoGuard(),
        journal=house.engine.journal,
        clock=house.clock,
        ids=house.deps.ids,
        voices=Voices([VOICE], "tone"),
    )
    house.engine.respond = engine.respond  # type: ignore[method-assign]
    answer = await house.json("POST", "/api/v1/chat-3d/respond", 200, headers=headers, json=said)
    assert answer["response"] == "Well, that is a fine question. Here is the answer."
    assert [said.content for said in llm.chats[0][1:]] == ["Is it free?", "Yes.", "Hello"]
    assert llm.chats[0][0].content.startswith("You are Ada.")
    assert answer["audio"]["duration_ms"] > 1000
    assert {cue["v"] for cue in answer["lipsync"]["cues"]} & {"aa", "sil"}
    assert all(cue["d"] > 0 and 0 < cue["w"] <= 1 for cue in answer["lipsync"]["cues"])
