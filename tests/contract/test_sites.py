"""Which chatbot a member works on, and which one answers a page of the website."""

from typing import Any

import pytest

from api._kit.store import StoreUnavailable
from api.selection.site import Rule
from tests.contract.house import SITE, House

PATH = "/api/v1/selection"


async def site(house: House) -> tuple[dict[str, str], str, list[str]]:
    """An owner, the site's key, and the ids of two published chatbots."""
    headers = await house.owner()
    bots = [(await house.published(headers, name=name, type="text"))["id"] for name in ("One", "Two")]
    return headers, (await house.json("GET", f"{PATH}/options", 200, headers=headers))["site_key"], bots


def view(site_key: str, path: str = "/", **more: Any) -> dict[str, Any]:
    return {"headers": {"Origin": SITE}, "json": {"site_key": site_key, "page_url": f"{SITE}{path}", **more}}


async def test_the_options_are_what_a_chatbot_can_be_made_with(house: House) -> None:
    headers = await house.owner()
    options = await house.json("GET", f"{PATH}/options", 200, headers=headers)
    assert [kind["id"] for kind in options["types"]] == ["3d", "voice", "text"]
    assert options["languages"] == [{"id": "en-US", "voices": 1}]
    assert {template["purpose"] for template in options["templates"]} <= {p["id"] for p in options["purposes"]}
    for number, template in enumerate(options["templates"]):
        await house.chatbot(headers, name=f"Bot {number}", type="text", template_id=template["id"])


async def test_a_site_has_one_key(house: House) -> None:
    headers, key, _ = await site(house)
    other = await house.owner("other@example.com")
    assert (await house.json("GET", f"{PATH}/rules", 200, headers=headers))["site_key"] == key
    assert (await house.json("GET", f"{PATH}/options", 200, headers=other))["site_key"] != key


async def test_everybody_works_on_a_chatbot_of_their_own_choice(house: House) -> None:
    headers, _, (one, two) = await site(house)
    await house.refused("GET", f"{PATH}/current", 404, "RESOURCE_NOT_FOUND", headers=headers)
    first = await house.json("PUT", f"{PATH}/current", 200, headers=headers, json={"chatbot_id": one})
    house.clock.seconds += 60
    again = await house.json("PUT", f"{PATH}/current", 200, headers=headers, json={"chatbot_id": one})
    assert first == again == await house.json("GET", f"{PATH}/current", 200, headers=headers)
    await house.json("PUT", f"{PATH}/current", 200, headers=headers, json={"chatbot_id": two})
    await house.json("DELETE", f"/api/v1/chatbots/{two}", 200, headers=headers)
    await house.refused("GET", f"{PATH}/current", 404, "RESOURCE_NOT_FOUND", headers=headers)


async def test_the_first_rule_that_matches_chooses_and_says_why(house: House) -> None:
    headers, key, (one, two) = await site(house)
    rules = [{"match": {"url": ["/pricing*"]}, "chatbot_id": two}, {"match": {"locale": ["de"]}, "chatbot_id": two}]
    body = {"rules": rules, "default_chatbot_id": one}
    kept = await house.json("PUT", f"{PATH}/rules", 200, headers=headers, json=body)
    assert kept["version"] == 1
    resolved = await house.json("POST", f"{PATH}/resolve", 200, **view(key, "/pricing/big"))
    assert (resolved["chatbot_id"], resolved["rule_id"]) == (two, kept["rules"][0]["id"])
    assert "url /pricing*" in resolved["reason"]
    resolved = await house.json("POST", f"{PATH}/resolve", 200, **view(key, "/", locale="en"))
    assert (resolved["chatbot_id"], resolved["rule_id"]) == (one, None)
    assert [event.name for event in house.events].count("selection.rules_updated") == 1
    await house.json("GET", resolved["config_url"].removeprefix("http://localhost:8000"), 200, headers={"Origin": SITE})


async def test_a_visitor_of_a_split_keeps_the_chatbot(house: House) -> None:
    headers, key, (one, two) = await site(house)
    split = [{"chatbot_id": one, "weight": 1}, {"chatbot_id": two, "weight": 1}]
    await house.json("PUT", f"{PATH}/rules", 200, headers=headers, json={"rules": [{"split": split}]})
    drawn = set()
    for _ in range(12):
        first = await house.json("POST", f"{PATH}/resolve", 200, **view(key))
        again = await house.json("POST", f"{PATH}/resolve", 200, **view(key, visitor_id=first["visitor_id"]))
        assert (first["chatbot_id"], first["variant"]) == (again["chatbot_id"], again["variant"])
        drawn.add(first["variant"])
    assert drawn == {"a", "b"}


