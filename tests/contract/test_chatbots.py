"""Chatbots from draft to website."""

import re

import pytest

from api.chatbots import store
from tests.contract.house import ORIGIN, SITE, House


async def test_a_new_3d_chatbot_has_an_avatar_a_voice_and_a_prompt(house: House) -> None:
    bot = await house.chatbot(await house.owner(), purpose="Sell shoes.")
    assert (bot["avatar_id"], bot["voice_id"], bot["language"]) == ("avatar_female_01", "tone", "en-US")
    found = await house.deps.bots.find(bot["id"])
    assert found is not None
    assert "Support Bot" in found.prompt
    assert "Sell shoes" in found.prompt


async def test_a_name_is_taken_once_in_an_organisation(house: House) -> None:
    headers = await house.owner()
    await house.chatbot(headers)
    body = {"name": "Support Bot", "type": "text"}
    await house.refused("POST", "/api/v1/chatbots", 409, "DUPLICATE_RESOURCE", headers=headers, json=body)
    await house.chatbot(await house.owner("other@example.com"))


@pytest.mark.parametrize(
    ("field", "value"),
    [("type", "4d"), ("avatar_id", "avatar_unknown"), ("voice_id", "voice_unknown"), ("language", "?"), ("name", " ")],
)
async def test_a_chatbot_of_unknown_parts_is_refused_by_field(house: House, field: str, value: str) -> None:
    body = {"name": "Support Bot", "type": "3d", field: value}
    error = await house.refused(
        "POST", "/api/v1/chatbots", 400, "INVALID_FORMAT", headers=await house.owner(), json=body
    )
    assert [problem["field"] for problem in error["fields"]] == [field]


async def test_a_language_that_no_voice_speaks_is_a_warning(house: House) -> None:
    bot = await house.chatbot(await house.owner(), language="de-DE")
    assert bot["voice_id"] is None
    assert "de-DE" in bot["warnings"][0]


async def test_lists_come_in_pages_with_links(house: House) -> None:
    headers = await house.owner()
    for number in range(5):
        await house.chatbot(headers, name=f"Bot {number}")
    async with house.client.get("/api/v1/chatbots?page=2&limit=2&sort_by=name&order=asc", headers=headers) as response:
        listed = await response.json()
        link = response.headers["Link"]
    assert [bot["name"] for bot in listed["data"]] == ["Bot 2", "Bot 3"]
    assert listed["pagination"] == {
        "page": 2, "limit": 2, "total_items": 5, "total_pages": 3, "has_next": True, "has_prev": True,
    }  # fmt: skip
    assert re.findall(r"page=(\d)[^>]*>; rel=\"(\w+)\"", link) == [
        ("1", "first"), ("3", "last"), ("3", "next"), ("1", "prev"),
    ]  # fmt: skip


async def test_a_page_past_the_end_is_empty(house: House) -> None:
    listed = await house.json("GET", "/api/v1/chatbots?page=9", 200, headers=await house.owner())
    assert (listed["data"], listed["pagination"]["has_next"]) == ([], False)


@pytest.mark.parametrize(
    "query", ["limit=101", "limit=0", "page=0", "sort_by=color", "order=up", "type=3d,4d", "search="]
)
async def test_a_query_out_of_bounds_is_refused(house: House, query: str) -> None:
    await house.refused("GET", f"/api/v1/chatbots?{query}", 400, "INVALID_FORMAT", headers=await house.owner())


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("type=3d", ["Ada"]),
        ("type=3d,text", ["Ada", "Bob"]),
        ("status=active", []),
        ("search=bO", ["Bob"]),
        ("search=%25", []),
        ("created_after=2100-01-01T00:00:00Z", []),
    ],
)
async def test_lists_are_filtered(house: House, query: str, names: list[str]) -> None:
    headers = await house.owner()
    await house.chatbot(headers, name="Ada")
    await house.chatbot(headers, name="Bob", type="text")
    listed = await house.json("GET", f"/api/v1/chatbots?sort_by=name&order=asc&{query}", 200, headers=headers)
    assert [bot["name"] for bot in listed["data"]] == names


