"""Rules about several fields at once, said in JSON Schema; the model's validator is what enforces them. Pure.

Each is for `json_schema_extra`. Fields are given with the JSON type that they have when they are not null.
"""

from typing import Any


def exactly_one(**fields: str) -> dict[str, Any]:
    """One of these fields is given, and not null."""
    return {"oneOf": [_given(name, kind) for name, kind in fields.items()]}


def together(**fields: str) -> dict[str, Any]:
    """Either all of these fields are given and not null, or none is."""
    properties = {name: {"type": kind} for name, kind in fields.items()}
    absent = {name: {"type": "null"} for name in fields}
    return {"oneOf": [{"properties": absent}, {"required": list(fields), "properties": properties}]}


def needed(**fields: str) -> dict[str, Any]:
    """These fields are given as JSON, where a form has a file instead."""
    return {"allOf": [_given(name, kind) for name, kind in fields.items()]}


def _given(name: str, kind: str) -> dict[str, Any]:
    return {"required": [name], "properties": {name: {"type": kind}}}