async def test_rules_are_replaced_as_a_whole_or_not_at_all(house: House) -> None:
    headers, _, (one, _) = await site(house)
    path = f"{PATH}/rules"
    async with house.client.get(path, headers=headers) as response:
        etag = response.headers["ETag"]
    body = {"rules": [{"chatbot_id": one}, {"chatbot_id": "cb_none"}]}
    await house.refused("PUT", path, 409, "STATE_CONFLICT", headers=headers, json=body)
    body = {"rules": [{"chatbot_id": one}]}
    conditional = {**headers, "If-Match": etag}
    await house.json("PUT", path, 200, headers=conditional, json=body)
    await house.refused("PUT", path, 412, "PRECONDITION_FAILED", headers=conditional, json=body)
    assert (await house.json("GET", path, 200, headers=headers))["version"] == 1


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"chatbot_id": "cb_1", "split": [{"chatbot_id": "cb_1", "weight": 1}, {"chatbot_id": "cb_2", "weight": 1}]},
        {"split": [{"chatbot_id": "cb_1", "weight": 0}, {"chatbot_id": "cb_2", "weight": 0}]},
        {"chatbot_id": "cb_1", "match": {"schedule": {"timezone": "Mars/Base"}}},
        {"chatbot_id": "cb_1", "match": {"schedule": {"since": "25:00"}}},
    ],
)
async def test_a_rule_that_makes_no_sense_is_refused(house: House, rule: dict[str, Any]) -> None:
    headers = await house.owner()
    await house.json("PUT", f"{PATH}/rules", 400, headers=headers, json={"rules": [rule]})


async def test_a_chatbot_that_cannot_be_shown_here_is_passed_over(house: House) -> None:
    headers, key, (one, two) = await site(house)
    draft = await house.chatbot(headers, name="Draft", type="text")
    rules = [{"chatbot_id": draft["id"]}, {"chatbot_id": two}]
    body = {"rules": rules, "default_chatbot_id": one}
    await house.json("PUT", f"{PATH}/rules", 200, headers=headers, json=body)
    assert (await house.json("POST", f"{PATH}/resolve", 200, **view(key)))["chatbot_id"] == two
    elsewhere = view(key) | {"headers": {"Origin": "https://evil.example"}}
    await house.refused("POST", f"{PATH}/resolve", 403, "ORIGIN_NOT_ALLOWED", **elsewhere)
    await house.refused("POST", f"{PATH}/resolve", 404, "RESOURCE_NOT_FOUND", **view("site_none"))


@pytest.mark.parametrize("page_url", ["http://[abc", "https://shop.example]/", "http://[::1/"])
async def test_an_address_that_cannot_be_read_is_refused(house: House, page_url: str) -> None:
    _, key, _ = await site(house)
    asked = {"headers": {"Origin": SITE}, "json": {"site_key": key, "page_url": page_url}}
    await house.refused("POST", f"{PATH}/resolve", 400, "INVALID_FORMAT", **asked)


async def test_a_page_view_reads_each_chatbot_once_and_checks_no_stored_rule_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers, key, (one, _) = await site(house)
    gone = await house.published(headers, name="Three", type="text")
    hours = {"schedule": {"timezone": "Europe/Berlin"}}
    rules = [{"match": hours if n else {}, "chatbot_id": gone["id"]} for n in range(20)]
    body = {"rules": rules, "default_chatbot_id": one}
    await house.json("PUT", f"{PATH}/rules", 200, headers=headers, json=body)
    await house.json("DELETE", f"/api/v1/chatbots/{gone['id']}", 200, headers=headers)
    asked: list[str] = []
    find = house.deps.bots.find

    async def counted(chatbot_id: str, *, draft: bool = False) -> Any:
        asked.append(chatbot_id)
        return await find(chatbot_id, draft=draft)

    def checked(_: Any) -> Any:
        raise AssertionError("a stored rule was checked again")

    monkeypatch.setattr(house.deps.bots, "find", counted)
    monkeypatch.setattr(Rule, "model_validate", checked)
    assert (await house.json("POST", f"{PATH}/resolve", 200, **view(key)))["chatbot_id"] == one
    assert asked == [gone["id"], one]


async def test_a_page_view_writes_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    headers, key, (one, _) = await site(house)
    await house.json("PUT", f"{PATH}/rules", 200, headers=headers, json={"rules": [], "default_chatbot_id": one})

    async def gone(*_: Any) -> Any:
        raise StoreUnavailable

    monkeypatch.setattr(house.deps.database, "write", gone)
    assert (await house.json("POST", f"{PATH}/resolve", 200, **view(key)))["chatbot_id"] == one
