"""Signing in and out, and the tokens of visitors."""

import pytest
from sqlalchemy import update

from api._kit.store import PLATFORM
from api.users.store import memberships
from tests.contract.house import ORIGIN, PASSWORD, SITE, House


async def test_an_address_registers_once_whatever_its_case(house: House) -> None:
    await house.register("User@Example.com")
    body = {"email": "user@example.com", "password": PASSWORD, "name": "B", "accept_terms": True}
    await house.refused("POST", "/api/v1/auth/register", 409, "DUPLICATE_RESOURCE", json=body)


@pytest.mark.parametrize(
    ("field", "value"),
    [("email", "not an address"), ("password", "short"), ("password", "password123"), ("accept_terms", False)],
)
async def test_a_registration_that_will_not_do_is_refused_by_field(house: House, field: str, value: object) -> None:
    body = {"email": "user@example.com", "password": PASSWORD, "name": "A", "accept_terms": True, field: value}
    error = await house.refused("POST", "/api/v1/auth/register", 400, "INVALID_FORMAT", json=body)
    assert [problem["field"] for problem in error["fields"]] == [field]


async def test_terms_must_be_accepted_in_so_many_words(house: House) -> None:
    body = {"email": "user@example.com", "password": PASSWORD, "name": "A"}
    await house.refused("POST", "/api/v1/auth/register", 400, "MISSING_FIELD", json=body)


async def test_a_wrong_password_and_an_unknown_person_look_the_same(house: House) -> None:
    await house.register()
    wrong, unknown = [
        await house.refused(
            "POST", "/api/v1/auth/login", 401, "INVALID_CREDENTIALS", json={"email": email, "password": "wrong"}
        )
        for email in ("user@example.com", "nobody@example.com")
    ]
    assert {**wrong, "request_id": ""} == {**unknown, "request_id": ""}


async def test_a_short_password_may_sign_in_but_not_register(house: House) -> None:
    await house.refused(
        "POST", "/api/v1/auth/login", 401, "INVALID_CREDENTIALS", json={"email": "a@example.com", "password": "pass123"}
    )


async def test_a_suspended_member_cannot_sign_in_or_refresh(house: House) -> None:
    headers = await house.owner()
    async with house.deps.database.uow(PLATFORM) as tx:
        await tx.run(update(memberships).values(status="suspended"))
        await tx.commit()
    body = {"email": "user@example.com", "password": PASSWORD}
    await house.refused("POST", "/api/v1/auth/login", 401, "INVALID_CREDENTIALS", json=body)
    await house.refused("POST", "/api/v1/auth/refresh", 401, "INVALID_TOKEN", headers=headers)


async def test_a_refreshed_token_leaves_the_old_one_half_a_minute(house: House) -> None:
    old = await house.owner()
    grant = await house.json("POST", "/api/v1/auth/refresh", 200, headers=old)
    assert list(grant) == ["access_token", "token_type", "expires_in", "user_id"]
    await house.json("GET", "/api/v1/users/me", 200, headers=old)
    await house.clock.sleep(30)
    await house.refused("GET", "/api/v1/users/me", 401, "INVALID_TOKEN", headers=old)
    new = {"Authorization": f"Bearer {grant['access_token']}"}
    await house.json("GET", "/api/v1/users/me", 200, headers=new)


async def test_logging_out_refuses_the_token_at_once(house: House) -> None:
    headers, other = await house.owner(), await house.login()
    assert await house.json("POST", "/api/v1/auth/logout", 200, headers=headers) == {"message": "Logged out"}
    await house.refused("GET", "/api/v1/users/me", 401, "INVALID_TOKEN", headers=headers)
    await house.json("GET", "/api/v1/users/me", 200, headers=other)
    assert "user.logout" in [event.name for event in house.events]


async def test_logging_out_everywhere_refuses_every_token(house: House) -> None:
    headers, other = await house.owner(), await house.login()
    await house.json("POST", "/api/v1/auth/logout", 200, headers=headers, json={"all_sessions": True})
    await house.refused("GET", "/api/v1/users/me", 401, "INVALID_TOKEN", headers=other)
    await house.json("GET", "/api/v1/users/me", 200, headers=await house.login())


