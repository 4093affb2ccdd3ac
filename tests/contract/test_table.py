"""What every endpoint promises, read from the table: who may, what is refused, and in which envelope."""

import json
from dataclasses import dataclass

import pytest
from aiohttp import FormData
from pydantic import BaseModel

from api._kit.endpoint import Endpoint
from server.gateway import table
from tests.contract.conformity import Conformity
from tests.contract.house import House

TABLE = table()
GUARDED = [e for e in TABLE if not e.public]
WRITING = [e for e in TABLE if e.method in ("POST", "PUT", "PATCH") or e.body]
READING = [e for e in TABLE if e.method == "GET"]
MADE_BY_NAME = {"keep_provider"}
"""What is put under a name that every organisation has for itself."""
ADDRESSED = [e for e in GUARDED if "{" in e.path and e.name not in MADE_BY_NAME]
WITH_BOT = [e for e in GUARDED if e.body and "chatbot_id" in e.body.model_fields]
BODIES: dict[str, dict[str, object]] = {
    "history.feedback": {"rating": "up"},
    "chat-voice.synthesize": {"chatbot_id": "cb_none", "text": "Hello"},
    "auth.register": {"email": "b@example.com", "password": "x" * 12, "name": "B", "accept_terms": True},
    "prompts.create": {"chatbot_id": "cb_none", "name": "A prompt", "content": "Be kind."},
    "prompts.test": {"messages": [{"content": "Hello"}]},
    "llm.test": {"models": ["server/default"], "messages": [{"content": "Hello"}]},
    "llm.select": {"chat": {"primary": "server/default"}},
    "llm.keep_provider": {"api_key": "sk-none", "base_url": "https://192.0.2.1/v1"},
    "auth.login": {"email": "user@example.com", "password": "wrong"},
    "auth.verify_email": {"token": "none"},
    "auth.forgot_password": {"email": "user@example.com"},
    "auth.reset_password": {"token": "none", "new_password": "x" * 12},
    "auth.mfa_setup": {"password": "wrong"},
    "auth.mfa_verify": {"code": "000000"},
    "selection.set_rules": {"rules": []},
    "selection.resolve": {"site_key": "site_none", "page_url": "https://shop.example/"},
    "users.invite": {"email": "c@example.com", "role": "viewer"},
    "users.leave": {"password": "wrong"},
    "users.make_api_key": {"name": "A key", "scopes": ["users:read"]},
}


def named(endpoints: list[Endpoint]) -> list[object]:
    return [pytest.param(e, id=f"{e.method} {e.path}") for e in endpoints]


def address(endpoint: Endpoint, **ids: str) -> str:
    """The path with ids of things that there are not, unless given."""
    names = {"chatbot_id": "cb_none", "conversation_id": "conv_none", "message_id": "msg_none", "job_id": "job_none"}
    names |= {"step": "purpose", "user_id": "user_none", "key_id": "key_none"}
    names |= {"prompt_id": "prm_none", "provider": "acme", "session_id": "call_none"}
    return endpoint.path.format(**(names | ids))


def body(endpoint: Endpoint, **more: object) -> dict[str, object]:
    """A body with which nothing is wrong."""
    title = f"{endpoint.service}.{endpoint.name}"
    model: type[BaseModel] | None = endpoint.body
    if title in BODIES or model is None:
        return {**BODIES.get(title, {}), **more}
    samples: dict[str, object] = {
        "chatbot_id": "cb_none", "message": "Hello", "name": "A bot", "type": "3d",
    }  # fmt: skip
    wanted = {n for n, f in model.model_fields.items() if f.is_required()} | ({"message"} & model.model_fields.keys())
    return {**{name: samples[name] for name in wanted}, **more}


@dataclass
class Role:
    """Someone whose role is not one of those an endpoint is for."""

    headers: dict[str, str]


async def stranger_to(endpoint: Endpoint, house: House) -> dict[str, str] | None:
    """Headers of someone with a valid token that this endpoint is not for; None if it is for everyone with one."""
    owner = await house.owner()
    if "V" not in endpoint.who:
        bot = await house.published(owner)
        return await house.visitor(bot["id"])
    if "M" not in endpoint.who:
        return await house.member("viewer", owner)
    return None


@pytest.mark.parametrize("endpoint", named(GUARDED))
async def test_nobody_gets_in_without_a_token(house: House, endpoint: Endpoint) -> None:
    error = await house.refused(endpoint.method, address(endpoint), 401, "INVALID_TOKEN")
    assert set(error) == {"code", "message", "details", "timestamp", "request_id"}


@pytest.mark.parametrize("endpoint", named(GUARDED))
async def test_a_token_that_is_not_one_is_refused(house: House, endpoint: Endpoint) -> None:
    headers = {"Authorization": "Bearer not.a.token"}
    await house.refused(endpoint.method, address(endpoint), 401, "INVALID_TOKEN", headers=headers)


@pytest.mark.parametrize("endpoint", named([e for e in GUARDED if not {"V", "M"} <= e.who]))
async def test_the_wrong_role_is_refused(house: House, endpoint: Endpoint) -> None:
    headers = await stranger_to(endpoint, house)
    await house.refused(
        endpoint.method, address(endpoint), 403, "FORBIDDEN", headers=headers, json=body(endpoint) or None
    )


@pytest.mark.parametrize("endpoint", named(WRITING))
async def test_an_unknown_field_is_refused_by_name(house: House, endpoint: Endpoint) -> None:
    headers = await house.owner()
    error = await house.refused(
        endpoint.method,
        address(endpoint),
        400,
        "INVALID_REQUEST",
        headers=headers,
        json=body(endpoint, surprise=1),
    )
    assert error["fields"] == [
        {"field": "surprise", "code": "INVALID_REQUEST", "message": "surprise is not known here."}
    ]


