"""What is kept of conversations: found, noted, rated, ended, exported and deleted for good."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from api.history import upkeep
from api.history.service import EXPORT, TIDY
from tests.contract.house import DueJob, House

LIST = "/api/v1/history/conversations"


async def talked(house: House, headers: dict[str, str], bot: dict[str, Any], message: str, **more: Any) -> Any:
    body = {"chatbot_id": bot["id"], "message": message, "user_id": "u", **more}
    return await house.json("POST", f"/api/v1/chat-{bot['type']}/respond", 200, headers=headers, json=body)


async def owner(house: House, channel: str = "text") -> tuple[dict[str, str], dict[str, Any]]:
    headers = await house.owner()
    return headers, await house.published(headers, type=channel)


async def ids(house: House, headers: dict[str, str], query: str) -> set[str]:
    found = await house.json("GET", f"{LIST}?{query}", 200, headers=headers)
    return {conversation["id"] for conversation in found["data"]}


async def due(house: House, type: str, payload: dict[str, Any], headers: dict[str, str]) -> Any:
    """Do a job as its runner would."""
    caller = await house.deps.tokens.verify(headers["Authorization"].split()[1])
    row = {"id": "job_1", "organization_id": caller.organization_id, "payload": payload}
    return await house.handlers[type](DueJob(row))


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("Rechnung", True),
        ("rechn", True),
        ("RECHNUNG größe", True),
        ("grosse", True),
        ("grösse", True),
        ("größe", True),
        ("grosz", False),
        ("chnung", False),
        ("Rechnung nirgends", False),
        ("2024/17", True),
        ("ada@example.com", True),
        ("東京", True),
        ("京東", True),
        ("ελληνικα", True),
        ("!?", False),
        ("' OR 1=1 --", False),
        ('"', False),
        ("NEAR(", False),
    ],
)
async def test_conversations_are_found_by_their_words(house: House, search: str, found: bool) -> None:
    headers, bot = await owner(house)
    said = "Meine Rechnung 2024-17 hat die falsche Größe: ada@example.com, 東京, Ελληνικά"
    talk = await talked(house, headers, bot, said)
    await talked(house, headers, bot, "Something else", user_id="other")
    query = {"search": search}
    listed = await house.json("GET", LIST, 200, headers=headers, params=query)
    assert [c["id"] for c in listed["data"]] == ([talk["conversation_id"]] if found else [])
    path = f"{LIST}/{talk['conversation_id']}/messages"
    messages = await house.json("GET", path, 200, headers=headers, params=query)
    assert [m["content"] for m in messages["data"]] == ([said] if found else [])


async def test_conversations_are_filtered(house: House) -> None:
    headers, bot = await owner(house)
    me = (await house.json("GET", "/api/v1/users/me", 200, headers=headers))["id"]
    first = (await talked(house, headers, bot, "One"))["conversation_id"]
    second = await talked(house, headers, bot, "Two", user_id="v", language="de-DE")
    second_id = second["conversation_id"]
    note = {"tags": ["sales", "vip"], "assigned_to": me}
    await house.json("PATCH", f"{LIST}/{first}", 200, headers=headers, json=note)
    rate = f"/api/v1/history/messages/{second['message_id']}/feedback"
    await house.json("POST", rate, 201, headers=headers, json={"score": 2})
    await house.json("POST", f"{LIST}/{second_id}/end", 200, headers=headers, json={})
    for query, expected in (
        ("tag=sales", {first}),
        ("tag=none,vip", {first}),
        ("tag=sale", set()),
        (f"assigned_to={me}", {first}),
        ("has_feedback=true", {second_id}),
        ("has_feedback=false", {first}),
        ("rating=down", {second_id}),
        ("status=open", {first}),
        ("status=open,ended", {first, second_id}),
        ("language=de-DE", {second_id}),
        ("user_id=v", {second_id}),
        (f"chatbot_id={bot['id']}", {first, second_id}),
        ("created_after=2024-01-01T00:00:00Z", {first, second_id}),
        ("created_before=2024-01-01T00:00:00Z", set()),
    ):
        assert await ids(house, headers, query) == expected, query


async def test_messages_are_paged_by_cursor(house: House) -> None:
    headers, bot = await owner(house)
    for n in range(3):
        talk = await talked(house, headers, bot, f"Question {n}")
    path = f"{LIST}/{talk['conversation_id']}/messages"
    every = (await house.json("GET", path, 200, headers=headers))["data"]
    assert [m["role"] for m in every] == ["user", "assistant"] * 3
    after = await house.json("GET", f"{path}?after={every[2]['id']}&limit=2", 200, headers=headers)
    assert [m["id"] for m in after["data"]] == [every[3]["id"], every[4]["id"]]
    before = await house.json("GET", f"{path}?before={every[4]['id']}&limit=2", 200, headers=headers)
    assert [m["id"] for m in before["data"]] == [every[2]["id"], every[3]["id"]]


async def test_sound_and_sources_are_given_when_they_are_asked_for(house: House) -> None:
    headers, bot = await owner(house, "voice")
    talk = await talked(house, headers, bot, "Hello", format="wav")
    path = f"{LIST}/{talk['conversation_id']}/messages"
    plain = (await house.json("GET", path, 200, headers=headers))["data"][1]
    assert (plain["audio"], plain["citations"]) == (None, None)
    asked = (await house.json("GET", f"{path}?include=citations,audio", 200, headers=headers))["data"][1]
    assert (asked["audio"]["format"], asked["audio"]["duration_ms"], asked["citations"]) == ("wav", 100, [])
    async with house.client.get(asked["audio"]["url"].removeprefix(house.deps.origin)) as response:
        assert (await response.read())[:4] == b"RIFF"


async def test_members_note_what_visitors_do_not_see(house: House) -> None:
    headers, bot = await owner(house)
    visitor = await house.visitor(bot["id"])
    body = {
        "chatbot_id": bot["id"],
        "message": "Hello",
        "context": {"page_url": "https://shop.example/", "utm": {"a": "b"}},
    }
    talk = await house.json("POST", "/api/v1/chat-text/respond", 200, headers=visitor, json=body)
    path = f"{LIST}/{talk['conversation_id']}"
    changed = await house.json("PATCH", path, 200, headers=headers, json={"note": "A good customer", "title": "Ada"})
    assert (changed["note"], changed["title"], changed["utm"]) == ("A good customer", "Ada", {"a": "b"})
    assert (await house.json("GET", path, 200, headers=visitor))["note"] is None
    await house.refused("PATCH", path, 403, "FORBIDDEN", headers=visitor, json={"note": "x"})
    stale = {**headers, "If-Match": '"old"'}
    await house.refused("PATCH", path, 412, "PRECONDITION_FAILED", headers=stale, json={"note": "y"})
    await house.refused("PATCH", path, 400, "INVALID_FORMAT", headers=headers, json={"assigned_to": "user_none"})
    assert [e.data["changed"] for e in house.events if e.name == "conversation.updated"] == [["note", "title"]]


async def test_a_conversation_ends_once(house: House) -> None:
    headers, bot = await owner(house)
    talk = (await talked(house, headers, bot, "Hello"))["conversation_id"]
    ended = await house.json("POST", f"{LIST}/{talk}/end", 200, headers=headers, json={"reason": "solved"})
    assert (ended["status"], ended["end_reason"], ended["summary"]) == ("ended", "solved", None)
    await house.refused("POST", f"{LIST}/{talk}/end", 409, "STATE_CONFLICT", headers=headers, json={})
    again = await talked(house, headers, bot, "Hello again")
    assert again["conversation_id"] != talk
    assert [e.name for e in house.events].count("conversation.ended") == 1


async def test_a_quiet_conversation_ends_by_itself(house: House) -> None:
    headers, bot = await owner(house)
    hasty = await house.published(headers, type="text", name="Hasty")
    patience = {"settings": {"idle_minutes": 5}}
    await house.json("PATCH", f"/api/v1/chatbots/{hasty['id']}", 200, headers=headers, json=patience)
    await house.json("POST", f"/api/v1/chatbots/{hasty['id']}/publish", 200, headers=headers, json={})
    third = (await talked(house, headers, hasty, "Hello", user_id="w"))["conversation_id"]
    first = (await talked(house, headers, bot, "Hello"))["conversation_id"]
    end = upkeep.ending_idle(house.deps.database, house.deps.bots, house.clock)
    house.clock.seconds += 29 * 60
    second = (await talked(house, headers, bot, "Hello", user_id="v"))["conversation_id"]
    job = DueJob({"id": "job_1", "organization_id": "", "payload": {}})
    assert await end(job) == {"ended": 1}
    house.clock.seconds += 2 * 60
    assert await end(job) == {"ended": 1}
    assert await end(job) == {"ended": 0}
    ended = [e.data for e in house.events if e.name == "conversation.ended"]
    assert [(data["conversation_id"], data["end_reason"]) for data in ended] == [(third, "idle"), (first, "idle")]
    headers = await house.login()
    assert (await house.json("GET", f"{LIST}/{second}", 200, headers=headers))["status"] == "open"


async def test_feedback_replaces_what_was_there(house: House) -> None:
    headers, bot = await owner(house)
    talk = await talked(house, headers, bot, "Hello")
    path = f"/api/v1/history/messages/{talk['message_id']}/feedback"
    up = await house.json("POST", path, 201, headers=headers, json={"rating": "up", "comment": "Thank you"})
    assert up == {"message_id": talk["message_id"], "rating": "up"}
    for score, thumb in ((1, "down"), (2, "down"), (3, "up"), (5, "up")):
        assert (await house.json("POST", path, 201, headers=headers, json={"score": score}))["rating"] == thumb
    for wrong in ({}, {"rating": "up", "score": 1}, {"score": 0}, {"score": 6}, {"rating": "sideways"}):
        await house.refused("POST", path, 400, "INVALID_FORMAT", headers=headers, json=wrong)
    conversation = await house.json("GET", f"{LIST}/{talk['conversation_id']}", 200, headers=headers)
    assert conversation["rating"] == "up"


def everything(folder: Path) -> bytes:
    """All that the house has on its disk."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_nothing_is_left_of_a_deleted_conversation(house: House) -> None:
    headers, bot = await owner(house, "voice")
    secret, kept = "xylophonquartett", "zitherabend"
    house.engine.text = f"You said {secret}."
    talk = await talked(house, headers, bot, f"My {secret}", client_message_id="m1", format="wav")
    house.engine.text = "Well."
    other = await talked(house, headers, bot, f"My {kept}", user_id="v", format="wav")
    note = {"note": f"likes {secret}", "tags": [secret]}
    path = f"{LIST}/{talk['conversation_id']}"
    await house.json("PATCH", path, 200, headers=headers, json=note)
    stream = await house.client.post(
        "/api/v1/chat-voice/stream", headers=headers, json={"chatbot_id": bot["id"], "user_id": "u", "message": secret}
    )
    events = await stream.text()
    streamed = json.loads(events.split("data: ", 1)[1].split("\n")[0])["message_id"]
    sounds = list((house.folder / "media").iterdir())
    await house.refused("DELETE", path, 403, "FORBIDDEN", headers=await house.member("editor", headers))
    assert await house.json("DELETE", path, 200, headers=headers) == {"id": talk["conversation_id"], "deleted": True}
    await due(house, TIDY, {}, headers)
    await house.refused("GET", path, 404, "RESOURCE_NOT_FOUND", headers=headers)
    gone = f"/api/v1/chat-voice/stream/{streamed}"
    await house.refused("GET", gone, 404, "RESOURCE_NOT_FOUND", headers=headers)
    assert await ids(house, headers, f"search={secret}") == set()
    assert await ids(house, headers, f"search={kept}") == {other["conversation_id"]}
    assert (len(sounds), len(list((house.folder / "media").iterdir()))) == (3, 1)
    assert [e.name for e in house.events].count("conversation.deleted") == 1
    left = everything(house.folder)
    assert secret.encode() not in left
    if house.deps.database.dialect == "sqlite":
        assert kept.encode() in left


