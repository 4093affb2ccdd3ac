"""Setting a chatbot up step by step, and looking at its conversations while they go on."""

from typing import Any

import pytest

from api._kit.events import Event
from api.state import store
from api.state.live import KEPT_MS, LiveStates, keeping
from pipelines.ports import Conversation
from tests.contract.house import SITE, House

STEPS: dict[str, dict[str, Any]] = {
    "type": {},
    "purpose": {"purpose": "Help customers"},
    "knowledge": {"examples": [{"question": "Is it free?", "answer": "Yes."}]},
    "prompt": {"prompt": "You are Bea.", "greeting": "Hello!"},
    "avatar": {"avatar_id": "avatar_plain"},
    "voice": {"voice_id": "tone"},
    "appearance": {"theme": {"color": "#112233"}},
    "deploy": {"allowed_origins": [SITE], "note": "First"},
}


def done(state: dict[str, Any]) -> set[str]:
    return {step["name"] for step in state["setup"]["steps"] if step["status"] == "done"}


@pytest.mark.parametrize("type", ["3d", "text", "voice"])
async def test_a_chatbot_is_set_up_step_by_step_until_visitors_reach_it(house: House, type: str) -> None:
    headers = await house.owner()
    bot = await house.chatbot(headers, type=type)
    path = f"/api/v1/state-{type}/{bot['id']}"
    state = await house.json("GET", path, 200, headers=headers)
    assert (state["phase"], state["setup"]["current_step"], state["revision"]) == ("setup", "purpose", 0)
    for step in [step["name"] for step in state["setup"]["steps"]]:
        state = await house.json("PUT", f"{path}/steps/{step}", 200, headers=headers, json=STEPS[step])
        assert step in done(state)
    assert (state["phase"], state["setup"]["percent"], state["setup"]["current_step"]) == ("live", 100, None)
    made = await house.json("GET", f"/api/v1/chatbots/{bot['id']}", 200, headers=headers)
    assert (made["purpose"], made["settings"]["prompt"], made["status"]) == ("Help customers", "You are Bea.", "active")
    config = await house.json("GET", f"/api/v1/chatbots/{bot['id']}/config", 200, headers={"Origin": SITE})
    assert config["greeting"] == "Hello!"
    if type == "3d":
        assert config["avatar"]["id"] == "avatar_plain"


async def test_a_step_done_twice_is_done_once(house: House) -> None:
    headers = await house.owner()
    bot = await house.published(headers, purpose="Help")
    path = f"/api/v1/state-3d/{bot['id']}/steps"
    await house.json("PUT", f"{path}/prompt", 200, headers=headers, json=STEPS["prompt"])
    for _ in range(2):
        await house.json("PUT", f"{path}/deploy", 200, headers=headers, json={})
    listed = await house.json("GET", f"/api/v1/chatbots/{bot['id']}/versions", 200, headers=headers)
    assert listed["pagination"]["total_items"] == 2


async def test_deploying_waits_for_what_is_required(house: House) -> None:
    headers = await house.owner()
    bot = await house.chatbot(headers)
    path = f"/api/v1/state-3d/{bot['id']}/steps/deploy"
    error = await house.refused("PUT", path, 409, "STATE_CONFLICT", headers=headers, json=STEPS["deploy"])
    assert error["missing"] == ["purpose", "prompt"]
    assert (await house.json("GET", f"/api/v1/chatbots/{bot['id']}", 200, headers=headers))["allowed_origins"] == []


async def test_what_is_optional_may_be_skipped_and_done_later(house: House) -> None:
    headers = await house.owner()
    bot = await house.chatbot(headers)
    path = f"/api/v1/state-3d/{bot['id']}/steps"
    await house.refused("PUT", f"{path}/prompt", 409, "STATE_CONFLICT", headers=headers, json={"skip": True})
    state = await house.json("PUT", f"{path}/knowledge", 200, headers=headers, json={"skip": True})
    assert {s["name"]: s["status"] for s in state["setup"]["steps"]}["knowledge"] == "skipped"
    state = await house.json("PUT", f"{path}/knowledge", 200, headers=headers, json=STEPS["knowledge"])
    assert ("knowledge" in done(state), state["revision"]) == (True, 2)