async def test_settings_are_changed_one_by_one(house: House) -> None:
    headers = await house.owner()
    path = f"/api/v1/chatbots/{(await house.chatbot(headers))['id']}"
    await house.json("PATCH", path, 200, headers=headers, json={"settings": {"prompt": "You are Ada."}})
    bot = await house.json("PATCH", path, 200, headers=headers, json={"settings": {"greeting": "Hello!"}})
    assert (bot["settings"]["prompt"], bot["settings"]["greeting"]) == ("You are Ada.", "Hello!")


async def test_a_change_of_something_that_has_changed_is_refused(house: House) -> None:
    headers = await house.owner()
    path = f"/api/v1/chatbots/{(await house.chatbot(headers))['id']}"
    async with house.client.get(path, headers=headers) as response:
        etag = response.headers["ETag"]
    conditional = {**headers, "If-Match": etag}
    await house.json("PATCH", path, 200, headers=conditional, json={"name": "Ada"})
    await house.refused("PATCH", path, 412, "PRECONDITION_FAILED", headers=conditional, json={"name": "Bob"})


async def test_what_the_client_has_is_not_sent_again(house: House) -> None:
    headers = await house.owner()
    path = f"/api/v1/chatbots/{(await house.chatbot(headers))['id']}"
    async with house.client.get(path, headers=headers) as response:
        etag = response.headers["ETag"]
    async with house.client.get(path, headers={**headers, "If-None-Match": etag}) as response:
        assert (response.status, await response.read()) == (304, b"")


async def test_visitors_see_a_change_when_it_is_published(house: House) -> None:
    headers = await house.owner()
    bot = await house.published(headers)
    path = f"/api/v1/chatbots/{bot['id']}"
    await house.json("PATCH", path, 200, headers=headers, json={"name": "Ada"})
    find = house.deps.bots.find
    assert [(await find(bot["id"], draft=draft)).name for draft in (False, True)] == ["Support Bot", "Ada"]  # type: ignore[union-attr]
    published = await house.json("POST", f"{path}/publish", 200, headers=headers, json={"note": "A new name"})
    assert (published["version"], published["diff_summary"]) == (2, ["name"])
    assert (await find(bot["id"])).name == "Ada"  # type: ignore[union-attr]


async def test_an_older_version_can_be_shown_again(house: House) -> None:
    headers = await house.owner()
    bot = await house.published(headers)
    path = f"/api/v1/chatbots/{bot['id']}"
    await house.json("PATCH", path, 200, headers=headers, json={"name": "Ada"})
    await house.json("POST", f"{path}/publish", 200, headers=headers)
    await house.json("POST", f"{path}/publish", 200, headers=headers, json={"version": 1})
    assert (await house.deps.bots.find(bot["id"])).name == "Support Bot"  # type: ignore[union-attr]
    await house.refused("POST", f"{path}/publish", 404, "RESOURCE_NOT_FOUND", headers=headers, json={"version": 9})


async def test_a_deleted_chatbot_is_gone_for_everyone(house: House) -> None:
    headers = await house.owner()
    bot = await house.published(headers)
    path = f"/api/v1/chatbots/{bot['id']}"
    visitor = await house.visitor(bot["id"])
    deleted = await house.json("DELETE", path, 200, headers=headers)
    assert (deleted["id"], deleted["deleted"]) == (bot["id"], True)
    await house.refused("GET", path, 404, "RESOURCE_NOT_FOUND", headers=headers)
    said = {"chatbot_id": bot["id"], "message": "Hello"}
    await house.refused("POST", "/api/v1/chat-3d/respond", 404, "RESOURCE_NOT_FOUND", headers=visitor, json=said)
    await house.chatbot(headers)


