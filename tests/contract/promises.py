"""What the API has promised, one promise a line, and whether a document still keeps it.

`python -m tests.contract.promises` adds the promises of today's document to docs/api-v1.txt, from which none goes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from server.gateway import openapi

KEPT = Path(__file__).resolve().parents[2] / "docs" / "api-v1.txt"
DEEPEST = 6
"""How far into nested fields promises are looked for."""
Json = dict[str, Any]


def document() -> Json:
    return openapi(version="0", origin="http://localhost:8000", dialect="3.1")


def promises(document: Json) -> set[str]:
    """`POST /path`, `POST /path < field type` for what a request may have, `POST /path > 200 field type` for what an
    answer has."""
    found: set[str] = set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path}"
            found.add(name)
            for parameter in operation["parameters"]:
                if parameter.get("in") == "query":
                    found.add(f"{name} ? {parameter['name']}")
            body = _json(operation.get("requestBody", {}))
            found |= {f"{name} < {field}" for field, _ in _fields(body, document)}
            for status, answer in operation["responses"].items():
                if status.startswith("2"):
                    found |= {f"{name} > {status} {field}" for field, _ in _fields(_json(answer), document)}
    return found


def demands(document: Json) -> set[str]:
    """What a request must have: `POST /path < field`."""
    found = set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path}"
            body = _json(operation.get("requestBody", {}))
            found |= {f"{name} < {field}" for field, required in _fields(body, document) if required}
            found |= {
                f"{name} ? {p['name']}" for p in operation["parameters"] if p.get("in") == "query" and p["required"]
            }
    return found


def broken(kept: set[str], document: Json) -> list[str]:
    """Promises that the document does not keep, and demands that are new on an operation that was there."""
    now = promises(document)
    gone = [f"gone: {line}" for line in sorted({line.removesuffix(" !") for line in kept} - now)]
    there = {line for line in kept if " < " not in line and " > " not in line and " ? " not in line}
    more = sorted(
        line for line in demands(document) if f"{line} !" not in kept and _operation(line) in there and _outermost(line)
    )
    return gone + [f"demanded: {line}" for line in more]


def lines(document: Json) -> set[str]:
    """The promises; those that are demands as well end in an exclamation mark."""
    wanted = demands(document)
    return {f"{line} !" if line in wanted else line for line in promises(document)}


def _operation(line: str) -> str:
    return line.partition(" < ")[0].partition(" ? ")[0]


def _outermost(line: str) -> bool:
    """A field of an object that is itself optional and new is no new demand."""
    return "." not in line.rpartition(" ")[2]


def _json(holder: Json) -> Json:
    schema: Json = holder.get("content", {}).get("application/json", {}).get("schema", {})
    return schema


def _fields(schema: Json, document: Json, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, bool]]:
    """Every field with its dotted path and whether it is required."""
    if depth > DEEPEST:
        return
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    for inner in [*schema.get("anyOf", ()), *schema.get("allOf", ())]:
        yield from _fields(inner, document, prefix, depth + 1)
    if "items" in schema:
        yield from _fields(schema["items"], document, f"{prefix}[]", depth + 1)
    for name, inner in schema.get("properties", {}).items():
        field = f"{prefix}.{name}" if prefix else name
        yield field, name in schema.get("required", ())
        yield from _fields(inner, document, field, depth + 1)


if __name__ == "__main__":
    before = set(KEPT.read_text().splitlines()) if KEPT.exists() else set()
    if complaints := broken(before, document()):
        raise SystemExit("\n".join(complaints))
    KEPT.write_text("\n".join(sorted(lines(document()))) + "\n")