@pytest.mark.parametrize(
    ("step", "payload", "status", "code"),
    [
        ("purpose", {"prompt": "You are Bea."}, 400, "INVALID_FORMAT"),
        ("purpose", {}, 400, "MISSING_FIELD"),
        ("avatar", {"avatar_id": "avatar_unknown"}, 400, "INVALID_FORMAT"),
        ("type", {"type": "text"}, 409, "STATE_CONFLICT"),
        ("dance", {}, 404, "RESOURCE_NOT_FOUND"),
    ],
)
async def test_a_step_takes_what_is_its_own(
    house: House, step: str, payload: dict[str, Any], status: int, code: str
) -> None:
    headers = await house.owner()
    path = f"/api/v1/state-3d/{(await house.chatbot(headers))['id']}/steps/{step}"
    await house.refused("PUT", path, status, code, headers=headers, json=payload)


async def test_a_presentation_is_patched_and_set_back(house: House) -> None:
    headers = await house.owner()
    bot = await house.chatbot(headers)
    path = f"/api/v1/state-3d/{bot['id']}"
    async with house.client.get(path, headers=headers) as response:
        etag = response.headers["ETag"]
    conditional = {**headers, "If-Match": etag}
    body = {"avatar_id": "avatar_plain", "camera": {"framing": "face"}, "quality": "low"}
    state = await house.json("PATCH", path, 200, headers=conditional, json=body)
    assert (state["presentation"]["avatar_id"], state["presentation"]["camera"]) == (
        "avatar_plain",
        {"framing": "face"},
    )
    await house.refused("PATCH", path, 412, "PRECONDITION_FAILED", headers=conditional, json=body)
    state = await house.json("PATCH", path, 200, headers=headers, json={"camera": None})
    assert (state["presentation"]["camera"]["framing"], state["presentation"]["quality"]) == ("bust", "low")
    assert (await house.json("GET", f"/api/v1/chatbots/{bot['id']}", 200, headers=headers))[
        "avatar_id"
    ] == "avatar_plain"
    assert [event.name for event in house.events].count("state.updated") == 2
    await house.json("PATCH", f"/api/v1/chatbots/{bot['id']}", 200, headers=headers, json={"allowed_origins": [SITE]})
    await house.json("POST", f"/api/v1/chatbots/{bot['id']}/publish", 200, headers=headers)
    config = await house.json("GET", f"/api/v1/chatbots/{bot['id']}/config", 200, headers={"Origin": SITE})
    assert config["presentation"] == {"quality": "low"}


async def test_another_types_row_does_not_answer(house: House) -> None:
    headers = await house.owner()
    bot = await house.chatbot(headers)
    error = await house.refused("GET", f"/api/v1/state-text/{bot['id']}", 409, "STATE_CONFLICT", headers=headers)
    assert "state-3d" in error["details"]


async def test_a_conversation_is_seen_by_its_visitor_and_the_members_alone(house: House) -> None:
    headers = await house.owner()
    bot = await house.published(headers)
    visitor, other = await house.visitor(bot["id"]), await house.visitor(bot["id"])
    said = {"chatbot_id": bot["id"], "message": "Hello"}
    talk = (await house.json("POST", "/api/v1/chat-3d/respond", 200, headers=visitor, json=said))["conversation_id"]
    path = f"/api/v1/state-3d/{bot['id']}/sessions/{talk}"
    live = await house.json("GET", path, 200, headers=visitor)
    assert (live["status"], live["avatar_id"]) == ("idle", "avatar_female_01")
    assert live["seq"] >= 2
    assert (await house.json("GET", f"{path}?after_seq={live['seq']}", 200, headers=headers))["changed"] is False
    await house.refused("GET", path, 404, "RESOURCE_NOT_FOUND", headers=other)