async def test_the_embed_code_names_the_server_and_the_chatbot(house: House) -> None:
    headers = await house.owner()
    bot = await house.published(headers)
    code = await house.json("GET", f"/api/v1/chatbots/{bot['id']}/embed?kind=inline", 200, headers=headers)
    assert code["html"] == (
        f'<script src="{ORIGIN}/widget.js" data-chatbot-id="{bot["id"]}" data-mode="inline" async></script>'
    )
    assert "ws://localhost:8000" in code["csp"]["Content-Security-Policy"]
    assert code["allowed_origins"] == [SITE]


async def test_the_widget_of_an_allowed_website_may_start(house: House) -> None:
    bot = await house.published(await house.owner())
    async with house.client.get(f"/api/v1/chatbots/{bot['id']}/config", headers={"Origin": SITE}) as response:
        config = await response.json()
        assert response.headers["Access-Control-Allow-Origin"] == SITE
        assert response.headers["Cache-Control"] == "private, max-age=60"
    assert config["avatar"]["glb_url"] == "/avatars/avatar_female_01.glb"
    assert config["avatar"]["thumbnail_url"] == "/avatars/avatar_female_01.png"
    assert not {"prompt", "settings", "organization_id", "allowed_origins"} & config.keys()


async def test_a_picture_that_was_not_drawn_is_not_named(house: House) -> None:
    bot = await house.published(await house.owner(), avatar_id="avatar_plain")
    async with house.client.get(f"/api/v1/chatbots/{bot['id']}/config", headers={"Origin": SITE}) as response:
        config = await response.json()
    assert config["avatar"]["glb_url"] == "/avatars/avatar_plain.glb"
    assert config["avatar"]["thumbnail_url"] is None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": SITE}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({}, 403),
    ],
)
async def test_the_widget_starts_where_the_chatbot_allows_it(
    house: House, headers: dict[str, str], status: int
) -> None:
    bot = await house.published(await house.owner())
    await house.json("GET", f"/api/v1/chatbots/{bot['id']}/config", status, headers=headers)


async def test_an_origin_is_kept_in_its_normal_form_and_once(house: House) -> None:
    headers = await house.owner()
    path = f"/api/v1/chatbots/{(await house.chatbot(headers))['id']}"
    body = {"allowed_origins": ["https://Shop.Example/", "https://shop.example:443"]}
    assert (await house.json("PATCH", path, 200, headers=headers, json=body))["allowed_origins"] == [SITE]


async def test_a_nul_character_is_refused(house: House) -> None:
    body = {"name": "a\0b", "type": "3d"}
    await house.refused("POST", "/api/v1/chatbots", 400, "INVALID_FORMAT", headers=await house.owner(), json=body)


async def test_a_number_in_words_is_no_number(house: House) -> None:
    headers = await house.owner()
    path = f"/api/v1/chatbots/{(await house.chatbot(headers))['id']}"
    for radius in ("8", True, 8.5):
        body = {"settings": {"theme": {"radius": radius}}}
        await house.refused("PATCH", path, 400, "INVALID_FORMAT", headers=headers, json=body)


async def test_a_time_that_is_a_number_is_refused(house: House) -> None:
    path = "/api/v1/chatbots?created_after=1764000000"
    await house.refused("GET", path, 400, "INVALID_FORMAT", headers=await house.owner())


async def test_a_literal_path_answers_for_itself_alone(house: House) -> None:
    async with house.client.delete("/api/v1/chatbots/create", headers=await house.owner()) as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST")


async def test_a_3d_chatbot_never_loses_its_face(house: House) -> None:
    headers = await house.owner()
    path = f"/api/v1/chatbots/{(await house.chatbot(headers))['id']}"
    bot = await house.json("PATCH", path, 200, headers=headers, json={"avatar_id": None})
    assert bot["avatar_id"] == "avatar_female_01"


