"""The endpoint table as an OpenAPI document: 3.1 as pydantic speaks it, 3.0.3 by down-conversion. Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from api._kit.endpoint import ROLES, Endpoint, Service
from api._kit.errors import ErrorEnvelope
from api._kit.idempotency import LONGEST

Json = dict[str, Any]
Dialect = Literal["3.0", "3.1"]
_REF: Final = "#/components/schemas/{model}"
_ERRORS: Final[Mapping[int, str]] = {
    400: "The request is not valid",
    401: "Authentication is missing or not valid",
    403: "Not allowed",
    404: "No such resource",
    405: "Method not allowed",
    409: "Conflict with what is there",
    412: "Changed in the meantime",
    413: "Too large",
    415: "Content type not supported",
    429: "Too many requests",
    500: "Unexpected server error",
    503: "Not available right now",
}
_IDEMPOTENCY_KEY: Final[Json] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "For a day, the same request with the same key has its effect once and gets the same answer",
    "schema": {"type": "string", "pattern": f"^[!-~]{{1,{LONGEST}}}$"},
}
_HEADERS: Final[Mapping[str, Json]] = {
    "X-Request-ID": {"description": "Echoed, or made by the server", "schema": {"type": "string"}},
    "API-Version": {"description": "The version that served the request", "schema": {"type": "string"}},
    "X-RateLimit-Limit": {"description": "Requests of the binding window", "schema": {"type": "integer"}},
    "X-RateLimit-Remaining": {"description": "What is left of them", "schema": {"type": "integer"}},
    "X-RateLimit-Reset": {"description": "When the window ends, in seconds since 1970", "schema": {"type": "integer"}},
}


def document(services: Iterable[Service], *, version: str, origin: str, dialect: Dialect = "3.0") -> Json:
    """One document for the given services."""
    services = list(services)
    endpoints = [e for s in services for e in s.endpoints]
    keyed: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(ErrorEnvelope, "serialization"): None}
    for e in endpoints:
        for answer in (e.returns, *e.others.values()):
            keyed[(answer, "serialization")] = None
        for model in (e.body, e.query):
            if model:
                keyed[(model, "validation")] = None
    refs, definitions = models_json_schema(list(keyed), ref_template=_REF)
    schemas: Json = definitions.get("$defs", {})
    paths: dict[str, Json] = {}
    for e in endpoints:
        paths.setdefault(e.path, {})[e.method.lower()] = _operation(e, refs, schemas)
    for model in {e.query for e in endpoints if e.query}:
        schemas.pop(_name(refs[(model, "validation")]), None)
    native: Json = {
        "openapi": "3.1.1",
        "info": {
            "title": "MachineAvatars API",
            "version": version,
            "description": "Chatbots with text, a voice and a 3D face. Every refusal has the same envelope.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "This server"}, {"url": origin}],
        "tags": [{"name": s.name, "description": f"{s.title}: {s.purpose}"} for s in services],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {str(status): _error(text, refs) for status, text in _ERRORS.items()},
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "From /api/v1/auth/login, or for a visitor from /api/v1/auth/visitor-token",
                }
            },
        },
    }
    return native if dialect == "3.1" else down(native)


def _name(ref: Json) -> str:
    return str(ref["$ref"]).rsplit("/", 1)[1]


def _error(text: str, refs: Mapping[Any, Json]) -> Json:
    schema = refs[(ErrorEnvelope, "serialization")]
    return {"description": text, "headers": dict(_HEADERS), "content": {"application/json": {"schema": schema}}}


def _operation(e: Endpoint, refs: Mapping[Any, Json], schemas: Json) -> Json:
    content: Json = {"schema": refs[(e.returns, "serialization")]}
    if response := e.examples.get("response"):
        content["example"] = response
    headers = dict(_HEADERS)
    if e.etag:
        headers["ETag"] = {"description": "Names this state of the resource", "schema": {"type": "string"}}
    responses: Json = {
        str(e.status): {"description": "Success", "headers": headers, "content": {"application/json": content}}
    }
    if e.etag and e.method == "GET":
        responses["304"] = {"description": "Not modified"}
    for status in sorted(_statuses(e)):
        responses[str(status)] = {"$ref": f"#/components/responses/{status}"}
    for status, model in e.others.items():
        other = {"application/json": {"schema": refs[(model, "serialization")]}}
        responses[str(status)] = {"description": _ERRORS[status], "headers": dict(_HEADERS), "content": other}
    operation: Json = {
        "operationId": f"{e.service}.{e.name}",
        "tags": [e.service],
        "summary": e.summary,
        "description": f"{e.description}\n\nFor: {', '.join(ROLES[r] for r in sorted(e.who))}.".strip(),
        "x-roles": sorted(e.who),
        "security": [] if e.public else [{"bearer": []}],
        "parameters": _parameters(e, refs, schemas),
        "responses": responses,
    }
    if e.deprecation:
        operation["deprecated"] = True
    if e.body:
        operation["requestBody"] = _request(e, e.body, refs, schemas)
    return operation


def _statuses(e: Endpoint) -> set[int]:
    found = {400, 500, 503, *e.errors}
    if not e.public:
        found |= {401, 403}
    if "{" in e.path:
        found.add(404)
    if e.method in ("POST", "PUT", "PATCH"):
        found |= {413, 415}
    if e.method in ("POST", "PATCH"):
        found.add(409)
    if e.counted:
        found.add(429)
    if e.etag and e.method != "GET":
        found.add(412)
    return found


def _parameters(e: Endpoint, refs: Mapping[Any, Json], schemas: Json) -> list[Json]:
    found: list[Json] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,128}$"},
        }
        for name in re.findall(r"{(\w+)}", e.path)
    ]
    if e.query:
        model = schemas[_name(refs[(e.query, "validation")])]
        for name, schema in model["properties"].items():
            parameter: Json = {
                "name": name,
                "in": "query",
                "required": name in model.get("required", []),
                "schema": schema,
            }
            if "description" in schema:
                parameter["description"] = schema["description"]
            if _is_list(schema):
                parameter |= {"style": "form", "explode": False}
            found.append(parameter)
    if e.etag:
        name = "If-None-Match" if e.method == "GET" else "If-Match"
        found.append({"name": name, "in": "header", "required": False, "schema": {"type": "string"}})
    if e.method in ("POST", "PATCH"):
        found.append(_IDEMPOTENCY_KEY)
    return found


def _is_list(schema: Json) -> bool:
    return schema.get("type") == "array" or any(s.get("type") == "array" for s in schema.get("anyOf", []))


def _request(e: Endpoint, body: type[BaseModel], refs: Mapping[Any, Json], schemas: Json) -> Json:
    ref = refs[(body, "validation")]
    model = schemas[_name(ref)]
    plain: Json = {"schema": ref}
    if example := e.examples.get("request"):
        plain["example"] = example
    content: Json = {"application/json": plain}
    if e.upload:
        file = {"type": "string", "format": "binary", "description": e.upload.description}
        form = {
            "type": "object",
            "additionalProperties": False,
            "properties": {**model.get("properties", {}), e.upload.field: file},
            "required": [*model.get("required", []), e.upload.field],
        }
        content["multipart/form-data"] = {"schema": form}
    return {"required": bool(model.get("required")), "content": content}


def down(native: Json) -> Json:
    """A 3.1 document as 3.0.3: null becomes `nullable`, `examples` become `example`, constants become enums."""
    converted: Json = _down(native)
    converted["openapi"] = "3.0.3"
    converted["info"]["license"].pop("identifier", None)
    return converted


def _down(node: Any, *, names: bool = False) -> Any:
    """`names` says that the keys of this object are names that someone chose, not words of JSON Schema."""
    if isinstance(node, list):
        return [_down(item) for item in node]
    if not isinstance(node, dict):
        return node
    if names:
        return {key: _down(value) for key, value in node.items()}
    out: Json = {}
    for key, value in node.items():
        match key:
            case "example" | "default" | "enum":
                out[key] = value
            case "examples" if isinstance(value, list):
                out["example"] = value[0]
            case "const":
                out["enum"] = [value]
            case "exclusiveMinimum" | "exclusiveMaximum" if not isinstance(value, bool):
                out["minimum" if "Minimum" in key else "maximum"] = value
                out[key] = True
            case "prefixItems":
                out["items"] = {"anyOf": _down(value)} if value else {}
            case "propertyNames" | "contentMediaType":
                pass
            case "properties" | "schemas" | "patternProperties":
                out[key] = _down(value, names=True)
            case _:
                out[key] = _down(value)
    return _nullable(out)


def _nullable(schema: Json) -> Json:
    choices = schema.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        rest = [c for c in choices if c != {"type": "null"}]
        del schema["anyOf"]
        if len(rest) == 1 and "$ref" not in rest[0]:
            schema = {**rest[0], **schema}
        else:
            schema["allOf" if len(rest) == 1 else "anyOf"] = rest
        schema["nullable"] = True
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    elif "$ref" in schema and len(schema) > 1:
        schema["allOf"] = [{"$ref": schema.pop("$ref")}]
    return schema