@pytest.mark.parametrize("format", ["jsonl", "csv"])
async def test_an_export_is_a_file_with_a_line_for_each_message(house: House, format: str) -> None:
    headers, bot = await owner(house)
    talk = await talked(house, headers, bot, "=SUM(A1); write to ada@example.com or +49 30 1234567, order 12")
    await talked(house, headers, bot, "Not this one", user_id="v")
    body = {"format": format, "filters": {"user_id": ["u"]}, "redact_pii": True}
    job = await house.json("POST", "/api/v1/history/export", 201, headers=headers, json=body)
    assert (job["type"], job["status"]) == (EXPORT, "queued")
    await house.json("GET", f"/api/v1/maintenance/jobs/{job['id']}", 200, headers=headers)
    made = await due(house, EXPORT, body, headers)
    assert (made["conversations"], made["messages"]) == (1, 2)
    address = made["url"].removeprefix(house.deps.origin)
    async with house.client.get(address) as response:
        assert (response.status, response.content_type) == (200, "application/octet-stream")
        assert response.headers["Content-Disposition"] == f'attachment; filename="conversations.{format}"'
        text = (await response.read()).decode()
    if format == "jsonl":
        rows = [json.loads(line) for line in text.splitlines()]
        start = "=SUM"
    else:
        rows = list(csv.DictReader(io.StringIO(text)))
        start = "'=SUM"
    assert [row["role"] for row in rows] == ["user", "assistant"]
    assert rows[0]["content"] == f"{start}(A1); write to [email] or [number], order 12"
    assert rows[0]["conversation_id"] == talk["conversation_id"]
    house.clock.seconds += 24 * 3600 + 1
    async with house.client.get(address) as response:
        assert response.status == 404


async def test_a_live_conversation_that_was_ended_takes_no_more_questions(house: House) -> None:
    headers, bot = await owner(house)
    talk = await talked(house, headers, bot, "Hello")
    body = {"chatbot_id": bot["id"], "user_id": "u", "message": "More", "conversation_id": talk["conversation_id"]}
    await house.json("POST", f"{LIST}/{talk['conversation_id']}/end", 200, headers=headers, json={})
    await house.refused("POST", "/api/v1/chat-text/respond", 404, "RESOURCE_NOT_FOUND", headers=headers, json=body)
