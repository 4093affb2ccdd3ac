"""The samples of the API overview, as a newcomer would send them."""

from tests.contract.house import PASSWORD, House


async def test_the_way_from_registering_to_talking_works_as_documented(house: House) -> None:
    await house.register(tier="free_trial")
    login = await house.json(
        "POST", "/api/v1/auth/login", 200, json={"email": "user@example.com", "password": PASSWORD}
    )
    assert list(login) == ["access_token", "token_type", "expires_in", "user_id"]
    assert (login["token_type"], login["expires_in"]) == ("Bearer", 3600)
    headers = {"Authorization": f"Bearer {login['access_token']}"}
    me = await house.json("GET", "/api/v1/users/me", 200, headers=headers)
    assert (me["id"], me["organization"]["tier"]) == (login["user_id"], "free_trial")
    bot = await house.json(
        "POST",
        "/api/v1/chatbots/create",
        201,
        headers=headers,
        json={"name": "Support Bot", "type": "3d", "avatar_id": "avatar_female_01", "language": "en-US"},
    )
    assert bot["status"] == "draft"
    answer = await house.json(
        "POST",
        "/api/v1/chat-3d/respond",
        200,
        headers=headers,
        json={"chatbot_id": bot["id"], "message": "Hello, how can you help me?", "user_id": "test_user"},
    )
    assert (answer["user_id"], answer["response"]) == ("test_user", "Hello, I can help you.")
    assert answer["lipsync"]["cues"] == [{"t": 0, "d": 100, "v": "aa", "w": 0.8}]
    started = [event for event in house.events if event.name == "conversation.started"]
    assert list(started[0].data) == ["conversation_id", "chatbot_id", "user_id", "started_at"]


async def test_a_message_without_a_user_is_an_anonymous_ones(house: House) -> None:
    headers = await house.owner()
    bot = await house.chatbot(headers)
    answer = await house.json(
        "POST", "/api/v1/chat-3d/respond", 200, headers=headers, json={"chatbot_id": bot["id"], "message": "Hello"}
    )
    assert answer["user_id"].startswith("anonymous_")


async def test_the_head_of_a_resource_is_answered(house: House) -> None:
    headers = await house.owner()
    async with house.client.head("/api/v1/users/me", headers=headers) as response:
        assert response.status == 200
        assert response.headers["API-Version"] == "v1"
        assert response.headers["X-Request-ID"].startswith("req_")
