"""The way out: no stranger's address leads to a private network, and no answer takes more than it may."""

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from api._kit.errors import UrlNotAllowed
from api._kit.ports import FetchFailed, FetchLimits
from server.core.addresses import public
from server.infra.egress import Destinations, GuardedEgress, allowed_places
from tests.security.canary import FRONT, PUBLIC, Canary, World, canary, egress, website
from tests.security.corpus import CORPUS, LOOPBACK

SECRET = {"Authorization": "Bearer token", "Cookie": "a=b", "X-Api-Key": "key", "Accept": "text/html"}
QUICK = FetchLimits(seconds=3, connect_seconds=2)


@asynccontextmanager
async def outside(
    *routes: web.RouteDef, world: World | None = None, ports: tuple[int, ...] = ()
) -> AsyncIterator[tuple[str, GuardedEgress]]:
    """A website of the test's own under a public-looking name, and an egress that may reach it."""
    async with website(*routes) as port:
        world = world or World()
        world.names = {FRONT: [["127.0.0.1"]], "other.example": [["127.0.0.1"]], **world.names}
        out = egress(world, ports=ports, allow=[(FRONT, port), ("other.example", port)])
        try:
            yield f"http://{FRONT}:{port}", out
        finally:
            await out.close()


async def refused(out: GuardedEgress, url: str, bird: Canary) -> None:
    with pytest.raises((UrlNotAllowed, FetchFailed)):
        await out.fetch("GET", url, limits=QUICK)
    assert bird.hits == 0, f"{url} reached the canary"


async def test_no_address_of_the_corpus_reaches_the_canary() -> None:
    assert len(CORPUS) >= 100
    async with canary() as bird:
        out = egress(World({"public.example": [[PUBLIC]]}), ports=[bird.port])
        for url in CORPUS:
            await refused(out, url.format(p=bird.port), bird)
        await out.close()


async def test_the_dial_alone_would_save_the_canary() -> None:
    class Credulous(Destinations):
        def _judge(self, host: str, port: int) -> None:
            pass

    async with canary() as bird:
        world = World()
        out = egress(world, ports=[bird.port])
        out.destinations = Credulous(ports=frozenset({bird.port}))
        for url in LOOPBACK:
            await refused(out, url.format(p=bird.port), bird)
        await out.close()


async def test_the_canary_can_be_reached_when_nothing_guards_it() -> None:
    async with canary() as bird:
        out = egress(World(), allow=[("127.0.0.1", bird.port)])
        assert (await out.fetch("GET", f"http://127.0.0.1:{bird.port}/")).body == b"secret"
        await out.close()
        assert bird.hits == 1


@pytest.mark.parametrize(
    "answers",
    [
        [[PUBLIC], ["127.0.0.1"]],
        [["127.0.0.1"]],
        [["127.0.0.1", PUBLIC]],
        [[PUBLIC, "127.0.0.1"]],
        [["::1", "127.0.0.1"]],
        [["::ffff:127.0.0.1"]],
        [["fe80::1%lo"]],
        [[]],
    ],
)
async def test_a_name_that_turns_private_is_not_followed(answers: list[list[str]]) -> None:
    async with canary() as bird:
        out = egress(World({"rebind.example": answers}), ports=[bird.port])
        for _ in range(3):
            await refused(out, f"http://rebind.example:{bird.port}/", bird)
        await out.close()


