"""The one outbound HTTP client for addresses that strangers name, guarded where it matters: at the dial.

A name can change its answer between a check and a connection, so nothing is decided by looking names up. The address
that is about to be connected to is judged by `server.core.addresses`, on every connection, however it was come by.
What the operator allows (`MA_EGRESS__ALLOW`) is dialled unguarded, and only under the very host and port that it says.
"""

import asyncio
import re
import socket
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import CIMultiDict
from yarl import URL

from api._kit.errors import UrlNotAllowed
from api._kit.ports import Fetched, FetchFailed, FetchLimits
from server.core.addresses import public

WEB_PORTS: Final = frozenset({80, 443})
LONGEST_URL: Final = 2048
CONNECTIONS: Final = 64
CONNECTIONS_PER_HOST: Final = 8
LOOKUPS: Final = 8
"""Threads that look names up: their own, so that slow name servers hold up nobody else."""
LOOKUP: Final = 5.0
"""Seconds that a name may take to be looked up, and to wait for one of the threads."""
INFLATE_STEP: Final = 256 * 1024
"""Bytes inflated before the loop gets a turn: about a millisecond."""

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_CARRIED_ABROAD: Final = frozenset({"accept", "accept-language", "user-agent"})
"""What a redirect to another origin may still carry. Everything else may be a credential."""
_NAME: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.(?!-)[a-z0-9_-]{1,63})*")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LOCAL_NAMES: Final = ("localhost", "local", "internal", "home.arpa")

Lookup = Callable[[str, int], Sequence[str]]
AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]
OpenSocket = Callable[[AddressInfo], socket.socket]
Place = tuple[str, int]
"""A host in lower case, IPv6 without brackets, and a port."""


class NotPublic(OSError):
    """The dial was refused. All have the same words, or the connector would hide them among other failures."""

    def __init__(self) -> None:
        super().__init__("the address is not public")


def system_lookup(host: str, port: int) -> Sequence[str]:
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def open_socket(info: AddressInfo) -> socket.socket:
    return socket.socket(info[0], info[1], info[2])


def allowed_places(text: str) -> frozenset[Place]:
    """The operator's exceptions, `host:port,...`. Raises ValueError that says what is wrong."""
    return frozenset(_place(item.strip()) for item in text.split(",") if item.strip())


def _place(item: str) -> Place:
    try:
        parts = urlsplit(f"//{item}")
        host, port = parts.hostname, parts.port
        if parts.netloc != item or "@" in item:
            host = None
    except ValueError:
        host = port = None
    if not host or not port:
        raise ValueError(f"MA_EGRESS__ALLOW: {item!r} is not host:port (an IPv6 address goes in brackets)")
    return host, port


class Destinations:
    """Where requests may go."""

    def __init__(self, allow: frozenset[Place] = frozenset(), *, ports: frozenset[int] = WEB_PORTS) -> None:
        self._allow = allow
        self._ports = ports

    def check(self, text: str) -> URL:
        """The address in its normal form. Raises UrlNotAllowed; looks no name up."""
        if len(text) > LONGEST_URL or re.search(r"[\s\x00-\x20\x7f\\]", text):
            raise UrlNotAllowed(details="the address is too long, or holds spaces or backslashes")
        try:
            url = URL(text)
            host, port = url.raw_host, url.port
        except ValueError as error:
            raise UrlNotAllowed(details=f"not an address: {error}") from None
        if url.scheme not in ("http", "https"):
            raise UrlNotAllowed(details="only http and https are allowed")
        if not host or not port:
            raise UrlNotAllowed(details="the address has no host")
        if "@" in url.raw_authority:
            raise UrlNotAllowed(details="an address may not hold a user name or a password")
        bare = host.removesuffix(".")
        if not self.excepted(bare, port):
            self._judge(bare, port)
        return url.with_host(bare).with_fragment(None)

    def excepted(self, host: str, port: int) -> bool:
        """Whether the operator allows this place, wherever it is."""
        return (host.lower(), port) in self._allow

    def dialable(self, address: str, port: int) -> bool:
        """Whether a connection may go to this address, which is no name."""
        return port in self._ports and public(address)

    def _judge(self, host: str, port: int) -> None:
        if port not in self._ports:
            raise UrlNotAllowed(details="only the ports 80 and 443 are allowed")
        if (literal := _literal(host)) is not None:
            if not public(str(literal)):
                raise UrlNotAllowed(details="the address is not a public one")
            return
        labels = host.split(".")
        if not _NAME.fullmatch(host) or len(host) > 253 or _NUMBER.fullmatch(labels[-1]):
            raise UrlNotAllowed(details="the host is neither a name nor a plain IP address")
        if len(labels) == 1 or any(host == name or host.endswith(f".{name}") for name in _LOCAL_NAMES):
            raise UrlNotAllowed(details="the host is a name of a private network")


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