async def test_what_the_socket_shows_is_there_for_a_second_tab(house: House) -> None:
    headers = await house.owner()
    bot = await house.published(headers)
    tenant = (await house.deps.tokens.verify(headers["Authorization"].split()[1])).organization_id
    talk = Conversation("conv_1", tenant, bot["id"], "user_1", "3d")
    house.deps.live.show(talk, {"status": "speaking"})
    house.deps.live.show(talk, {"emotion": "joy"})
    path = f"/api/v1/state-3d/{bot['id']}/sessions/conv_1"
    live = await house.json("GET", path, 200, headers=headers)
    assert (live["status"], live["emotion"], live["seq"], live["user_id"]) == ("speaking", "joy", 2, "user_1")
    house.clock.seconds += KEPT_MS / 1000
    await house.refused("GET", path, 404, "RESOURCE_NOT_FOUND", headers=await house.login())


async def test_what_is_not_known_here_is_not_written_over_what_is_kept(house: House) -> None:
    headers = await house.owner()
    bot = await house.published(headers)
    visitor = await house.visitor(bot["id"])
    said = {"chatbot_id": bot["id"], "message": "Hello"}
    talk = (await house.json("POST", "/api/v1/chat-3d/respond", 200, headers=visitor, json=said))["conversation_id"]
    await house.json("POST", f"/api/v1/history/conversations/{talk}/end", 200, headers=visitor, json={})
    ended = next(event for event in house.events if event.name == "conversation.ended")
    assert isinstance(house.deps.live, LiveStates)
    for live in (house.deps.live, LiveStates(house.clock)):
        await keeping(house.deps.database, live)(ended)
    async with house.deps.database.view(ended.organization_id) as tx:
        kept = await store.find_session(tx, talk)
    assert kept
    assert kept["seq"] > 0


async def test_what_was_shown_goes_with_its_conversation(house: House) -> None:
    headers = await house.owner()
    bot = await house.published(headers)
    visitor = await house.visitor(bot["id"])
    said = {"chatbot_id": bot["id"], "message": "Hello"}
    talk = (await house.json("POST", "/api/v1/chat-3d/respond", 200, headers=visitor, json=said))["conversation_id"]
    path = f"/api/v1/history/conversations/{talk}"
    await house.json("POST", f"{path}/end", 200, headers=visitor, json={})
    ended = next(event for event in house.events if event.name == "conversation.ended")
    assert isinstance(house.deps.live, LiveStates)
    await keeping(house.deps.database, house.deps.live)(ended)
    await house.json("DELETE", path, 200, headers=headers)
    for _ in range(2):
        async with house.deps.database.view(ended.organization_id) as tx:
            assert await store.find_session(tx, talk) is None
        await keeping(house.deps.database, house.deps.live)(ended)


async def test_what_was_shown_at_the_end_is_kept(house: House) -> None:
    headers = await house.owner()
    bot = await house.published(headers)
    visitor = await house.visitor(bot["id"])
    said = {"chatbot_id": bot["id"], "message": "Hello"}
    talk = (await house.json("POST", "/api/v1/chat-3d/respond", 200, headers=visitor, json=said))["conversation_id"]
    await house.json("POST", f"/api/v1/history/conversations/{talk}/end", 200, headers=visitor, json={})
    path = f"/api/v1/state-3d/{bot['id']}/sessions/{talk}"
    assert (await house.json("GET", path, 200, headers=visitor))["status"] == "ended"
    ended = next(event for event in house.events if event.name == "conversation.ended")
    assert isinstance(house.deps.live, LiveStates)
    for event in (ended, Event(ended.name, ended.organization_id, ended.data, ended.id, ended.key, ended.created_at)):
        await keeping(house.deps.database, house.deps.live)(event)
    house.clock.seconds += KEPT_MS / 1000
    assert (await house.json("GET", path, 200, headers=await house.login()))["status"] == "ended"
