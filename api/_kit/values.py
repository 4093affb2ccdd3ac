"""The kinds of value that requests and responses are made of."""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


class Input(BaseModel):
    """A request body or query: a field that it does not name is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Output(BaseModel):
    """A response body."""

    model_config = ConfigDict(frozen=True)


def rfc3339(milliseconds: int) -> str:
    """UTC, whole seconds, `Z`: the API's form of a time."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def milliseconds(seconds: float) -> int:
    """The form in which times are stored."""
    return int(seconds * 1000)


Timestamp = Annotated[
    int,
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema(
        {"type": "string", "format": "date-time", "examples": ["2025-12-29T10:30:00Z"]}, mode="serialization"
    ),
]
"""Milliseconds since the epoch inside, RFC 3339 outside."""


def _written(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not _RFC3339.fullmatch(value):
        raise ValueError("a time is written as in 2025-12-29T10:30:00Z")
    return datetime.fromisoformat(value.upper())


Moment = Annotated[AwareDatetime, BeforeValidator(_written)]
"""A time in a request, as RFC 3339 writes it."""


def _day(value: Any) -> Any:
    if isinstance(value, str) and not _DATE.fullmatch(value):
        raise ValueError("a day is written as in 2025-12-29")
    return value


Day = Annotated[date, BeforeValidator(_day)]
"""A day in a request, as RFC 3339 writes it: a number is none."""


def _commas(value: Any) -> Any:
    return [part for part in value.split(",") if part] if isinstance(value, str) else value


Commas = BeforeValidator(_commas)
"""Marks a list in a query: `status=active,paused` means either."""

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120, pattern=r"\S")]
LanguageTag = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$", max_length=35)]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