class GuardedEgress:
    """Fills the `Egress` port. Belongs to the running loop; `close` it.

    It reads no proxy from the environment and keeps no cookies. `lookup` and `open_socket` replace the system's in
    tests, which have no internet.
    """

    def __init__(
        self,
        destinations: Destinations | None = None,
        *,
        agent: str = "machineavatars",
        lookup: Lookup = system_lookup,
        open_socket: OpenSocket = open_socket,
    ) -> None:
        self.destinations = destinations or Destinations()
        self._agent = agent
        self._open_socket = open_socket
        self.names = Names(lookup)
        self._guarded = self._session(self.dial)
        self._excepted = self._session(open_socket)

    def check(self, url: str) -> str:
        return str(self.destinations.check(url))

    def excepted(self, url: str) -> bool:
        checked = URL(url)
        return self.destinations.excepted(checked.raw_host or "", checked.port or 0)

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        limits: FetchLimits | None = None,
    ) -> Fetched:
        limits = limits or FetchLimits()
        carried = CIMultiDict({"User-Agent": self._agent})
        carried.update(headers or {})
        try:
            async with asyncio.timeout(limits.seconds):
                return await self._follow(method.upper(), self.destinations.check(url), carried, body, limits)
        except TimeoutError as error:
            raise FetchFailed("timeout", "the address did not answer in time") from error
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, NotPublic):
                raise UrlNotAllowed(details="the name leads to an address that is not public") from None
            raise FetchFailed("connect", "the address cannot be reached") from error
        except aiohttp.ClientConnectionError as error:
            raise FetchFailed("connect", "the connection was lost") from error
        except (aiohttp.ClientError, zlib.error) as error:
            raise FetchFailed("broken", "the answer cannot be read") from error

    async def close(self) -> None:
        await self._guarded.close()
        await self._excepted.close()
        await self.names.close()

    def dial(self, info: AddressInfo) -> socket.socket:
        """A socket to connect to the address with. Raises NotPublic."""
        address, port = info[4][:2]
        if not self.destinations.dialable(address, port):
            raise NotPublic
        return self._open_socket(info)

    async def _follow(
        self, method: str, url: URL, headers: CIMultiDict[str], body: bytes | None, limits: FetchLimits
    ) -> Fetched:
        for hop in range(limits.redirects + 1):
            async with self._request(method, url, headers, body, limits) as response:
                location = response.headers.get("Location")
                if response.status not in _REDIRECTS or not location or not limits.redirects:
                    return await _answer(response, url, limits)
            if hop == limits.redirects:
                break
            target = self._target(url, location)
            if target.origin() != url.origin():
                headers = CIMultiDict(item for item in headers.items() if item[0].lower() in _CARRIED_ABROAD)
            if response.status == 303 or (response.status in (301, 302) and method == "POST"):
                method, body = ("HEAD" if method == "HEAD" else "GET"), None
                headers = CIMultiDict(item for item in headers.items() if not item[0].lower().startswith("content-"))
            if body is not None and target.origin() != url.origin():
                raise FetchFailed("redirects", "the address sends us elsewhere with what we say")
            url = target
        raise FetchFailed("redirects", f"the address redirects more than {limits.redirects} times")

    def _target(self, url: URL, location: str) -> URL:
        try:
            joined = str(url.join(URL(location)))
        except ValueError:
            raise UrlNotAllowed(details="the address redirects to something that is no address") from None
        return self.destinations.check(joined)

    def _request(
        self, method: str, url: URL, headers: CIMultiDict[str], body: bytes | None, limits: FetchLimits
    ) -> Any:
        headers["Accept-Encoding"] = "gzip, deflate"  # what is inflated here
        session = self._excepted if self.destinations.excepted(url.raw_host or "", url.port or 0) else self._guarded
        return session.request(
            method,
            url,
            headers=headers,
            data=body,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(connect=limits.connect_seconds),
        )

    def _session(self, dial: OpenSocket) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=self.names,
            use_dns_cache=False,
            socket_factory=dial,
            limit=CONNECTIONS,
            limit_per_host=CONNECTIONS_PER_HOST,
        )
        return aiohttp.ClientSession(
            connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        )


