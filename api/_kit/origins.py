"""Which websites may use a chatbot: a request's `Origin` against the bot's list. Nothing listed, nobody allowed."""

from collections.abc import Collection
from urllib.parse import urlsplit

_DEFAULT_PORT = {"http": 80, "https": 443}


def normal(origin: str) -> str:
    """`scheme://host[:port]` in the form that browsers send. Raises ValueError for anything else."""
    parts = urlsplit(origin.strip())
    host = (parts.hostname or "").encode("idna").decode()
    if parts.scheme not in _DEFAULT_PORT or not host or parts.username is not None:
        raise ValueError("an origin is http(s)://host or http(s)://host:port")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("an origin has no path")
    port = "" if parts.port in (None, _DEFAULT_PORT[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def admits(allowed: Collection[str], origin: str | None, *, same_origin: bool = False) -> bool:
    """Whether a request from `origin` may use a bot.

    Browsers leave `Origin` out of a GET to the page's own host; `same_origin` is what they say about it instead
    (`Sec-Fetch-Site`).
    """
    return same_origin if origin is None else origin in allowed
