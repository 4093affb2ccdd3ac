"""What a running server tells about itself, and whom: `/metrics` is for this machine and its private network."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from bench.client import TEXT_CAPS, ChatClient
from tests.support.live import Live, live


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path) as running:
        yield running


async def scraped(server: Live, headers: dict[str, str] | None = None) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.get(f"{server.url}/metrics", headers=headers or {}) as answer:
        return answer.status, await answer.text()


async def test_this_machine_may_read_the_metrics(server: Live) -> None:
    status, text = await scraped(server)
    assert status == 200
    assert "ma_sessions 0.0" in text


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "x-real-ip"])
async def test_whoever_comes_through_a_proxy_that_is_not_trusted_may_not(server: Live, header: str) -> None:
    assert (await scraped(server, {header: "127.0.0.1"}))[0] == 404


@pytest.mark.parametrize(("address", "status"), [("10.1.2.3", 200), ("8.8.8.8", 404), ("nobody", 404)])
async def test_behind_a_trusted_proxy_the_address_that_it_saw_counts(tmp_path: Path, address: str, status: int) -> None:
    async with live(tmp_path, trusted_proxies=1) as server:
        assert (await scraped(server, {"X-Forwarded-For": address}))[0] == status


async def test_requests_are_timed_by_template_and_sockets_are_not(server: Live) -> None:
    async with ChatClient(server.url, "cb_demo", origin="http://localhost:0", caps=TEXT_CAPS) as chat:
        path = f"/api/v1/history/conversations/{chat.ready['conversation_id']}/messages"
        async with aiohttp.ClientSession(server.url, headers={"Authorization": f"Bearer {chat.token}"}) as http:
            await http.get(path)
            await http.get("/no/such/page")
            await http.request("BREW", "/health")
    lines = [
        line for line in (await scraped(server))[1].splitlines() if line.startswith("ma_http_request_seconds_count")
    ]
    rows = {line.split("{")[1].split("}")[0] for line in lines}
    assert 'method="GET",route="/api/v1/history/conversations/{conversation_id' in "\n".join(lines)
    assert 'method="GET",route="unknown",status="404"' in rows
    assert not any("socket.io" in row or "BREW" in row or chat.ready["conversation_id"] in row for row in rows)
