"""Lists: the query that every one takes, the envelope that every one answers with."""

from collections.abc import Sequence
from typing import Generic, Literal, Self, TypeVar
from urllib.parse import urlencode

from pydantic import Field

from api._kit.values import Input, Moment, Output

T = TypeVar("T")


class PageQuery(Input):
    """A list's query. A service narrows `sort_by` to the fields it can sort by, and adds its filters."""

    page: int = Field(1, ge=1, le=1_000_000, description="Page number, from 1", examples=[2])
    limit: int = Field(20, ge=1, le=100, description="Items a page", examples=[50])
    sort_by: str = Field("created_at", description="Field to sort by")
    order: Literal["asc", "desc"] = Field("desc", description="Sort order")
    search: str | None = Field(None, min_length=1, max_length=200, description="Text to look for")
    created_after: Moment | None = Field(None, description="Only what was created at this time or later")
    created_before: Moment | None = Field(None, description="Only what was created before this time")


class Pagination(Output):
    page: int
    limit: int
    total_items: int
    total_pages: int
    has_next: bool
    has_prev: bool


class Page(Output, Generic[T]):
    """One page of a list."""

    data: list[T]
    pagination: Pagination

    @classmethod
    def of(cls, items: Sequence[T], query: PageQuery) -> Self:
        """The page that is asked for, of a list that is here whole and in order."""
        first = (query.page - 1) * query.limit
        return cls(data=list(items[first : first + query.limit]), pagination=pagination(query, len(items)))


def pagination(query: PageQuery, total: int) -> Pagination:
    pages = -(-total // query.limit)
    return Pagination(
        page=query.page,
        limit=query.limit,
        total_items=total,
        total_pages=pages,
        has_next=query.page < pages,
        has_prev=query.page > 1,
    )


def links(path: str, parameters: dict[str, str], pages: Pagination) -> str:
    """The `Link` header (RFC 8288): first, prev, next and last, relative to the host."""
    wanted = {"first": 1, "last": max(1, pages.total_pages)}
    if pages.has_prev:
        wanted["prev"] = min(pages.page - 1, wanted["last"])
    if pages.has_next:
        wanted["next"] = pages.page + 1
    return ", ".join(
        f'<{path}?{urlencode({**parameters, "page": number})}>; rel="{rel}"' for rel, number in sorted(wanted.items())
    )
