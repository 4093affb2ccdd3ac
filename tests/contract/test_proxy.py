"""The gateway passes rows on: what goes through unchanged, what is said anew, and what happens when a row is away."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, unused_port

from server.core.spread import MISSES, MOST, Member, choose
from server.gateway import SERVICES, application
from server.proxy import Rows
from tests.contract.house import House, bearer

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
PATH = "/api/v1/auth/thing"


@dataclass
class Street:
    """A gateway, and processes behind it that serve `auth` as the test says."""

    house: House
    stack: AsyncExitStack
    rows: Rows | None = None
    servers: list[TestServer] = field(default_factory=list)

    async def member(self, answer: Answer, *, ready: int = 200, port: int | None = None) -> str:
        """The address of a process that answers so."""

        async def health(_: web.Request) -> web.Response:
            return web.Response(status=ready)

        app = web.Application()
        app.router.add_get("/health/ready", health)
        app.router.add_route("*", "/api/v1/auth/{path:.*}", answer)
        server = TestServer(app, port=port)
        await server.start_server()
        self.stack.push_async_callback(server.close)
        self.servers.append(server)
        return str(server.make_url("")).rstrip("/")

    async def gateway(self, *urls: str, trusted_proxies: int = 0) -> TestClient[Any, Any]:
        self.rows = Rows({"auth": urls}, clock=self.house.clock)
        self.stack.push_async_callback(self.rows.close)
        deps = self.house.deps
        app = application(deps, elsewhere=list(self.rows.by_name.values()), trusted_proxies=trusted_proxies)
        client = TestClient(TestServer(app), auto_decompress=False)
        await client.start_server()
        self.stack.push_async_callback(client.close)
        return client

    async def look(self, times: int = 1) -> None:
        assert self.rows
        for _ in range(times):
            await asyncio.gather(*(self.rows._look(member) for member in self.rows.members.values()))

    def well(self) -> list[bool]:
        assert self.rows
        return [member.well for member in self.rows.members.values()]


@pytest.fixture
async def street(house: House) -> AsyncIterator[Street]:
    async with AsyncExitStack() as stack:
        yield Street(house, stack)


def nowhere() -> str:
    """An address at which nobody listens."""
    return f"http://127.0.0.1:{unused_port()}"


async def mirror(request: web.Request) -> web.Response:
    """What arrived."""
    body = await request.read()
    return web.json_response(
        {"method": request.method, "path": request.raw_path, "headers": dict(request.headers), "body": body.decode()},
        headers={"Link": "<a>; rel=next", "X-Request-ID": request.headers["X-Request-ID"], "X-Private": "no"},
    )


def says(text: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text)

    return answer


async def test_the_request_arrives_as_it_was_sent(street: Street) -> None:
    client = await street.gateway(await street.member(mirror))
    path = f"{PATH}/a%2Fb%20c?x=1&x=%C3%A4&y"
    headers = {"Authorization": "Bearer t", "Idempotency-Key": "k", "Accept-Language": "de", "If-Match": '"a"'}
    async with client.request("PATCH", aiohttp.client.URL(path, encoded=True), headers=headers, data=b"body") as answer:
        seen = await answer.json()
    assert (seen["method"], seen["path"], seen["body"]) == ("PATCH", path, "body")
    assert headers.items() <= seen["headers"].items()
    assert "Accept-Encoding" in seen["headers"]  # the client's


async def test_the_row_itself_is_at_its_prefix(street: Street) -> None:
    """A path with nothing behind the row's name is the row's too."""
    client = await street.gateway(nowhere())
    async with client.get("/api/v1/auth") as answer:
        assert answer.status == 503


async def test_what_is_about_the_connection_does_not_pass(street: Street) -> None:
    client = await street.gateway(await street.member(mirror))
    headers = {"Connection": "keep-alive, X-Secret", "X-Secret": "1", "TE": "trailers", "Proxy-Connection": "x"}
    async with client.get(PATH, headers=headers) as answer:
        seen = {name.lower() for name in (await answer.json())["headers"]}
    assert seen.isdisjoint({"x-secret", "te", "proxy-connection", "upgrade"})


async def test_the_id_of_the_request_is_one_for_both(street: Street) -> None:
    client = await street.gateway(await street.member(mirror))
    async with client.get(PATH, headers={"X-Request-ID": "mine"}) as answer:
        assert answer.headers["X-Request-ID"] == (await answer.json())["headers"]["X-Request-ID"] == "mine"
    async with client.get(PATH) as answer:
        seen = (await answer.json())["headers"]["X-Request-ID"]
        assert answer.headers["X-Request-ID"] == seen
        assert seen.startswith("req_")


@pytest.mark.parametrize(("proxies", "told"), [(0, "127.0.0.1"), (1, "9.9.9.9"), (2, "6.6.6.6")])
async def test_a_row_is_told_the_address_that_the_gateway_believes(street: Street, proxies: int, told: str) -> None:
    client = await street.gateway(await street.member(mirror), trusted_proxies=proxies)
    headers = {"X-Forwarded-For": "6.6.6.6, 9.9.9.9", "Forwarded": "for=6.6.6.6", "X-Real-IP": "6.6.6.6"}
    async with client.get(PATH, headers=headers) as answer:
        seen = (await answer.json())["headers"]
    assert seen["X-Forwarded-For"] == told
    assert seen.keys().isdisjoint({"Forwarded", "X-Real-IP"})


async def test_the_answer_comes_back_as_it_was_given(street: Street) -> None:
    async def answer(_: web.Request) -> web.Response:
        made = web.Response(status=418, reason="Teapot", body=b"\x1f\x8b raw", headers={"Content-Encoding": "gzip"})
        made.headers.add("Set-Cookie", "a=1")
        made.headers.add("Set-Cookie", "b=2")
        return made

    client = await street.gateway(await street.member(answer))
    async with client.get(PATH) as got:
        assert (got.status, got.reason, await got.read()) == (418, "Teapot", b"\x1f\x8b raw")
        assert got.headers.getall("Set-Cookie") == ["a=1", "b=2"]
        assert "X-RateLimit-Limit" not in got.headers  # it is the row that counts


async def test_the_head_of_a_resource_has_its_length_and_no_body(street: Street) -> None:
    client = await street.gateway(await street.member(says("twelve bytes")))
    async with client.head(PATH) as answer:
        assert (answer.status, answer.headers["Content-Length"], await answer.read()) == (200, "12", b"")
    async with client.get(PATH) as answer:  # on the same connection
        assert await answer.text() == "twelve bytes"


async def test_a_part_of_a_file_can_be_asked_for(street: Street, tmp_path: Any) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)))

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(file)

    client = await street.gateway(await street.member(answer))
    async with client.get(PATH, headers={"Range": "bytes=10-13"}) as got:
        assert (got.status, got.headers["Content-Range"], await got.read()) == (206, "bytes 10-13/256", b"\n\v\f\r")
    async with client.get(PATH, headers={"If-None-Match": got.headers["ETag"]}) as got:
        assert (got.status, await got.read()) == (304, b"")


async def test_a_stream_is_not_held_up(street: Street) -> None:
    more = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        await stream.write(b"data: one\n\n")
        await more.wait()
        await stream.write(b"data: two\n\n")
        return stream

    client = await street.gateway(await street.member(answer))
    async with asyncio.timeout(5), client.get(PATH) as got:
        assert await got.content.readany() == b"data: one\n\n"
        more.set()
        assert await got.content.read() == b"data: two\n\n"


async def test_an_upload_is_not_held_up(street: Street) -> None:
    seen, more = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        assert await request.content.readany() == b"one"
        seen.set()
        return web.Response(body=await request.content.read())

    async def sent() -> AsyncIterator[bytes]:
        yield b"one"
        await more.wait()
        yield b"two"

    async def continued() -> None:
        await seen.wait()
        more.set()

    client = await street.gateway(await street.member(answer))

    async def uploaded() -> bytes:
        async with client.post(PATH, data=sent()) as got:
            return await got.read()

    async with asyncio.timeout(5):
        body, _ = await asyncio.gather(uploaded(), continued())
    assert body == b"two"


async def test_much_goes_through_in_both_directions(street: Street) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        async for piece in request.content.iter_any():
            await stream.write(piece)
        return stream

    client = await street.gateway(await street.member(answer))
    body = bytes(range(256)) * 80_000  # 20 MB
    async with client.post(PATH, data=body) as got:
        assert await got.read() == body


async def test_a_member_that_is_away_costs_no_request(street: Street) -> None:
    client = await street.gateway(nowhere(), await street.member(mirror))
    for number in range(4):
        async with client.post(PATH, data=f"{number}") as answer:
            assert (await answer.json())["body"] == f"{number}"
    assert street.well() == [False, True]


async def test_members_take_turns(street: Street) -> None:
    client = await street.gateway(*[await street.member(says(name)) for name in "abc"])
    heard = []
    for _ in range(6):
        async with client.get(PATH) as answer:
            heard.append(await answer.text())
    assert sorted(heard) == ["a", "a", "b", "b", "c", "c"]


async def test_a_row_that_is_away_is_a_503_in_the_envelope(street: Street) -> None:
    client = await street.gateway(nowhere())
    async with client.get(PATH, headers={"X-Request-ID": "mine"}) as answer:
        error = (await answer.json())["error"]
        assert (answer.status, error["code"], error["request_id"]) == (503, "SERVICE_UNAVAILABLE", "mine")
        assert int(answer.headers["Retry-After"]) > 0


async def test_a_row_that_is_away_takes_no_other_along(street: Street) -> None:
    client = await street.gateway(nowhere())
    headers = await street.house.owner()
    async with client.get("/api/v1/auth/health") as answer:
        assert answer.status == 503
    async with client.get("/api/v1/users/me", headers=headers) as answer:
        assert answer.status == 200


async def test_a_member_that_dies_with_the_request_is_not_asked_twice(street: Street) -> None:
    asked = 0

    async def dies(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        await request.read()
        assert request.transport
        request.transport.abort()
        return web.Response()

    client = await street.gateway(await street.member(dies), await street.member(dies))
    async with client.post(PATH, data=b"pay") as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert asked == 1


async def test_half_an_answer_is_not_taken_for_a_whole_one(street: Street) -> None:
    async def dies(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        await stream.write(b"half")
        assert request.transport
        request.transport.abort()
        return stream

    client = await street.gateway(await street.member(dies))
    with pytest.raises(aiohttp.ClientError):
        async with client.get(PATH) as answer:
            await answer.read()


async def test_a_client_that_leaves_ends_the_request_to_the_row(street: Street) -> None:
    left = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        try:
            while True:
                await stream.write(b"data: more\n\n")
                await asyncio.sleep(0.01)
        finally:
            left.set()

    client = await street.gateway(await street.member(answer))
    async with client.get(PATH) as got:
        await got.content.readany()
        got.close()
    async with asyncio.timeout(5):
        await left.wait()


async def test_a_member_that_is_not_ready_is_left_alone_until_it_is(street: Street) -> None:
    port = unused_port()
    url = await street.member(says("late"), ready=503, port=port)
    client = await street.gateway(url, await street.member(says("well")))
    await street.look(MISSES)
    assert street.well() == [False, True]
    async with client.get(PATH) as answer:
        assert await answer.text() == "well"
    await street.servers[0].close()
    await street.member(says("late"), port=port)
    await street.look()
    assert street.well() == [True, True]


async def test_a_frozen_member_is_seen(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.proxy.LOOK_SECONDS", 0.05)
    frozen = await asyncio.start_server(lambda reader, writer: reader.read(), "127.0.0.1", 0)
    await street.gateway(f"http://127.0.0.1:{frozen.sockets[0].getsockname()[1]}")
    await street.look(MISSES - 1)
    assert street.well() == [True]  # once may be chance
    await street.look()
    assert street.well() == [False]
    frozen.close()


async def test_health_tells_of_rows_that_are_elsewhere(street: Street) -> None:
    client = await street.gateway(nowhere(), await street.member(mirror))
    assert street.rows
    street.house.deps.vitals.elsewhere("auth", street.rows.by_name["auth"].condition)
    await street.look(MISSES)
    async with client.get("/health") as answer:
        report = json.loads(await answer.read())
    assert (report["status"], report["services"]["auth"], report["services"]["users"]) == ("degraded", "degraded", "ok")


async def test_no_row_serves_anything_outside_of_its_prefix() -> None:
    outside = [e.path for s in SERVICES for e in s.endpoints if not f"{e.path}/".startswith(f"/api/v1/{s.name}/")]
    assert outside == []


async def test_a_preflight_is_answered_by_the_row(street: Street) -> None:
    client = await street.gateway(await street.member(mirror))
    headers = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST", **bearer("x")}
    async with client.options(PATH, headers=headers) as answer:
        assert (await answer.json())["method"] == "OPTIONS"


def test_the_one_with_the_least_to_do_is_chosen() -> None:
    members = [Member("a", running=2), Member("b", running=1), Member("c", running=1)]
    assert choose(members) is members[1]
    assert choose(members, {members[1]}) is members[2]
    members[1].away()
    assert choose(members) is members[2]
    assert choose([Member("a", running=MOST)]) is None


def test_one_miss_is_forgotten_and_several_are_not() -> None:
    member = Member("a")
    for _ in range(5):
        member.missed()
        member.seen()
    assert member.well
    for _ in range(MISSES):
        member.missed()
    assert not member.well
