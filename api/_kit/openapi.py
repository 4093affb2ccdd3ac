"""The endpoint table as an OpenAPI document: 3.1 as pydantic speaks it, 3.0.3 by down-conversion. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from api._kit.dialects import down
from api._kit.endpoint import ROLES, Endpoint, Service
from api._kit.errors import (
    ApiError,
    BadRequest,
    Conflict,
    ErrorEnvelope,
    Forbidden,
    InternalError,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    PreconditionFailed,
    RateLimited,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
    envelope,
)
from api._kit.idempotency import LONGEST
from api._kit.paging import Page
from api._kit.samples import Request, example, path_value

Json = dict[str, Any]
Dialect = Literal["3.0", "3.1"]
_REF: Final = "#/components/schemas/{model}"
_MOMENT: Final = "2025-12-29T10:30:00Z"
_OVERVIEW: Final = """
Chatbots with text, a voice and a 3D face.

**Signing in.** `POST /api/v1/auth/login` gives a token for an hour; send it as `Authorization: Bearer ...`, and
exchange it at `/api/v1/auth/refresh` before it ends. Programs use an API key in the same header. A website's
visitor has a token for one chatbot, from `/api/v1/auth/visitor-token`.

**Errors.** Every refusal has the same envelope: a `code` for programs, a `message` for people, and the `request_id`
that is in the `X-Request-ID` header and in our logs.

**Limits.** `X-RateLimit-Limit`, `-Remaining` and `-Reset` tell of the window that ends first for you. After a 429, wait
`Retry-After` seconds.

**Doing things once.** A POST or PATCH that is sent again with the same `Idempotency-Key` has its effect once, and gets
the answer that the first one got.

**Lists.** `page`, `limit`, `sort_by`, `order` and `search`; a filter takes several values, separated by commas. The
`Link` header leads to the other pages.

