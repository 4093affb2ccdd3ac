"""Examples and code samples of an operation, made of its schemas, so that none is forgotten or out of date. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pprint import pformat
from typing import Any, Final
from urllib.parse import quote, urlencode

Json = dict[str, Any]
TOKEN: Final = "YOUR_TOKEN"
"""Where a reader puts the own token."""
NAMED: Final[Mapping[str, Any]] = {
    "chatbot_id": "cb_12345",
    "user_id": "user_12345",
    "organization_id": "org_12345",
    "conversation_id": "conv_xyz789",
    "message_id": "msg_01JD0000000000000000000000",
    "job_id": "job_01JD0000000000000000000000",
    "key_id": "key_01JD0000000000000000000000",
    "avatar_id": "avatar_female_01",
    "voice_id": "en_US-joe-medium",
    "email": "user@example.com",
    "password": "a long sentence of mine",
    "new_password": "another long sentence of mine",
    "current_password": "a long sentence of mine",
    "code": "123456",
    "token": "bsuh2TKmZzI1vN0jS4Yq8g",
    "language": "en-US",
    "locale": "en-US",
    "timezone": "Europe/Berlin",
    "phone": "+4930123456",
    "message": "Hello, how can you help me?",
    "response": "I can answer questions about your order.",
    "access_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9...",
    "url": "https://www.example.com",
    "version": "0.1.0",
}
"""What values of these names look like, where their field says nothing of its own."""
_FORMATS: Final[Mapping[str, str]] = {
    "date-time": "2025-12-29T10:30:00Z",
    "date": "2025-12-29",
    "email": "user@example.com",
    "uri": "https://www.example.com",
    "password": "a long sentence of mine",
    "uuid": "3f0c6f0e-8a8b-4c1e-9a51-6b7f0a8f3c55",
}
_JSON_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {"string": str, "integer": int, "number": (int, float)}


def example(schema: Json, schemas: Json, name: str = "", *, whole: bool = True) -> Any:
    """A value that looks like what `schema` (JSON Schema 2020-12) describes; `whole` objects have all their properties,
    others those that are required or say what they look like, and at least one. `schemas` is what references point
    into."""
    if found := schema.get("examples"):
        return found[0]
    if "const" in schema:
        return schema["const"]
    if "$ref" in schema:
        return example(schemas[schema["$ref"].rsplit("/", 1)[1]], schemas, name, whole=whole)
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema and "properties" not in schema:
            chosen: Json = next((s for s in schema[several] if s.get("type") != "null"), {})
            return example(chosen, schemas, name, whole=whole)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object")
    if name in NAMED and isinstance(NAMED[name], _JSON_TYPES.get(kind, ())):
        return NAMED[name]
    if schema.get("default") is not None:
        return schema["default"]
    match kind:
        case "object":
            return _object(schema, schemas, whole=whole)
        case "array":
            item = example(schema["items"], schemas, name.removesuffix("s"), whole=whole) if "items" in schema else ""
            return [item] * max(1, schema.get("minItems", 0))
        case "string":
            return _FORMATS.get(schema.get("format", ""), "text".ljust(schema.get("minLength", 0), "."))
        case "integer" | "number":
            return schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
        case "boolean":
            return True
        case _:
            return None


def _object(schema: Json, schemas: Json, *, whole: bool) -> Json:
    properties = schema.get("properties", {})
    branches: list[Json] = schema.get("oneOf") or schema.get("allOf") or [{}]
    first, others = branches[0], branches[1:]
    required = {*schema.get("required", ()), *first.get("required", ())}
    instead = {name for other in others for name in other.get("required", ())} if first.get("required") else ()
    shown = [name for name, inner in properties.items() if whole or name in required or "examples" in inner]
    return {
        name: None if name in instead else example(properties[name], schemas, name, whole=whole)
        for name in shown or list(properties)[:1]
    }


def path_value(name: str) -> str:
    """What stands for a path's parameter."""
    return str(NAMED.get(name, f"{name.removesuffix('_id')}_12345"))


@dataclass(frozen=True, slots=True)
class Request:
    """An operation as someone would call it. `body` is None where there is none."""

    method: str
    url: str
    guarded: bool
    body: Any = None

    @classmethod
    def of(
        cls, method: str, origin: str, path: str, query: Mapping[str, Any], *, guarded: bool, body: Any
    ) -> "Request":
        filled = re.sub(r"{(\w+)}", lambda found: quote(path_value(found[1])), path)
        asked = f"?{urlencode(query)}" if query else ""
        return cls(method, f"{origin}{filled}{asked}", guarded, body)

    def samples(self) -> list[Json]:
        """For `x-codeSamples`."""
        return [
            {"lang": "Shell", "label": "cURL", "source": self.curl()},
            {"lang": "Python", "label": "Python", "source": self.python()},
            {"lang": "JavaScript", "label": "JavaScript", "source": self.javascript()},
        ]

    def curl(self) -> str:
        lines = [f"curl -X {self.method} {_shell(self.url)}"]
        if self.guarded:
            lines.append(f'-H "Authorization: Bearer {TOKEN}"')
        if self.body is not None:
            lines.append('-H "Content-Type: application/json"')
            lines.append(f"-d {_shell(json.dumps(self.body))}")
        return " \\\n  ".join(lines)

    def python(self) -> str:
        arguments = [json.dumps(self.url)]
        if self.guarded:
            arguments.append(f'headers={{"Authorization": "Bearer {TOKEN}"}}')
        if self.body is not None:
            literal = pformat(self.body, width=88, sort_dicts=False).replace("\n", "\n         ")
            arguments.append(f"json={literal}")
        arguments.append("timeout=30")
        inner = "".join(f"    {argument},\n" for argument in arguments)
        call = f"requests.{self.method.lower()}(\n{inner})"
        return f"import requests\n\nresponse = {call}\nresponse.raise_for_status()\nprint(response.json())\n"

    def javascript(self) -> str:
        headers = {}
        if self.guarded:
            headers["Authorization"] = f"Bearer {TOKEN}"
        if self.body is not None:
            headers["Content-Type"] = "application/json"
        options = [f'  method: "{self.method}",']
        if headers:
            options.append(f"  headers: {json.dumps(headers)},")
        if self.body is not None:
            options.append(f"  body: JSON.stringify({json.dumps(self.body)}),")
        inner = "\n".join(options)
        return (
            f"const response = await fetch({json.dumps(self.url)}, {{\n{inner}\n}});\n"
            "if (!response.ok) throw new Error(await response.text());\n"
            "console.log(await response.json());\n"
        )


def _shell(text: str) -> str:
    """As one word of a POSIX shell."""
    return "'" + text.replace("'", "'\\''") + "'"