async def test_examples_are_read_as_things_that_were_said(house: House) -> None:
    headers = await house.owner()
    bot = await house.chatbot(headers)
    examples = {"examples": [{"question": "Is it free?", "answer": "Yes."}]}
    await house.json("PATCH", f"/api/v1/chatbots/{bot['id']}", 200, headers=headers, json={"settings": examples})
    found = await house.deps.bots.find(bot["id"])
    assert found is not None
    assert [(said.role, said.content) for said in found.examples] == [("user", "Is it free?"), ("assistant", "Yes.")]


async def test_a_part_that_is_live_reaches_visitors_at_once_and_alone(house: House) -> None:
    headers = await house.owner()
    bot = await house.published(headers)
    path = f"/api/v1/chatbots/{bot['id']}"
    await house.json("PATCH", path, 200, headers=headers, json={"name": "Not yet"})
    tenant = (await house.deps.tokens.verify(headers["Authorization"].split()[1])).organization_id
    async with house.deps.database.uow(tenant) as tx:
        set_part = house.deps.parts.set
        assert await set_part(tx, bot["id"], "model", {"model_id": "big", "params": {"temperature": 0.2}}) is None
        assert await set_part(tx, bot["id"], "prompt", {"content": "You are Bea."}, live=True) == 2
        await tx.commit()
    seen, draft = await house.deps.bots.find(bot["id"]), await house.deps.bots.find(bot["id"], draft=True)
    assert seen is not None
    assert draft is not None
    assert (seen.name, seen.prompt, seen.model) == ("Support Bot", "You are Bea.", None)
    assert (draft.name, draft.prompt) == ("Not yet", "You are Bea.")
    assert draft.model is not None
    assert (draft.model.model_id, draft.model.params) == ("big", (("temperature", 0.2),))
    await house.json("POST", f"{path}/publish", 200, headers=headers, json={"version": 1})
    assert "Support Bot" in (await house.deps.bots.find(bot["id"])).prompt  # type: ignore[union-attr]


async def test_of_two_ways_to_write_the_prompt_the_last_one_counts(house: House) -> None:
    headers = await house.owner()
    bot = await house.chatbot(headers)
    tenant = (await house.deps.tokens.verify(headers["Authorization"].split()[1])).organization_id
    async with house.deps.database.uow(tenant) as tx:
        await house.deps.parts.set(tx, bot["id"], "prompt", {"content": "You are Bea."})
        await tx.commit()
    body = {"settings": {"prompt": "You are Ada."}}
    await house.json("PATCH", f"/api/v1/chatbots/{bot['id']}", 200, headers=headers, json=body)
    assert (await house.deps.bots.find(bot["id"])).prompt == "You are Ada."  # type: ignore[union-attr]


async def test_a_template_gives_a_chatbot_its_words(house: House) -> None:
    bot = await house.chatbot(await house.owner(), name="Bea", template_id="tutor")
    assert (bot["template_id"], "Bea" in bot["settings"]["prompt"]) == ("tutor", True)
    assert bot["purpose"]
    assert bot["settings"]["examples"]


async def test_an_unknown_template_is_refused_by_name(house: House) -> None:
    body = {"name": "Bea", "type": "text", "template_id": "none"}
    error = await house.refused(
        "POST", "/api/v1/chatbots", 400, "INVALID_FORMAT", headers=await house.owner(), json=body
    )
    assert error["fields"][0]["field"] == "template_id"


async def test_a_plan_has_room_for_so_many_chatbots(house: House) -> None:
    headers = await house.owner(tier="free_trial")
    for number in range(5):
        last = await house.chatbot(headers, name=f"Bot {number}")
    body = {"name": "One more", "type": "text"}
    error = await house.refused("POST", "/api/v1/chatbots", 403, "QUOTA_EXCEEDED", headers=headers, json=body)
    assert (error["limit"], error["used"]) == (5, 5)
    path = f"/api/v1/chatbots/{last['id']}"
    await house.refused("POST", f"{path}/duplicate", 403, "QUOTA_EXCEEDED", headers=headers, json={})
    await house.json("DELETE", path, 200, headers=headers)
    await house.chatbot(headers, name="One more")


