"""What a chatbot can be made of: the lists, their filters, and the sample that is made when someone listens."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from api._kit.choices import Choices
from avatars.library import AvatarLibrary
from pipelines.providers.base import ProviderError, Voice
from pipelines.registry import Voices
from server.gateway import application
from server.infra.media import MediaFolder
from server.samples import VoiceSamples, offered
from tests.contract.house import KEY, House
from tests.support.fakes import ToneTts

VOICES = (
    Voice("joe", "Joe", "en-US", "male", "piper", "fast", "CC0-1.0"),
    Voice("emma", "Emma", "en-GB", "female", "kokoro", "good", "Apache-2.0"),
    Voice("dora", "Dora", "es-ES", "female", "kokoro", "good", "Apache-2.0"),
    Voice("santa", "Santa", "es-ES", "male", "kokoro", "good", "Apache-2.0", "character"),
)
PATH = "/api/v1/selection"


@dataclass
class Shop:
    """A house with four voices and one built avatar."""

    house: House
    tts: ToneTts
    voices: Voices
    client: TestClient[Any, Any]
    headers: dict[str, str]
    folder: Path

    async def names(self, path: str, status: int = 200) -> list[str]:
        async with self.client.get(f"{PATH}{path}", headers=self.headers) as response:
            assert response.status == status, await response.text()
            return [row["id"] for row in (await response.json())["data"]]

    async def rows(self, path: str) -> dict[str, Any]:
        async with self.client.get(f"{PATH}{path}", headers=self.headers) as response:
            return {row["id"]: row for row in (await response.json())["data"]}


@pytest.fixture
async def shop(house: House, tmp_path: Path) -> AsyncIterator[Shop]:
    dist = tmp_path / "avatars"
    dist.mkdir()
    (dist / "avatar_female_01.glb").write_bytes(b"glTF...")
    tts, voices = ToneTts(delay=0), Voices(VOICES, "joe")
    media = MediaFolder(tmp_path / "media", [KEY], clock=house.clock)
    choices = Choices(
        frozenset({"avatar_female_01"}),
        voices,
        library=AvatarLibrary.scan(dist=dist).list(),
        samples=offered(VoiceSamples(tmp_path, VOICES, tts, house.deps.speech), media),
    )
    headers = await house.owner()
    client: TestClient[Any, Any] = TestClient(
        TestServer(application(replace(house.deps, choices=choices, media=media)))
    )
    await client.start_server()
    try:
        yield Shop(house, tts, voices, client, headers, tmp_path)
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["dora", "emma", "joe", "santa"]),
        ("?order=desc", ["santa", "joe", "emma", "dora"]),
        ("?language=es", ["dora", "santa"]),
        ("?language=ES-es", ["dora", "santa"]),
        ("?language=en-US,es-ES", ["dora", "joe", "santa"]),
        ("?language=en-AU", []),
        ("?gender=male", ["joe", "santa"]),
        ("?provider=kokoro&gender=female", ["dora", "emma"]),
        ("?style=character", ["santa"]),
        ("?search=EMM", ["emma"]),
        ("?limit=1&page=2", ["emma"]),
    ],
)
async def test_voices_are_found_by_what_they_are(shop: Shop, query: str, found: list[str]) -> None:
    assert await shop.names(f"/voices{query}") == found


async def test_a_voice_is_all_data(shop: Shop) -> None:
    shop.voices.measured("kokoro", 0.9)
    voices = await shop.rows("/voices")
    sample = voices["dora"].pop("sample_url")
    assert sample.startswith("/media/")
    assert voices["dora"] == {
        "id": "dora",
        "name": "Dora",
        "language": "es-ES",
        "gender": "female",
        "style": "neutral",
        "provider": "kokoro",
        "license": "Apache-2.0",
        "sample_text": "Hola, me alegro de verte. ¿En qué puedo ayudarte hoy?",
        "visemes": "native",
        "latency_class": "slow",
        "min_tier": "free_trial",
    }
    assert voices["joe"]["latency_class"] == "fast"


@pytest.mark.parametrize(
    ("factor", "speed"), [(0.1, "fast"), (0.25, "fast"), (0.26, "good"), (0.6, "good"), (0.61, "slow")]
)
def test_the_speed_of_a_voice_is_what_was_measured(factor: float, speed: str) -> None:
    voices = Voices(VOICES, "joe")
    voices.measured("kokoro", factor)
    assert voices.speed(VOICES[1]) == speed


async def test_only_built_avatars_can_be_chosen(shop: Shop) -> None:
    avatars = await shop.rows("/avatars")
    assert list(avatars) == ["avatar_female_01"]
    row = avatars["avatar_female_01"]
    assert (row["glb_url"], row["thumbnail_url"], row["size_bytes"]) == ("/avatars/avatar_female_01.glb", None, 7)
    assert (row["rig"], row["license"], row["types"]) == ("arkit52/oculus15", "CC0-1.0", ["3d"])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("gender=female", 1),
        ("gender=male", 0),
        ("style=stylised", 0),
        ("type=voice,3d", 1),
        ("type=text", 0),
        ("license=CC0-1.0", 1),
        ("license=MIT", 0),
        ("search=blazer", 1),
        ("search=dragon", 0),
    ],
)
async def test_avatars_are_found_by_what_they_are(shop: Shop, query: str, found: int) -> None:
    assert len(await shop.names(f"/avatars?{query}")) == found


@pytest.mark.parametrize("query", ["created_after=2025-01-01T00:00:00Z", "gender=none", "sort_by=created_at"])
async def test_what_cannot_be_filtered_by_is_refused(shop: Shop, query: str) -> None:
    async with shop.client.get(f"{PATH}/voices?{query}", headers=shop.headers) as response:
        assert response.status == 400, await response.text()


async def test_every_answer_is_as_the_document_says(house: House) -> None:
    headers = await house.owner()
    assert (await house.json("GET", f"{PATH}/voices", 200, headers=headers))["data"][0]["id"] == "tone"
    assert (await house.json("GET", f"{PATH}/avatars", 200, headers=headers))["data"] == []


async def test_a_sample_is_made_when_it_is_first_opened_and_kept(shop: Shop) -> None:
    url = (await shop.rows("/voices"))["joe"]["sample_url"]
    assert shop.tts.spoken == []
    for _ in range(2):
        async with shop.client.get(url) as response:
            assert (response.status, response.content_type) == (200, "audio/mpeg")
            assert len(await response.read()) > 1000
    assert shop.tts.spoken == ["Hello, it is good to see you.", "How can I help you today?"]


async def test_a_sample_is_closed_to_whoever_has_no_signature(shop: Shop) -> None:
    url = (await shop.rows("/voices"))["joe"]["sample_url"]
    async with shop.client.get(url[:-3] + "abc") as response:
        assert response.status == 404
    assert shop.tts.opened == 0


async def test_a_second_sample_waits_for_its_turn_elsewhere(shop: Shop) -> None:
    going = asyncio.Event()

    class Stopped(ToneTts):
        async def speak(self, text: str, voice: str) -> Any:
            started.set()
            await going.wait()
            async for chunk in super().speak(text, voice):
                yield chunk

    started = asyncio.Event()
    samples = VoiceSamples(shop.folder, VOICES, Stopped(delay=0), shop.house.deps.speech)
    first = asyncio.ensure_future(samples.file(VOICES[0]))
    await started.wait()
    same = asyncio.ensure_future(samples.file(VOICES[0]))
    with pytest.raises(Exception, match="Another sample") as busy:
        await samples.file(VOICES[1])
    assert (busy.value.status, busy.value.headers["Retry-After"]) == (503, "5")  # type: ignore[attr-defined]
    going.set()
    assert await first == await same


async def test_a_voice_that_fails_is_a_503_and_can_be_tried_again(shop: Shop) -> None:
    url = (await shop.rows("/voices"))["joe"]["sample_url"]
    shop.tts.failure = ProviderError("crashed", retryable=True, public="My voice is briefly unavailable.")
    async with shop.client.get(url) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "5")
        error = (await response.json())["error"]
        assert (error["code"], "crashed" in str(error)) == ("UPSTREAM_ERROR", False)
    shop.tts.failure = None
    async with shop.client.get(url) as response:
        assert response.status == 200


async def test_samples_of_voices_that_are_gone_are_removed(shop: Shop) -> None:
    old = shop.folder / "samples" / "old.mp3"
    old.parent.mkdir()
    old.write_bytes(b"x")
    url = (await shop.rows("/voices"))["joe"]["sample_url"]
    async with shop.client.get(url) as response:
        assert response.status == 200
    assert not old.exists()
    assert len(list(old.parent.iterdir())) == 1
