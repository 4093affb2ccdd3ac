"""The golden transcript: one client's way through the API, in order and to the letter."""

import asyncio
import re
from typing import Any

from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator

from tests.contract.house import PASSWORD, House, bearer

ENVELOPE = {"code", "message", "details", "timestamp", "request_id"}
LOGIN = ["access_token", "token_type", "expires_in", "user_id"]


async def test_the_golden_transcript(house: House) -> None:
    """Uploads and webhooks have transcripts of their own."""
    user_id = await house.register(tier="starter")
    person = {"email": "user@example.com", "password": PASSWORD}
    login = await house.json("POST", "/api/v1/auth/login", 200, json=person)
    assert list(login) == LOGIN
    assert login["access_token"].startswith("eyJ")
    assert {**login, "access_token": ""} == {
        "access_token": "",
        "token_type": "Bearer",
        "expires_in": 3600,
        "user_id": user_id,
    }
    old = bearer(login["access_token"])

    async with house.client.get("/api/v1/users/me", headers=old) as response:
        assert response.status == 200
        said = response.headers
        assert (said["X-RateLimit-Limit"], said["X-RateLimit-Remaining"], said["API-Version"]) == ("120", "119", "v1")
        assert int(said["X-RateLimit-Reset"]) % 60 == 0
        assert said["X-Request-ID"].startswith("req_")
        assert (await response.json())["id"] == user_id

    renewed = await house.json("POST", "/api/v1/auth/refresh", 200, headers=old)
    assert list(renewed) == LOGIN
    assert renewed["access_token"] != login["access_token"]
    await house.json("GET", "/api/v1/users/me", 200, headers=old)
    house.clock.seconds += 31
    await house.refused("GET", "/api/v1/users/me", 401, "INVALID_TOKEN", headers=old)
    me = bearer(renewed["access_token"])

    sample = {"name": "Support Bot", "type": "3d", "avatar_id": "avatar_female_01", "language": "en-US"}
    bot = await house.json("POST", "/api/v1/chatbots/create", 201, headers=me, json=sample)
    assert re.fullmatch(r"cb_\w+", bot["id"])
    assert {name: bot[name] for name in (*sample, "status")} == {**sample, "status": "draft"}
    assert "chatbot.created" in [event.name for event in house.events]
    short = {"name": "Support Bot", "type": "3d"}
    error = await house.refused("POST", "/api/v1/chatbots/create", 409, "DUPLICATE_RESOURCE", headers=me, json=short)
    assert set(error) == ENVELOPE
    other = await house.json("POST", "/api/v1/chatbots/create", 201, headers=me, json={**short, "name": "Sales Bot"})
    assert other["avatar_id"] == "avatar_female_01"

    question = {"chatbot_id": bot["id"], "message": "Hello, how can you help me?"}
    answer = await house.json(
        "POST", "/api/v1/chat-3d/respond", 200, headers=me, json={**question, "user_id": "test_user"}
    )
    assert re.fullmatch(r"msg_\w+", answer["message_id"])
    assert re.fullmatch(r"conv_\w+", answer["conversation_id"])
    assert (answer["chatbot_id"], answer["user_id"], answer["citations"]) == (bot["id"], "test_user", [])
    assert answer["response"]
    assert answer["audio"]
    assert answer["lipsync"]
    assert "conversation.started" in [event.name for event in house.events]
    anonymous = await house.json("POST", "/api/v1/chat-3d/respond", 200, headers=me, json=question)
    assert anonymous["user_id"].startswith("anonymous_")

    await house.refused("GET", "/api/v1/chatbots?limit=101", 400, "INVALID_FORMAT", headers=me)
    stranger = await house.owner("other@example.com")
    theirs = await house.chatbot(stranger)
    path = f"/api/v1/chatbots/{theirs['id']}"
    await house.refused("GET", path, 404, "RESOURCE_NOT_FOUND", headers=me)

    assert await house.json("POST", "/api/v1/auth/logout", 200, headers=me) == {"message": "Logged out"}
    await house.refused("GET", "/api/v1/users/me", 401, "INVALID_TOKEN", headers=me)


async def test_the_second_of_eight_pages(house: House) -> None:
    """A hundred and fifty chatbots, twenty a page."""
    me = await house.owner()
    for start in range(0, 150, 25):
        await asyncio.gather(
            *(house.chatbot(me, name=f"Bot {number}", type="text") for number in range(start, start + 25))
        )
    page = await house.json("GET", "/api/v1/chatbots?page=2&limit=20", 200, headers=me)
    assert list(page) == ["data", "pagination"]
    assert len(page["data"]) == 20
    assert page["pagination"] == {
        "page": 2,
        "limit": 20,
        "total_items": 150,
        "total_pages": 8,
        "has_next": True,
        "has_prev": True,
    }


async def test_the_121st_call_of_a_minute(house: House) -> None:
    """Sixty seconds are left when the minute begins."""
    house.clock.seconds -= house.clock.seconds % 60
    me = await house.owner(tier="starter")
    house.clock.seconds += 60
    for _ in range(120):
        async with house.client.get("/api/v1/users/me", headers=me) as response:
            assert response.status == 200
    async with house.client.get("/api/v1/users/me", headers=me) as response:
        error: dict[str, Any] = (await response.json())["error"]
        assert (response.status, response.headers["Retry-After"]) == (429, "60")
    assert set(error) == ENVELOPE | {"retry_after", "limit", "reset_at"}
    assert error["message"] == "Rate limit exceeded. Please retry after 60 seconds."
    assert (error["code"], error["retry_after"], error["limit"]) == ("RATE_LIMIT_EXCEEDED", 60, 120)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:00Z", error["reset_at"])


async def test_what_needs_no_token(house: House) -> None:
    """Health, and both forms of the document."""
    await house.json("GET", "/health", 200)
    OpenAPIV30SpecValidator(await house.json("GET", "/openapi.json", 200)).validate()
    OpenAPIV31SpecValidator(await house.json("GET", "/openapi.json?version=3.1", 200)).validate()