async def test_what_does_not_work_here_is_not_published(house: House) -> None:
    headers = await house.owner()
    bot = await house.chatbot(headers)
    tenant = (await house.deps.tokens.verify(headers["Authorization"].split()[1])).organization_id
    async with house.deps.database.uow(tenant) as tx:
        await store.change(tx, bot["id"], {"avatar_id": "avatar_gone"})
        await tx.commit()
    path = f"/api/v1/chatbots/{bot['id']}/publish"
    error = await house.refused("POST", path, 409, "STATE_CONFLICT", headers=headers, json={})
    assert error["missing"] == ["avatar"]


async def test_versions_say_who_changed_what(house: House) -> None:
    headers = await house.owner()
    bot = await house.published(headers)
    path = f"/api/v1/chatbots/{bot['id']}"
    settings = {"settings": {"greeting": "Hello!"}, "name": "Ada"}
    await house.json("PATCH", path, 200, headers=headers, json=settings)
    await house.json("POST", f"{path}/publish", 200, headers=headers, json={"note": "Warmer"})
    await house.json("POST", f"{path}/publish", 200, headers=headers, json={"version": 1})
    listed = (await house.json("GET", f"{path}/versions", 200, headers=headers))["data"]
    assert [(kept["version"], kept["published"]) for kept in listed] == [(2, False), (1, True)]
    assert (listed[0]["changed"], listed[0]["note"]) == (["name", "settings.greeting"], "Warmer")
    assert listed[0]["author"].startswith("user_")


async def test_a_copy_is_a_draft_of_its_own(house: House) -> None:
    headers = await house.owner()
    bot = await house.published(headers, template_id="tutor")
    path = f"/api/v1/chatbots/{bot['id']}/duplicate"
    first = await house.json("POST", path, 201, headers=headers, json={})
    second = await house.json("POST", path, 201, headers=headers, json={"include_knowledge": False})
    assert [copy["name"] for copy in (first, second)] == ["Support Bot (copy)", "Support Bot (copy 2)"]
    assert (first["status"], first["published_version"], first["allowed_origins"]) == ("draft", None, [])
    assert first["settings"] == bot["settings"]
    assert second["settings"]["examples"] == []
    body = {"name": "Support Bot"}
    await house.refused("POST", path, 409, "DUPLICATE_RESOURCE", headers=headers, json=body)
    created = [event.data["chatbot_id"] for event in house.events if event.name == "chatbot.created"]
    assert created == [bot["id"], first["id"], second["id"]]


@pytest.mark.parametrize(
    ("kind", "holds"),
    [
        ("bubble", "data-chatbot-id"),
        ("fullpage", 'data-mode="fullpage"'),
        ("iframe", "<iframe"),
        ("react", "useEffect"),
        ("wordpress", "wp_footer"),
    ],
)
async def test_there_is_an_embed_code_for_every_kind_of_site(house: House, kind: str, holds: str) -> None:
    headers = await house.owner()
    bot = await house.published(headers)
    code = await house.json("GET", f"/api/v1/chatbots/{bot['id']}/embed?kind={kind}", 200, headers=headers)
    assert holds in code["html"]
    assert bot["id"] in code["html"]
    assert f"{ORIGIN}/widget.js" in code["html"]


async def test_the_widget_gets_its_words_in_the_sites_languages(house: House) -> None:
    headers = await house.owner()
    bot = await house.published(headers)
    path = f"/api/v1/chatbots/{bot['id']}"
    texts = {"en": {"open": "Ask us"}, "de": {"open": "Frag uns"}}
    await house.json("PATCH", path, 200, headers=headers, json={"settings": {"texts": texts}})
    await house.json("POST", f"{path}/publish", 200, headers=headers)
    config = await house.json("GET", f"{path}/config", 200, headers={"Origin": SITE})
    assert config["texts"] == texts
