"""The OpenAPI documents are valid, say the same as the table, and are served with the pages that show them."""

from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator

from api._kit.openapi import Dialect, down
from server.gateway import openapi, table
from tests.contract.house import House


def made(dialect: Dialect) -> dict[str, Any]:
    return openapi(version="0.1.0", origin="http://localhost:8000", dialect=dialect)


def test_the_document_is_valid_as_3_0() -> None:
    document = made("3.0")
    OpenAPIV30SpecValidator(document).validate()
    assert document["openapi"] == "3.0.3"


def test_the_document_is_valid_as_3_1() -> None:
    document = made("3.1")
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1")


def test_every_endpoint_says_who_may_use_it() -> None:
    document = made("3.0")
    for endpoint in table():
        operation = document["paths"][endpoint.path][endpoint.method.lower()]
        assert operation["x-roles"] == sorted(endpoint.who)
        assert operation["security"] == ([] if endpoint.public else [{"bearer": []}])


def test_an_optional_value_is_nullable_in_3_0() -> None:
    phone = made("3.0")["components"]["schemas"]["User"]["properties"]["phone"]
    assert (phone["type"], phone["nullable"]) == ("string", True)


def test_an_optional_reference_is_nullable_in_3_0() -> None:
    audio = made("3.0")["components"]["schemas"]["FaceReply"]["properties"]["audio"]
    assert audio == {"allOf": [{"$ref": "#/components/schemas/AudioFile"}], "nullable": True}


def test_a_property_that_is_called_like_a_word_of_the_schema_survives() -> None:
    schema = {"properties": {"const": {"const": 1}, "examples": {"type": "string", "examples": ["a"]}}}
    document = {"info": {"license": {}}, "components": {"schemas": {"Odd": schema}}}
    odd = down(document)["components"]["schemas"]["Odd"]["properties"]
    assert odd == {"const": {"enum": [1]}, "examples": {"type": "string", "example": "a"}}


@pytest.mark.parametrize("query", ["", "?version=3.1"])
async def test_the_whole_document_is_served(house: House, query: str) -> None:
    document = await house.json("GET", f"/openapi.json{query}", 200)
    assert document == made("3.1" if query else "3.0")


async def test_each_service_serves_its_own_document(house: House) -> None:
    document = await house.json("GET", "/api/v1/auth/openapi.json", 200)
    assert set(document["paths"]) == {e.path for e in table() if e.service == "auth"}
    OpenAPIV30SpecValidator(document).validate()


async def test_an_unknown_dialect_is_refused(house: House) -> None:
    await house.refused("GET", "/openapi.json?version=2.0", 400, "INVALID_REQUEST")
