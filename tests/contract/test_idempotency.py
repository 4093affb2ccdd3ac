"""Requests that are sent twice: one effect, the same bytes."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData

from pipelines.providers.base import ProviderError
from tests.contract.house import House, build, copy_of
from tests.contract.test_chat import wav

CREATE = "/api/v1/chatbots/create"
BOT = {"name": "Support Bot", "type": "3d"}
DAY = 24 * 3600.0


async def send(
    house: House, headers: dict[str, str], key: str, body: Any = None, path: str = CREATE, method: str = "POST"
) -> tuple[int, bytes, str | None]:
    """Status, bytes, and whether it is a replay."""
    keyed = {**headers, "Idempotency-Key": key}
    async with house.client.request(method, path, headers=keyed, json=BOT if body is None else body) as response:
        return response.status, await response.read(), response.headers.get("Idempotency-Replayed")


async def bots(house: House, headers: dict[str, str]) -> int:
    listed = await house.json("GET", "/api/v1/chatbots", 200, headers=headers)
    return int(listed["pagination"]["total_items"])


async def test_the_same_request_gets_the_same_bytes_and_has_one_effect(house: House) -> None:
    headers = await house.owner()
    first, second = [await send(house, headers, "k1") for _ in range(2)]
    assert (first[0], first[2]) == (201, None)
    assert second == (201, first[1], "true")
    assert await bots(house, headers) == 1


async def test_fifty_at_once_have_one_effect_and_one_answer(house: House) -> None:
    headers = await house.owner()
    answers = await asyncio.gather(*(send(house, headers, "k1") for _ in range(50)))
    assert len({(status, data) for status, data, _ in answers}) == 1
    assert [replayed for _, _, replayed in answers].count(None) == 1
    assert await bots(house, headers) == 1


async def test_a_replay_carries_the_headers_of_the_resource(house: House) -> None:
    headers = await house.owner()
    bot = await house.chatbot(headers)
    keyed = {**headers, "Idempotency-Key": "k1"}
    path, etags, types = f"/api/v1/chatbots/{bot['id']}", set(), set()
    for _ in range(2):
        async with house.client.patch(path, headers=keyed, json={"name": "New name"}) as response:
            etags.add(response.headers["ETag"])
            types.add(response.headers["Content-Type"])
    assert (len(etags), types) == (1, {"application/json; charset=utf-8"})


async def test_the_same_key_with_another_body_is_a_conflict(house: House) -> None:
    headers = await house.owner()
    await send(house, headers, "k1")
    keyed = {**headers, "Idempotency-Key": "k1"}
    other = {**BOT, "name": "Other"}
    await house.refused("POST", CREATE, 409, "IDEMPOTENCY_CONFLICT", headers=keyed, json=other)
    assert await bots(house, headers) == 1


async def test_a_key_counts_for_one_path_and_one_organisation(house: House) -> None:
    mine, theirs = await house.owner(), await house.owner("other@example.com")
    statuses = [(await send(house, who, "k1"))[0] for who in (mine, theirs)]
    assert statuses == [201, 201]
    assert (await send(house, mine, "k1", {**BOT, "name": "Second"}, "/api/v1/chatbots"))[0] == 201
    assert await bots(house, mine) == 2


async def test_one_members_answer_is_not_shown_to_another(house: House) -> None:
    owner = await house.owner()
    person = await house.deps.tokens.verify(owner["Authorization"].split()[1])
    token, _ = house.deps.tokens.account("user_else", person.organization_id, "editor", version=0)
    await send(house, owner, "k1")
    assert (await send(house, {"Authorization": f"Bearer {token}"}, "k1"))[0] == 409


async def test_what_was_not_valid_may_be_mended_under_the_same_key(house: House) -> None:
    headers = await house.owner()
    assert (await send(house, headers, "k1", {"name": "Support Bot"}))[0] == 400
    assert (await send(house, headers, "k1", {**BOT, "avatar_id": "nobody"}))[0] == 400
    assert (await send(house, headers, "k1"))[::2] == (201, None)


async def test_a_refusal_that_says_something_of_the_effect_is_replayed(house: House) -> None:
    headers = await house.owner()
    await house.chatbot(headers, **BOT)
    first = await send(house, headers, "k1")
    again = await send(house, headers, "k1")
    assert (first[0], again) == (409, (409, first[1], "true"))


async def test_a_day_later_the_key_is_free(house: House) -> None:
    headers = await house.owner()
    await send(house, headers, "k1")
    house.clock.seconds += DAY - 1
    headers = await house.login()
    assert (await send(house, headers, "k1"))[2] == "true"
    house.clock.seconds += 1
    headers = await house.login()
    assert (await send(house, headers, "k1", {**BOT, "name": "Other"}))[::2] == (201, None)


async def test_an_answer_survives_a_restart(template: Path, tmp_path: Path) -> None:
    url, answers, headers = copy_of(template, tmp_path), [], {}
    for _ in range(2):
        async for house in build(tmp_path, url):
            headers = headers or await house.owner()
            answers.append(await send(house, headers, "k1"))
    assert answers[1] == (201, answers[0][1], "true")


async def test_nothing_of_an_answer_is_readable_in_the_database(house: House) -> None:
    headers = await house.owner()
    await send(house, headers, "k1")
    async with house.deps.database.engine.connect() as connection:
        kept = (await connection.exec_driver_sql("SELECT id, answer FROM idempotency_keys")).all()
    assert len(kept) == 1
    assert b"Support" not in kept[0][1]
    assert "k1" not in kept[0][0]


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "ü"])
async def test_a_key_of_other_signs_is_refused(house: House, key: str) -> None:
    headers = {**await house.owner(), "Idempotency-Key": key}
    error = await house.refused("POST", CREATE, 400, "INVALID_FORMAT", headers=headers, json=BOT)
    assert "Idempotency-Key" in error["message"]


async def test_the_longest_key_is_taken(house: House) -> None:
    assert (await send(house, await house.owner(), "x" * 255))[0] == 201


async def test_a_turn_that_failed_is_tried_again_and_its_answer_replayed(house: House) -> None:
    headers = await house.owner()
    bot = await house.published(headers, type="text")
    said = {"chatbot_id": bot["id"], "message": "Hello", "user_id": "test_user"}
    path = "/api/v1/chat-text/respond"
    house.engine.failure = ProviderError("down", retryable=True, public="The model is busy.")
    assert (await send(house, headers, "k1", said, path))[0] == 503
    house.engine.failure = None
    first = await send(house, headers, "k1", said, path)
    assert (await send(house, headers, "k1", said, path)) == (200, first[1], "true")
    assert (first[0], house.engine.asked) == (200, 2)


async def test_a_spoken_question_is_the_same_although_its_form_is_packed_anew(house: House) -> None:
    headers = {**await house.owner(), "Idempotency-Key": "k1"}
    bot = await house.published(headers, type="voice")
    found = []
    for sound in (wav(), wav(), wav(0.3)):
        form = FormData({"chatbot_id": bot["id"]})
        form.add_field("audio", sound, filename="question.wav", content_type="audio/wav")
        async with house.client.post("/api/v1/chat-voice/respond", headers=headers, data=form) as response:
            found.append((response.status, response.headers.get("Idempotency-Replayed")))
    assert found == [(200, None), (200, "true"), (409, None)]
    assert house.engine.asked == 1


async def test_who_has_no_token_may_register_twice_with_one_key(house: House) -> None:
    body = {"email": "a@example.com", "password": "a long sentence of mine", "name": "A", "accept_terms": True}
    first, again = [await send(house, {}, "k1", body, "/api/v1/auth/register") for _ in range(2)]
    assert again == (201, first[1], "true")
