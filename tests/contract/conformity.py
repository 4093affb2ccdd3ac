"""Holds every response against the OpenAPI 3.1 document: its path, its status, its headers, its body."""

import json
from types import SimpleNamespace
from typing import Any

import aiohttp
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from server.gateway import openapi, table


class Conformity:
    """A trace hook of the aiohttp client. Responses of addresses outside the table are left alone."""

    def __init__(self) -> None:
        self.document = openapi(version="0.1.0", origin="http://localhost:8000", dialect="3.1")
        self._registry: Any = Registry().with_resource(
            "urn:api", Resource(contents=self.document, specification=DRAFT202012)
        )
        self._endpoints = [(e.method, e.path.split("/"), e) for e in table()]
        self.seen: set[tuple[str, str, int]] = set()

    async def check(self, _session: Any, _context: SimpleNamespace, end: aiohttp.TraceRequestEndParams) -> None:
        path = self._template(end.method, end.url.path)
        if path is None or end.url.name == "openapi.json" or end.response.status in (405, 304):
            return
        operation = self.document["paths"][path][("get" if end.method == "HEAD" else end.method).lower()]
        responses = operation["responses"]
        status = str(end.response.status)
        assert status in responses, f"{end.method} {path} answered {status}, which is not documented"
        self.seen.add((end.method, path, end.response.status))
        if end.method == "HEAD":
            return
        described = self.resolved(responses[status])
        missing = [
            name
            for name, header in described.get("headers", {}).items()
            if self.resolved(header).get("required") and name not in end.response.headers
        ]
        assert not missing, f"{end.method} {path} answered {status} without {missing}"
        content = described["content"]
        assert end.response.content_type in content, f"{end.method} {path} answered {end.response.content_type}"
        if end.response.content_type == "application/json":
            self.validator(content["application/json"]["schema"]).validate(await end.response.json())

    def validator(self, schema: dict[str, Any]) -> Draft202012Validator:
        """Of a schema that stands in the document."""
        inner = json.loads(json.dumps(schema).replace('"#/', '"urn:api#/'))
        return Draft202012Validator(inner, registry=self._registry)

    def resolved(self, node: Any) -> Any:
        """What a node of the document, or the reference that it is, says."""
        if "$ref" not in node:
            return node
        found: Any = self.document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return found

    def _template(self, method: str, path: str) -> str | None:
        parts = path.split("/")
        matching = [
            endpoint.path
            for verb, template, endpoint in self._endpoints
            if verb == ("GET" if method == "HEAD" else method)
            and len(template) == len(parts)
            and all(t == p or t.startswith("{") for t, p in zip(template, parts, strict=True))
        ]
        return min(matching, key=lambda found: found.count("{")) if matching else None