async def test_a_new_password_ends_all_sessions(house: House) -> None:
    headers = await house.owner()
    body = {"current_password": PASSWORD, "new_password": "another long sentence"}
    await house.json("PATCH", "/api/v1/users/me", 200, headers=headers, json=body)
    await house.refused("GET", "/api/v1/users/me", 401, "INVALID_TOKEN", headers=headers)
    login = {"email": "user@example.com", "password": "another long sentence"}
    await house.json("POST", "/api/v1/auth/login", 200, json=login)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"new_password": "another long sentence"}, 400, "MISSING_FIELD"),
        ({"new_password": "another long sentence", "current_password": "wrong"}, 401, "INVALID_CREDENTIALS"),
        ({"new_password": "short", "current_password": PASSWORD}, 400, "INVALID_FORMAT"),
        ({"phone": "12345"}, 400, "INVALID_FORMAT"),
        ({"timezone": "Mars/Olympus"}, 400, "INVALID_FORMAT"),
    ],
)
async def test_a_change_of_profile_that_will_not_do_is_refused(
    house: House, body: dict[str, str], status: int, code: str
) -> None:
    await house.refused("PATCH", "/api/v1/users/me", status, code, headers=await house.owner(), json=body)


async def test_a_profile_is_changed_field_by_field(house: House) -> None:
    headers = await house.owner()
    body = {"phone": "+1234567890", "timezone": "Europe/Berlin"}
    changed = await house.json("PATCH", "/api/v1/users/me", 200, headers=headers, json=body)
    assert (changed["phone"], changed["timezone"], changed["name"]) == ("+1234567890", "Europe/Berlin", "Ada")
    assert await house.json("GET", "/api/v1/users/me", 200, headers=headers) == changed


async def test_a_visitor_of_an_allowed_website_gets_a_token(house: House) -> None:
    bot = await house.published(await house.owner())
    visitor = await house.visitor(bot["id"])
    principal = await house.deps.tokens.verify(visitor["Authorization"].split()[1])
    assert (principal.chatbot_id, principal.origin, principal.user_id[:10]) == (bot["id"], SITE, "anonymous_")


@pytest.mark.parametrize("origin", ["https://evil.example", ORIGIN, "null", None])
async def test_another_website_gets_no_token(house: House, origin: str | None) -> None:
    bot = await house.published(await house.owner())
    headers = {"Origin": origin} if origin else {}
    await house.refused(
        "POST",
        "/api/v1/auth/visitor-token",
        403,
        "ORIGIN_NOT_ALLOWED",
        headers=headers,
        json={"chatbot_id": bot["id"]},
    )


async def test_a_returning_visitor_stays_the_same_and_finds_the_conversation(house: House) -> None:
    bot = await house.published(await house.owner(), type="text")
    visitor = await house.visitor(bot["id"])
    said = {"chatbot_id": bot["id"], "message": "Hello"}
    answer = await house.json("POST", "/api/v1/chat-text/respond", 200, headers=visitor, json=said)
    again = await house.json(
        "POST",
        "/api/v1/auth/visitor-token",
        201,
        headers={"Origin": SITE},
        json={"chatbot_id": bot["id"], "visitor_id": answer["user_id"]},
    )
    assert (again["user_id"], again["conversation_id"]) == (answer["user_id"], answer["conversation_id"])


async def test_a_visitor_of_an_unpublished_chatbot_is_asked_to_come_back(house: House) -> None:
    headers = await house.owner()
    bot = await house.chatbot(headers)
    path = f"/api/v1/chatbots/{bot['id']}"
    await house.json("PATCH", path, 200, headers=headers, json={"allowed_origins": [SITE]})
    await house.refused(
        "POST",
        "/api/v1/auth/visitor-token",
        503,
        "CHATBOT_UNAVAILABLE",
        headers={"Origin": SITE},
        json={"chatbot_id": bot["id"]},
    )


async def test_a_visitors_token_is_worth_nothing_on_another_website(house: House) -> None:
    bot = await house.published(await house.owner(), type="text")
    visitor = {**await house.visitor(bot["id"]), "Origin": "https://evil.example"}
    await house.refused("GET", "/api/v1/history/conversations", 403, "ORIGIN_NOT_ALLOWED", headers=visitor)