async def test_a_name_that_leads_inside_is_said_to_be_not_allowed() -> None:
    out = egress(World({"inside.example": [["10.0.0.1", "127.0.0.1"]]}))
    with pytest.raises(UrlNotAllowed) as refusal:
        await out.fetch("GET", "http://inside.example/")
    assert "not public" in refusal.value.details
    await out.close()


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1:{p}/", "http://inside.example:{p}/", "http://[::ffff:7f00:1]:{p}/", "//127.1:{p}/"]
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_from_outside_to_inside_is_not_followed(target: str, status: int) -> None:
    async with canary() as bird:

        async def away(request: web.Request) -> web.Response:
            return web.Response(status=status, headers={"Location": target.format(p=bird.port)})

        world = World({"inside.example": [["127.0.0.1"]]})
        async with outside(web.get("/", away), world=world, ports=(bird.port,)) as (front, out):
            with pytest.raises(UrlNotAllowed):
                await out.fetch("GET", front)
        assert bird.hits == 0


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "gopher://127.0.0.1/", "ftp://public.example/", "http://[::1"]
)
async def test_a_redirect_to_another_scheme_is_not_followed(target: str) -> None:
    async def away(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": target})

    async with outside(web.get("/", away)) as (front, out):
        with pytest.raises(UrlNotAllowed):
            await out.fetch("GET", front)


async def chain(request: web.Request) -> web.Response:
    left = int(request.match_info["left"])
    return web.Response(status=302, headers={"Location": f"/{left - 1}"}) if left else web.Response(text="there")


async def test_five_redirects_are_followed_and_six_are_not() -> None:
    async with outside(web.get("/{left}", chain)) as (front, out):
        found = await out.fetch("GET", f"{front}/5")
        assert (found.body, found.url) == (b"there", f"{front}/0")
        with pytest.raises(FetchFailed) as failed:
            await out.fetch("GET", f"{front}/6")
        assert failed.value.reason == "redirects"


async def test_without_redirects_a_redirect_is_an_answer() -> None:
    async with outside(web.get("/{left}", chain)) as (front, out):
        found = await out.fetch("GET", f"{front}/1", limits=FetchLimits(redirects=0))
        assert (found.status, found.headers["location"]) == (302, "/0")


async def test_credentials_stay_at_their_origin() -> None:
    seen: list[dict[str, str]] = []

    async def look(request: web.Request) -> web.Response:
        seen.append(dict(request.headers))
        if request.path == "/end":
            return web.Response(text="ok", headers={"Set-Cookie": "s=1"})
        host = FRONT if request.path == "/home" else "other.example"
        return web.Response(status=302, headers={"Location": f"http://{host}:{request.url.port}/end"})

    async with outside(web.get("/{any}", look)) as (front, out):
        await out.fetch("GET", f"{front}/home", headers=SECRET)
        assert SECRET.items() <= seen[-1].items()
        await out.fetch("GET", f"{front}/abroad", headers=SECRET)
        assert seen[-1]["Accept"] == "text/html"
        assert not {"Authorization", "X-Api-Key", "Cookie"} & seen[-1].keys()
        assert seen[-1]["Accept-Encoding"] == "gzip, deflate"


async def test_a_callers_header_replaces_ours_however_it_is_written() -> None:
    async def look(request: web.Request) -> web.Response:
        return web.Response(text="; ".join(request.headers.getall("User-Agent")))

    async with outside(web.get("/", look)) as (front, out):
        assert (await out.fetch("GET", front)).body == b"machineavatars"
        assert (await out.fetch("GET", front, headers={"user-agent": "crawler"})).body == b"crawler"


@pytest.mark.parametrize(("status", "method", "said"), [(303, "GET", ""), (302, "GET", ""), (307, "POST", "body")])
async def test_a_redirected_post_keeps_its_body_only_where_it_must(status: int, method: str, said: str) -> None:
    async def begin(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": "/end"})

    async def end(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.method} {await request.text()} {request.headers.get('X-Kind')}")

    async with outside(web.post("/", begin), web.route("*", "/end", end)) as (front, out):
        found = await out.fetch("POST", front, body=b"body", headers={"Content-Type": "text/x", "X-Kind": "a"})
        assert found.body.decode() == f"{method} {said} a"


async def test_what_is_said_is_not_sent_on_to_another_origin() -> None:
    async def away(request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": f"http://other.example:{request.url.port}/"})

    async with outside(web.post("/", away)) as (front, out):
        with pytest.raises(FetchFailed):
            await out.fetch("POST", front, body=b"secret")


def gzip_bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()


async def test_a_gzip_bomb_stops_at_the_limit() -> None:
    bomb = gzip_bomb(1 << 28)

    async def explode(request: web.Request) -> web.Response:
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    async with outside(web.get("/", explode)) as (front, out):
        tracemalloc.start()
        with pytest.raises(FetchFailed) as failed:
            await out.fetch("GET", front, limits=FetchLimits(bytes=1_000_000))
        assert failed.value.reason == "too_large"
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
        tracemalloc.stop()
        found = await out.fetch("GET", front, limits=FetchLimits(bytes=1_000, cut=True))
        assert found.body == bytes(1_000)


async def test_compressed_members_that_hold_nothing_end_too() -> None:
    nothing = gzip.compress(b"") * 100_000

    async def explode(request: web.Request) -> web.Response:
        return web.Response(body=nothing, headers={"Content-Encoding": "gzip"})

    async with outside(web.get("/", explode)) as (front, out):
        with pytest.raises(FetchFailed):
            await out.fetch("GET", front, limits=FetchLimits(bytes=100_000))


@pytest.mark.parametrize(
    ("encoding", "body", "found"),
    [
        ("gzip", gzip.compress(b"one ") + gzip.compress(b"two"), b"one two"),
        ("deflate", zlib.compress(b"deflated"), b"deflated"),
        ("identity", b"plain", b"plain"),
        ("gzip", b"no gzip at all", None),
        ("br", b"brotli", None),
    ],
)
async def test_compressed_answers_are_read(encoding: str, body: bytes, found: bytes | None) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=body, headers={"Content-Encoding": encoding})

    async with outside(web.get("/", answer)) as (front, out):
        if found is None:
            with pytest.raises(FetchFailed) as failed:
                await out.fetch("GET", front)
            assert failed.value.reason == "broken"
        else:
            assert (await out.fetch("GET", front)).body == found


async def test_an_endless_answer_ends_at_the_limit() -> None:
    async def pour(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(1 << 16))

    async with outside(web.get("/", pour)) as (front, out):
        with pytest.raises(FetchFailed) as failed:
            await out.fetch("GET", front, limits=FetchLimits(bytes=1_000_000))
        assert failed.value.reason == "too_large"


async def test_a_trickling_answer_ends_at_the_deadline() -> None:
    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b".")
            await asyncio.sleep(0.01)

    async with outside(web.get("/", trickle)) as (front, out):
        with pytest.raises(FetchFailed) as failed:
            await out.fetch("GET", front, limits=FetchLimits(seconds=0.2))
        assert failed.value.reason == "timeout"


@pytest.mark.parametrize(("taken", "fine"), [(("text/html",), True), (("text/",), True), (("image/",), False)])
async def test_only_the_wanted_content_types_are_read(taken: tuple[str, ...], fine: bool) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<p>", content_type="text/html", charset="utf-8")

    async with outside(web.get("/", page)) as (front, out):
        limits = FetchLimits(content_types=taken)
        if fine:
            assert (await out.fetch("GET", front, limits=limits)).content_type == "text/html"
        else:
            with pytest.raises(FetchFailed) as failed:
                await out.fetch("GET", front, limits=limits)
            assert failed.value.reason == "content_type"


async def test_the_environments_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text="direct")

    async with canary() as bird, outside(web.get("/", page)) as (front, out):
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{bird.port}")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{bird.port}")
        assert (await out.fetch("GET", front)).body == b"direct"
        assert bird.hits == 0


