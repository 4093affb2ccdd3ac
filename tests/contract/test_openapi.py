"""The OpenAPI documents are valid, say the same as the table, and show examples that are true."""

from functools import cache
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator

from api._kit.dialects import down
from api._kit.endpoint import Endpoint
from api._kit.openapi import Dialect
from server.gateway import SERVICES, openapi, system, table
from tests.contract.conformity import Conformity
from tests.contract.house import House

TABLE = table()
EACH = pytest.mark.parametrize("endpoint", [pytest.param(e, id=f"{e.method} {e.path}") for e in TABLE])


@cache
def made(dialect: Dialect) -> dict[str, Any]:
    return openapi(version="0.1.0", origin="http://localhost:8000", dialect=dialect)


def operation(endpoint: Endpoint, dialect: Dialect = "3.1") -> dict[str, Any]:
    found: dict[str, Any] = made(dialect)["paths"][endpoint.path][endpoint.method.lower()]
    return found


def test_the_document_is_valid_as_3_0() -> None:
    document = made("3.0")
    OpenAPIV30SpecValidator(document).validate()
    assert document["openapi"] == "3.0.3"


def test_the_document_is_valid_as_3_1() -> None:
    document = made("3.1")
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1")


def test_every_endpoint_says_who_may_use_it() -> None:
    names = {"V": "visitor", "K": "api_key"}
    for endpoint in TABLE:
        said = operation(endpoint, "3.0")
        assert said["x-roles"] == sorted(endpoint.who)
        offered = {name for choice in said["security"] for name in choice}
        assert offered == {names.get(role, "account") for role in endpoint.who - {"P"}}
        assert ({} in said["security"] or not said["security"]) == endpoint.public


@EACH
def test_the_example_of_an_answer_is_one(endpoint: Endpoint, conformity: Conformity) -> None:
    for response in operation(endpoint)["responses"].values():
        described = conformity.resolved(response)
        for content in described.get("content", {}).values():
            assert content["example"]
            conformity.validator(content.get("schema", {})).validate(content["example"])


@pytest.mark.parametrize("endpoint", [pytest.param(e, id=f"{e.method} {e.path}") for e in TABLE if e.body])
def test_the_example_of_a_request_would_be_taken(endpoint: Endpoint, conformity: Conformity) -> None:
    content = operation(endpoint)["requestBody"]["content"]["application/json"]
    conformity.validator(content["schema"]).validate(content["example"])
    assert endpoint.body
    endpoint.body.model_validate(content["example"])


@EACH
def test_every_operation_shows_how_to_call_it_in_three_languages(endpoint: Endpoint) -> None:
    samples = operation(endpoint)["x-codeSamples"]
    assert [sample["label"] for sample in samples] == ["cURL", "Python", "JavaScript"]
    for sample in samples:
        assert ("YOUR_TOKEN" in sample["source"]) != endpoint.public
        assert "{" not in sample["source"].split("localhost:8000", 1)[1].splitlines()[0].split('"')[0].split("'")[0]


@EACH
def test_every_refusal_names_its_codes(endpoint: Endpoint, conformity: Conformity) -> None:
    for status, response in operation(endpoint)["responses"].items():
        if "$ref" in response:
            described = conformity.resolved(response)
            shown = described["content"]["application/json"]["example"]["error"]["code"]
            assert shown in described["x-codes"], status


def test_every_row_of_the_catalogue_is_described() -> None:
    tags = {tag["name"]: tag["description"] for tag in made("3.1")["tags"]}
    assert set(tags) == {service.name for service in (system, *SERVICES)}
    assert all(len(text) > 10 for text in tags.values())


def test_every_reference_leads_somewhere() -> None:
    for dialect in ("3.0", "3.1"):
        document = made(dialect)  # type: ignore[arg-type]
        for pointer in _references(document):
            node: Any = document
            for part in pointer.removeprefix("#/").split("/"):
                node = node[part]


def _references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(_references(value) for value in node.values()))
    return set().union(*map(_references, node)) if isinstance(node, list) else set()


def test_every_schema_is_one() -> None:
    for schema in made("3.1")["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


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


@pytest.mark.parametrize("service", [service.name for service in SERVICES])
@pytest.mark.parametrize("query", ["", "?version=3.1"])
async def test_each_service_serves_its_own_document(house: House, service: str, query: str) -> None:
    document = await house.json("GET", f"/api/v1/{service}/openapi.json{query}", 200)
    assert set(document["paths"]) == {e.path for e in TABLE if e.service == service}
    (OpenAPIV31SpecValidator if query else OpenAPIV30SpecValidator)(document).validate()


async def test_an_unknown_dialect_is_refused(house: House) -> None:
    await house.refused("GET", "/openapi.json?version=2.0", 400, "INVALID_REQUEST")
