"""What the API has promised stays: no path, parameter or field goes, and no request must have more than before."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tests.contract.promises import KEPT, broken, document, lines

DOCUMENT = document()


def schema(changed: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = changed["components"]["schemas"][name]
    return found


def test_no_promise_is_broken() -> None:
    assert broken(set(KEPT.read_text().splitlines()), DOCUMENT) == []


def test_the_promises_of_a_document_are_kept_by_it() -> None:
    assert broken(lines(DOCUMENT), DOCUMENT) == []


def remove_a_path(changed: dict[str, Any]) -> None:
    del changed["paths"]["/api/v1/users/me"]


def remove_a_method(changed: dict[str, Any]) -> None:
    del changed["paths"]["/api/v1/users/me"]["patch"]


def remove_a_field_of_an_answer(changed: dict[str, Any]) -> None:
    del schema(changed, "TokenGrant")["properties"]["expires_in"]


def remove_a_nested_field_of_an_answer(changed: dict[str, Any]) -> None:
    del schema(changed, "AudioFile")["properties"]["url"]


def remove_a_field_of_a_request(changed: dict[str, Any]) -> None:
    del schema(changed, "NewChatbot")["properties"]["voice_id"]


def remove_a_filter(changed: dict[str, Any]) -> None:
    parameters = changed["paths"]["/api/v1/chatbots"]["get"]["parameters"]
    parameters[:] = [p for p in parameters if p.get("name") != "search"]


def demand_a_field(changed: dict[str, Any]) -> None:
    schema(changed, "NewChatbot")["required"].append("language")


def demand_a_new_field(changed: dict[str, Any]) -> None:
    model = schema(changed, "Login")
    model["properties"]["captcha"] = {"type": "string"}
    model["required"].append("captcha")


@pytest.mark.parametrize(
    "change",
    [
        remove_a_path,
        remove_a_method,
        remove_a_field_of_an_answer,
        remove_a_nested_field_of_an_answer,
        remove_a_field_of_a_request,
        remove_a_filter,
        demand_a_field,
        demand_a_new_field,
    ],
)
def test_a_breaking_change_is_noticed(change: Callable[[dict[str, Any]], None]) -> None:
    changed = deepcopy(DOCUMENT)
    change(changed)
    assert broken(lines(DOCUMENT), changed)


def test_adding_is_not_breaking() -> None:
    changed = deepcopy(DOCUMENT)
    schema(changed, "Login")["properties"]["remember"] = {"type": "boolean"}
    schema(changed, "TokenGrant")["properties"]["scope"] = {"type": "string"}
    changed["paths"]["/api/v1/new"] = {"get": changed["paths"]["/api/v1/users/me"]["get"]}
    assert broken(lines(DOCUMENT), changed) == []