**Versions.** What is here stays: fields and endpoints are added, and none goes without six months' notice in the
`Deprecation` and `Sunset` headers.
""".strip()
_ERRORS: Final[tuple[tuple[ApiError, str], ...]] = (
    (BadRequest(details="1 problem: name"), "The request is not valid"),
    (Unauthenticated(), "Authentication is missing or not valid"),
    (Forbidden(), "Not allowed"),
    (NotFound(), "No such resource"),
    (MethodNotAllowed(), "Method not allowed"),
    (Conflict(), "Conflict with what is there"),
    (PreconditionFailed(), "Changed in the meantime"),
    (PayloadTooLarge(), "Too large"),
    (UnsupportedMediaType(), "Content type not supported"),
    (RateLimited(retry_after=60, limit=120, reset_at="2025-12-29T10:31:00Z", window="minute"), "Too many requests"),
    (InternalError(), "Unexpected server error"),
    (Unavailable(), "Not available right now"),
)
_HEADERS: Final[Mapping[str, Json]] = {
    "X-Request-ID": {
        "description": "Names this request in our logs: yours, or one that the server made",
        "required": True,
        "schema": {"type": "string", "examples": ["req_abc123"]},
    },
    "API-Version": {
        "description": "The version that served the request",
        "schema": {"type": "string", "examples": ["v1"]},
    },
    "X-RateLimit-Limit": {
        "description": "Requests that the window with the least left allows",
        "schema": {"type": "integer", "examples": [120]},
    },
    "X-RateLimit-Remaining": {"description": "What is left of them", "schema": {"type": "integer", "examples": [119]}},
    "X-RateLimit-Reset": {
        "description": "When that window ends, in seconds since 1970",
        "schema": {"type": "integer", "examples": [1640995200]},
    },
    "RateLimit-Policy": {
        "description": "Every window that counts (IETF draft-ietf-httpapi-ratelimit-headers)",
        "schema": {"type": "string", "examples": ['"minute";q=120;w=60']},
    },
    "RateLimit": {
        "description": "What is left of the window with the least left",
        "schema": {"type": "string", "examples": ['"minute";r=95;t=42']},
    },
    "Retry-After": {"description": "Seconds to wait", "required": True, "schema": {"type": "integer"}},
    "WWW-Authenticate": {"description": "How to authenticate", "schema": {"type": "string"}},
    "ETag": {"description": "Names this state of the resource", "schema": {"type": "string"}},
    "Link": {"description": "The first, previous, next and last page (RFC 8288)", "schema": {"type": "string"}},
    "Idempotency-Replayed": {
        "description": "This is the answer that an earlier request with this key got",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Deprecation": {"description": "Since when it is known that this goes (RFC 9745)", "schema": {"type": "string"}},
    "Sunset": {"description": "When this goes (RFC 8594)", "schema": {"type": "string"}},
}
_VERSIONED: Final = "/api/"
_EVENTS: Final = 'id: 3\nevent: text.delta\ndata: {"text":"Hello"}\n\n'
_ALWAYS: Final = ("X-Request-ID", "API-Version")
_COUNTED: Final = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit-Policy", "RateLimit")
_PARAMETERS: Final[Mapping[str, Json]] = {
    "RequestId": {
        "name": "X-Request-ID",
        "in": "header",
        "description": "Your name for this request: 1 to 128 of A-Z a-z 0-9 . _ -; otherwise it gets one",
        "schema": {"type": "string"},
    },
    "ApiVersion": {
        "name": "API-Version",
        "in": "header",
        "description": "The version you want; until there is a second one, v1 serves both",
        "schema": {"type": "string", "enum": ["v1", "v2"]},
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "For a day, the same request with the same key has its effect once and gets the same answer",
        "schema": {"type": "string", "pattern": f"^[!-~]{{1,{LONGEST}}}$"},
    },
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "description": "The `ETag` that you read: if it is another one by now, the answer is 412 and nothing changes",
        "schema": {"type": "string"},
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "description": "The `ETag` that you have: if it is still the same, the answer is 304 and empty",
        "schema": {"type": "string"},
    },
}
_SCHEMES: Final[Mapping[str, str]] = {
    "account": "A member's token, from /api/v1/auth/login",
    "api_key": "An API key, from /api/v1/users/me/api-keys; it works within its scopes",
    "visitor": "A token of a website's visitor, from /api/v1/auth/visitor-token",
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
    schemas: Json = _closed(definitions.get("$defs", {}))
    paths: dict[str, Json] = {}
    for e in endpoints:
        paths.setdefault(e.path, {})[e.method.lower()] = _operation(e, refs, schemas, origin)
    for model in {e.query for e in endpoints if e.query}:
        schemas.pop(_name(refs[(model, "validation")]), None)
    native: Json = {
        "openapi": "3.1.1",
        "info": {
            "title": "MachineAvatars API",
            "version": version,
            "description": _OVERVIEW,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "This server"}, {"url": origin}],
        "tags": [{"name": s.name, "description": f"{s.title}: {s.purpose}"} for s in services],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": dict(_HEADERS),
            "parameters": dict(_PARAMETERS),
            "responses": {str(error.status): _error(error, text, refs) for error, text in _ERRORS},
            "securitySchemes": {
                name: {"type": "http", "scheme": "bearer", "description": text} for name, text in _SCHEMES.items()
            },
        },
    }
    return native if dialect == "3.1" else down(native)


def _closed(node: Any) -> Any:
    """A map whose keys have a pattern takes no other keys: pydantic checks that, and does not say it."""
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    more = {"additionalProperties": False} if isinstance(node.get("patternProperties"), dict) else {}
    return {**{key: _closed(value) for key, value in node.items()}, **more}


def _name(ref: Json) -> str:
    return str(ref["$ref"]).rsplit("/", 1)[1]


def _headers(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _codes(kind: type[ApiError], status: int) -> Iterator[str]:
    """Every code that a refusal with this status may have."""
    if kind.status == status:
        yield kind.code
    for inner in kind.__subclasses__():
        yield from _codes(inner, status)


def _error(error: ApiError, text: str, refs: Mapping[Any, Json]) -> Json:
    status = error.status
    codes = list(dict.fromkeys(_codes(ApiError, status)))
    schema: Json = refs[(ErrorEnvelope, "serialization")]
    more = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}.get(status, ())
    if status == 429:
        more_fields: Json = {
            "retry_after": {"type": "integer", "description": "Seconds to wait"},
            "limit": {"type": "integer", "description": "Requests that the window allows"},
            "reset_at": {"type": "string", "format": "date-time"},
        }
        inner = {"type": "object", "properties": more_fields, "required": list(more_fields)}
        schema = {"allOf": [schema, {"type": "object", "properties": {"error": inner}, "required": ["error"]}]}
    shown = envelope(error, "req_abc123", _MOMENT)
    return {
        "description": f"{text}: {', '.join(f'`{code}`' for code in codes)}",
        "x-codes": codes,
        "headers": _headers(*_ALWAYS, *_COUNTED, *more),
        "content": {"application/json": {"schema": schema, "example": shown}},
    }


def _operation(e: Endpoint, refs: Mapping[Any, Json], schemas: Json, origin: str) -> Json:
    responses: Json = {str(e.status): _success(e, refs, schemas)}
    if e.etag and e.method == "GET":
        responses["304"] = {"description": "Not modified", "headers": _headers(*_ALWAYS, "ETag")}
    for status in sorted(_statuses(e)):
        responses[str(status)] = {"$ref": f"#/components/responses/{status}"}
    words = {error.status: text for error, text in _ERRORS}
    for status, model in e.others.items():
        schema = refs[(model, "serialization")]
        other = {"application/json": {"schema": schema, "example": example(schema, schemas)}}
        responses[str(status)] = {"description": words[status], "headers": _headers(*_ALWAYS), "content": other}
    request = _request(e, e.body, refs, schemas) if e.body else None
    body = request["content"]["application/json"]["example"] if request else None
    query = {p["name"]: example(p["schema"], schemas, p["name"]) for p in _query(e, refs, schemas) if p["required"]}
    sample = Request.of(e.method, origin, e.path, query, guarded=not e.public, body=body)
    operation: Json = {
        "operationId": f"{e.service}.{e.name}",
        "tags": [e.service],
        "summary": e.summary,
        "description": _description(e),
        "x-roles": sorted(e.who),
        "security": _security(e),
        "parameters": _parameters(e, refs, schemas),
        "responses": responses,
        "x-codeSamples": sample.samples(),
    }
    if e.deprecation:
        operation["deprecated"] = True
    if request:
        operation["requestBody"] = request
    return operation


def _description(e: Endpoint) -> str:
    who = f"For: {', '.join(ROLES[role] for role in sorted(e.who))}."
    scope = f" API keys need the scope `{e.scope}`." if "K" in e.who else ""
    return f"{e.description}\n\n{who}{scope}".strip()


def _security(e: Endpoint) -> list[Json]:
    """Any one of these; an empty one means that nobody has to say who asks."""
    names = {"V": "visitor", "K": "api_key", "P": ""}
    wanted = {names.get(role, "account") for role in e.who}
    return [] if wanted == {""} else [{name: []} if name else {} for name in sorted(wanted)]


def _success(e: Endpoint, refs: Mapping[Any, Json], schemas: Json) -> Json:
    schema = refs[(e.returns, "serialization")]
    shown = e.examples.get("response") or example(schema, schemas)
    names = [*_ALWAYS, *(_COUNTED if e.counted else ())]
    if e.etag:
        names.append("ETag")
    if issubclass(e.returns, Page):
        names.append("Link")
    if e.method in ("POST", "PATCH"):
        names.append("Idempotency-Replayed")
    if e.deprecation:
        names += ["Deprecation", "Sunset"]
    content: Json = {"application/json": {"schema": schema, "example": shown}}
    if e.streams:
        content["text/event-stream"] = {"example": _EVENTS}
    return {"description": "Created" if e.status == 201 else "Success", "headers": _headers(*names), "content": content}


def _statuses(e: Endpoint) -> set[int]:
    found = {400, 500, 503, *e.errors}
    if not e.public:
        found |= {401, 403}
    if "{" in e.path:
        found.add(404)
    if e.method in ("POST", "PUT", "PATCH") or e.body is not None:
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
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,128}$", "examples": [path_value(name)]},
        }
        for name in re.findall(r"{(\w+)}", e.path)
    ]
    found += _query(e, refs, schemas)
    shared = ["RequestId", "ApiVersion"] if e.path.startswith(_VERSIONED) else ["RequestId"]
    if e.etag:
        shared.append("IfNoneMatch" if e.method == "GET" else "IfMatch")
    if e.method in ("POST", "PATCH"):
        shared.append("IdempotencyKey")
    return found + [{"$ref": f"#/components/parameters/{name}"} for name in shared]


def _query(e: Endpoint, refs: Mapping[Any, Json], schemas: Json) -> list[Json]:
    if not e.query:
        return []
    model = schemas[_name(refs[(e.query, "validation")])]
    found = []
    for name, nullable in model["properties"].items():
        schema = _given(nullable)
        parameter: Json = {"name": name, "in": "query", "required": name in model.get("required", []), "schema": schema}
        if "description" in schema:
            parameter["description"] = schema["description"]
        if schema.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        found.append(parameter)
    return found


def _given(schema: Json) -> Json:
    """A parameter that is there is never null."""
    rest = {key: value for key, value in schema.items() if key != "default" or value is not None}
    choices = [choice for choice in rest.pop("anyOf", ()) if choice != {"type": "null"}]
    return {**choices[0], **rest} if len(choices) == 1 else {**rest, **({"anyOf": choices} if choices else {})}


def _request(e: Endpoint, body: type[BaseModel], refs: Mapping[Any, Json], schemas: Json) -> Json:
    ref = refs[(body, "validation")]
    model = schemas[_name(ref)]
    shown = e.examples.get("request")
    shown = example(ref, schemas, whole=False) if shown is None else shown
    content: Json = {"application/json": {"schema": ref, "example": shown}}
    if e.upload:
        instead = {name for rule in model.get("allOf", ()) for name in rule["required"]}
        fields = {
            name: _given(schema)
            for name, schema in model.get("properties", {}).items()
            if name not in instead and _given(schema).get("type", "object") != "object"
        }
        file = {"type": "string", "format": "binary", "description": e.upload.description}
        form = {
            "type": "object",
            "additionalProperties": False,
            "properties": {**fields, e.upload.field: file},
            "required": [*model.get("required", []), e.upload.field],
        }
        content["multipart/form-data"] = {"schema": form}
    needed = any(word in model for word in ("required", "oneOf", "allOf"))
    return {"required": needed, "content": content}