@pytest.mark.parametrize("endpoint", named(TABLE))
async def test_an_unknown_query_parameter_is_refused_by_name(house: House, endpoint: Endpoint) -> None:
    headers = await house.owner()
    error = await house.refused(
        endpoint.method,
        address(endpoint) + "?surprise=1",
        400,
        "INVALID_REQUEST",
        headers=headers,
        json=body(endpoint) if endpoint in WRITING else None,
    )
    assert "surprise" in error["message"]


@pytest.mark.parametrize("endpoint", named(WRITING))
async def test_another_content_type_is_refused(house: House, endpoint: Endpoint) -> None:
    headers = {**await house.owner(), "Content-Type": "text/plain"}
    await house.refused(
        endpoint.method,
        address(endpoint),
        415,
        "UNSUPPORTED_MEDIA_TYPE",
        headers=headers,
        data=json.dumps(body(endpoint) or {"a": 1}),
    )


@pytest.mark.parametrize("endpoint", named(WRITING))
async def test_broken_json_is_refused(house: House, endpoint: Endpoint) -> None:
    headers = {**await house.owner(), "Content-Type": "application/json"}
    await house.refused(
        endpoint.method, address(endpoint), 400, "INVALID_REQUEST", headers=headers, data=b'{"name": "A'
    )


@pytest.mark.parametrize("endpoint", named(WRITING))
async def test_a_body_over_the_limit_is_refused(house: House, endpoint: Endpoint) -> None:
    headers = {**await house.owner(), "Content-Type": "application/json"}
    await house.refused(
        endpoint.method,
        address(endpoint),
        413,
        "PAYLOAD_TOO_LARGE",
        headers=headers,
        data=b" " * (endpoint.max_body + 1),
    )


@pytest.mark.parametrize("endpoint", named([e for e in WRITING if e.upload]))
async def test_a_file_over_the_limit_is_refused(house: House, endpoint: Endpoint) -> None:
    assert endpoint.upload
    form = FormData({"chatbot_id": "cb_none"})
    form.add_field(endpoint.upload.field, bytes(endpoint.upload.max_bytes + 1), filename="a.wav")
    await house.refused(
        endpoint.method, address(endpoint), 413, "PAYLOAD_TOO_LARGE", headers=await house.owner(), data=form
    )


@pytest.mark.parametrize("endpoint", named(ADDRESSED + WITH_BOT))
async def test_what_belongs_to_another_organisation_is_not_there(house: House, endpoint: Endpoint) -> None:
    theirs = await house.owner()
    bot = await house.published(theirs, type=_type(endpoint))
    channel = bot["type"]
    said = await house.json(
        "POST",
        f"/api/v1/chat-{channel}/respond",
        200,
        headers=theirs,
        json={"chatbot_id": bot["id"], "message": "Hello"},
    )
    ids = {
        "chatbot_id": bot["id"],
        "conversation_id": said["conversation_id"],
        "message_id": said["message_id"],
        "job_id": await house.job(theirs),
        "user_id": (await house.json("GET", "/api/v1/users/me", 200, headers=theirs))["id"],
        "key_id": await house.api_key(theirs),
    }
    mine = await house.owner("other@example.com")
    given = body(endpoint) | ({"chatbot_id": bot["id"]} if endpoint in WITH_BOT else {})
    foreign, unknown = [
        await house.refused(
            endpoint.method,
            path,
            404,
            "RESOURCE_NOT_FOUND",
            headers=mine,
            json=sent if endpoint in WRITING else None,
        )
        for path, sent in (
            (address(endpoint, **ids), given),
            (address(endpoint), {**given, **({"chatbot_id": "cb_none"} if endpoint in WITH_BOT else {})}),
        )
    ]
    assert {**foreign, "request_id": ""} == {**unknown, "request_id": ""}


def _type(endpoint: Endpoint) -> str:
    return endpoint.service.removeprefix("chat-") if endpoint.service.startswith("chat-") else "3d"


@pytest.mark.parametrize("endpoint", named(READING))
async def test_the_head_of_everything_readable_is_answered(house: House, endpoint: Endpoint) -> None:
    headers = await house.owner()
    async with house.client.get(address(endpoint), headers=headers) as got:
        pass
    async with house.client.head(address(endpoint), headers=headers) as head:
        assert (head.status, await head.read()) == (got.status, b"")


@pytest.mark.parametrize("endpoint", named(TABLE))
async def test_a_method_that_is_not_there_is_refused_in_the_envelope(house: House, endpoint: Endpoint) -> None:
    async with house.client.request("TRACE", address(endpoint)) as response:
        error = (await response.json())["error"]
        assert (response.status, error["code"]) == (405, "METHOD_NOT_ALLOWED")
        assert endpoint.method in response.headers["Allow"]


def test_only_the_listed_doors_are_open_to_everyone() -> None:
    doors = {e.path for e in TABLE if e.public and not e.path.endswith("/health")}
    assert doors == {
        "/health/live",
        "/health/ready",
        "/api/v1/auth/register",
        "/api/v1/auth/login",
        "/api/v1/auth/verify-email",
        "/api/v1/auth/forgot-password",
        "/api/v1/auth/reset-password",
        "/api/v1/auth/mfa/verify",
        "/api/v1/auth/visitor-token",
        "/api/v1/chatbots/{chatbot_id}/config",
        "/api/v1/selection/resolve",
    }


def test_every_operation_has_a_name_of_its_own(conformity: Conformity) -> None:
    names = [op["operationId"] for path in conformity.document["paths"].values() for op in path.values()]
    assert len(names) == len(set(names)) == len(TABLE)
