"""OpenAPI 3.1 as 3.0.3: the words of JSON Schema 2020-12 that the older dialect has not, said in its own. Pure."""

from typing import Any, Final

Json = dict[str, Any]
_NULL: Final[Json] = {"type": "string", "nullable": True, "enum": [None]}
"""Nothing but null."""


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
            case "additionalProperties" if "patternProperties" in node:
                pass
            case "default" if value is None or isinstance(value, dict):
                pass
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
            case "patternProperties":
                patterned = [_down(schema) for schema in value.values()]
                out["additionalProperties"] = patterned[0] if len(patterned) == 1 else {"anyOf": patterned}
            case "properties" | "schemas":
                out[key] = _down(value, names=True)
            case _:
                out[key] = _down(value)
    return _nullable(out)


def _nullable(schema: Json) -> Json:
    if schema == {"type": "null"}:
        return _NULL
    choices = schema.get("anyOf")
    if isinstance(choices, list) and _NULL in choices:
        rest = [c for c in choices if c != _NULL]
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
