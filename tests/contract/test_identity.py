"""Visitors whom their website has identified."""

import hashlib
import hmac
from typing import Any

import jwt
import pytest

from tests.contract.house import SITE, House

PATH = "/api/v1/auth/visitor-token"


async def bot_with(house: House, mode: str) -> tuple[dict[str, str], str, str]:
    """The owner, the id of a published chatbot, and its identity secret."""
    owner = await house.owner()
    bot = await house.published(owner)
    await house.json("PATCH", f"/api/v1/chatbots/{bot['id']}", 200, headers=owner, json={"identity_mode": mode})
    principal = await house.deps.tokens.verify(owner["Authorization"].split()[1])
    return owner, bot["id"], await house.deps.identities.secret(principal.organization_id, bot["id"])


def word(house: House, secret: str, bot: str, **claims: Any) -> str:
    """A website's word for who its visitor is; a claim of None is left out."""
    said = {"sub": "customer-42", "chatbot_id": bot, "exp": int(house.clock.now()) + 300, **claims}
    return jwt.encode({name: value for name, value in said.items() if value is not None}, secret, "HS256")


async def greeted(house: House, chatbot_id: str, **more: Any) -> Any:
    return await house.json("POST", PATH, 201, headers={"Origin": SITE}, json={"chatbot_id": chatbot_id, **more})


async def turned_away(house: House, chatbot_id: str, **more: Any) -> None:
    body = {"chatbot_id": chatbot_id, **more}
    await house.refused("POST", PATH, 401, "INVALID_TOKEN", headers={"Origin": SITE}, json=body)


async def test_a_visitor_is_who_the_website_signs_for(house: House) -> None:
    _, chatbot_id, secret = await bot_with(house, "optional")
    grant = await greeted(house, chatbot_id, identity_token=word(house, secret, chatbot_id))
    assert (grant["user_id"], grant["verified"]) == ("customer-42", True)
    principal = await house.deps.tokens.verify(grant["access_token"])
    assert principal.user_id == "customer-42"


async def test_a_visitor_is_who_the_websites_hash_says(house: House) -> None:
    _, chatbot_id, secret = await bot_with(house, "required")
    right = hmac.new(secret.encode(), b"customer-42", hashlib.sha256).hexdigest()
    grant = await greeted(house, chatbot_id, user_id="customer-42", user_hash=right.upper())
    assert (grant["user_id"], grant["verified"]) == ("customer-42", True)
    await turned_away(house, chatbot_id, user_id="customer-43", user_hash=right)


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None},
        {"sub": None},
        {"sub": 42},
        {"sub": ""},
        {"sub": "anonymous_0123456789abcdef"},
        {"sub": "user_01JD0000000000000000000000"},
        {"sub": "x" * 65},
        {"sub": "a b"},
        {"chatbot_id": None},
        {"chatbot_id": "cb_other"},
        {"exp": 1_764_000_000 - 31},
        {"exp": 1_764_000_000 + 3600},
        {"exp": "soon"},
        {"nbf": 1_764_000_000 + 300},
    ],
)
async def test_a_word_that_will_not_do_is_refused(house: House, claims: dict[str, Any]) -> None:
    _, chatbot_id, secret = await bot_with(house, "optional")
    await turned_away(house, chatbot_id, identity_token=word(house, secret, chatbot_id, **claims))


async def test_a_word_with_another_signature_is_refused(house: House) -> None:
    _, chatbot_id, secret = await bot_with(house, "optional")
    await turned_away(house, chatbot_id, identity_token=word(house, "x" * 40, chatbot_id))
    header = {"alg": "none"}
    unsigned = jwt.encode({"sub": "customer-42", "chatbot_id": chatbot_id}, None, "none", headers=header)
    await turned_away(house, chatbot_id, identity_token=unsigned)
    await turned_away(house, chatbot_id, identity_token=word(house, secret, chatbot_id)[:-2])


async def test_a_websites_word_opens_nothing_but_a_visitors_token(house: House) -> None:
    _, chatbot_id, secret = await bot_with(house, "optional")
    headers = {"Authorization": f"Bearer {word(house, secret, chatbot_id)}"}
    await house.refused("GET", "/api/v1/users/me", 401, "INVALID_TOKEN", headers=headers)


async def test_who_is_not_identified_is_anonymous_or_asked_to_sign_in(house: House) -> None:
    owner, chatbot_id, secret = await bot_with(house, "optional")
    grant = await greeted(house, chatbot_id)
    assert (grant["user_id"][:10], grant["verified"]) == ("anonymous_", False)
    path = f"/api/v1/chatbots/{chatbot_id}"
    await house.json("PATCH", path, 200, headers=owner, json={"identity_mode": "required"})
    await turned_away(house, chatbot_id)
    await house.json("PATCH", path, 200, headers=owner, json={"identity_mode": "off"})
    ignored = await greeted(house, chatbot_id, identity_token=word(house, secret, chatbot_id))
    assert (ignored["user_id"][:10], ignored["verified"]) == ("anonymous_", False)


async def test_a_new_secret_counts_at_once_and_the_old_one_for_a_day(house: House) -> None:
    owner, chatbot_id, old = await bot_with(house, "optional")
    path = "/api/v1/auth/identity-secret"
    made = await house.json("POST", path, 201, headers=owner, json={"chatbot_id": chatbot_id})
    assert (made["chatbot_id"], made["previous_until"]) == (chatbot_id, "2025-11-25T16:00:00Z")
    for secret in (made["identity_secret"], old):
        await greeted(house, chatbot_id, identity_token=word(house, secret, chatbot_id))
    await house.clock.sleep(24 * 3600)
    await greeted(house, chatbot_id, identity_token=word(house, made["identity_secret"], chatbot_id))
    await turned_away(house, chatbot_id, identity_token=word(house, old, chatbot_id))


async def test_where_a_visitor_is_and_what_was_agreed_to_is_said_with_the_start(house: House) -> None:
    _, chatbot_id, _ = await bot_with(house, "off")
    await greeted(house, chatbot_id, page_url="https://shop.example/cart", consent=True, locale="de-DE")
    said = [event.data for event in house.events if event.name == "visitor.started"][-1]
    assert (said["page_url"], said["consent"], said["verified"]) == ("https://shop.example/cart", True, False)


async def test_a_hash_without_a_name_is_refused(house: House) -> None:
    body = {"chatbot_id": "cb_1", "user_hash": "0" * 64}
    await house.refused("POST", PATH, 400, "INVALID_FORMAT", headers={"Origin": SITE}, json=body)


async def test_the_secret_is_shown_to_admins_only(house: House) -> None:
    owner, chatbot_id, secret = await bot_with(house, "optional")
    path = f"/api/v1/chatbots/{chatbot_id}/embed"
    assert (await house.json("GET", path, 200, headers=owner))["identity_secret"] == secret
    editor = await house.member("editor", owner)
    assert (await house.json("GET", path, 200, headers=editor))["identity_secret"] is None