async def test_cookies_are_not_kept() -> None:
    seen: list[str | None] = []

    async def page(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "who=you"})

    async with outside(web.get("/", page)) as (front, out):
        await out.fetch("GET", front)
        await out.fetch("GET", front)
        assert seen == [None, None]


async def test_nobody_there_is_a_failure_to_connect() -> None:
    out = egress(World({"public.example": [[PUBLIC]]}))
    with pytest.raises(FetchFailed) as failed:
        await out.fetch("GET", "http://public.example/")
    assert failed.value.reason == "connect"
    await out.close()


async def test_an_exception_holds_only_under_its_own_name() -> None:
    async with canary() as bird:
        world = World({"other.example": [["127.0.0.1"]]})
        out = egress(world, ports=[bird.port], allow=[("127.0.0.1", bird.port)])
        await refused(out, f"http://other.example:{bird.port}/", bird)
        await refused(out, f"http://localhost:{bird.port}/", bird)
        await out.close()


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("HTTPS://Example.COM", "https://example.com"),
        ("https://example.com./a?b=c#d", "https://example.com/a?b=c"),
        ("http://bücher.example/ü", "http://xn--bcher-kva.example/%C3%BC"),
        ("https://example。com/", "https://example.com/"),
        ("http://8.8.8.8/", "http://8.8.8.8/"),
        ("http://[2606:4700::1111]/", "http://[2606:4700::1111]/"),
        ("http://example.com:443/", "http://example.com:443/"),
    ],
)
def test_a_public_address_is_brought_into_its_normal_form(given: str, normal: str) -> None:
    assert str(Destinations().check(given)) == normal


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001::200e", "172.32.0.1"]
)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert public(address)


@pytest.mark.parametrize(
    "address", ["", "example.com", "127.1", "::", "2606:4700::1%eth0", "64:ff9b::808:808", "::ffff:8.8.8.8"]
)
def test_anything_else_is_not(address: str) -> None:
    assert not public(address)


def test_the_operators_exceptions_are_places() -> None:
    assert allowed_places(" LocalHost:8080, [::1]:9000,,10.0.0.5:80 ") == {
        ("localhost", 8080),
        ("::1", 9000),
        ("10.0.0.5", 80),
    }


@pytest.mark.parametrize(
    "text", ["localhost", "localhost:", ":80", "http://a:80", "a:b", "a:99999", "a:80/x", "u@a:80", "::1:80"]
)
def test_an_exception_that_is_no_place_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="MA_EGRESS__ALLOW"):
        allowed_places(text)