async def _answer(response: aiohttp.ClientResponse, url: URL, limits: FetchLimits) -> Fetched:
    headers = {name.lower(): ", ".join(response.headers.getall(name)) for name in response.headers}
    answer = Fetched(str(url), response.status, headers, b"")
    if 200 <= response.status < 300 and not _accepted(answer.content_type, limits.content_types):
        raise FetchFailed("content_type", f"the address holds {answer.content_type or 'something unnamed'}")
    body = await _read(response, limits.bytes)
    if len(body) > limits.bytes:
        response.close()
        if not limits.cut:
            raise FetchFailed("too_large", f"the answer is larger than {limits.bytes} bytes")
    return Fetched(answer.url, answer.status, headers, body[: limits.bytes])


def _accepted(content_type: str, taken: Sequence[str]) -> bool:
    return not taken or any(
        content_type == one or (one.endswith("/") and content_type.startswith(one)) for one in taken
    )


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body, inflated, and one byte more than `most` when it is longer."""
    inflate = _inflation(response.headers.get("Content-Encoding", ""))
    body, received = bytearray(), 0
    async for chunk in response.content.iter_any():
        received += len(chunk)
        for piece in inflate(chunk):
            body += piece[: most + 1 - len(body)]
            if len(body) > most:
                return bytes(body)
            await asyncio.sleep(0)
        if received > most + INFLATE_STEP:
            raise FetchFailed("too_large", "the answer is compressed into more than it holds")
    return bytes(body)


def _inflation(encoding: str) -> Callable[[bytes], Iterator[bytes]]:
    match encoding.strip().lower():
        case "" | "identity":
            return lambda chunk: iter((chunk,))
        case "gzip" | "x-gzip" | "deflate":
            return partial(_inflate, [zlib.decompressobj(wbits=47)])
    raise FetchFailed("broken", "the answer is compressed in a way that was not asked for")


def _inflate(state: list[Any], chunk: bytes) -> Iterator[bytes]:
    """`state` holds the decompressor of the current gzip member. Raises zlib.error."""
    while chunk:
        yield state[0].decompress(chunk, INFLATE_STEP)
        chunk = state[0].unconsumed_tail
        if state[0].eof:
            chunk = state[0].unused_data
            if not chunk.startswith(b"\x1f\x8b"):
                return
            state[0] = zlib.decompressobj(wbits=47)


class Names(AbstractResolver):
    """Looks names up in threads of its own. Judges nothing: the dial does."""

    def __init__(self, lookup: Lookup = system_lookup) -> None:
        self._lookup = lookup
        self._threads = ThreadPoolExecutor(max_workers=LOOKUPS, thread_name_prefix="names")

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """At least one. Raises OSError; TimeoutError, which is one, after `LOOKUP` seconds."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(LOOKUP):
            found = await loop.run_in_executor(self._threads, self._lookup, host, port)
        if found:
            return found
        raise OSError(f"{host} has no address")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in await self.addresses(host, port)
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
