"""Streams of events have a size together, and those who make them a time and a share of the places."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from api._kit import sse
from api._kit.errors import Unavailable
from api._kit.sse import SHARE, Background, EventLog, Streams
from tests.support.virtual_time import VirtualClock, run


class Talk:
    def __init__(self, streams: Streams, id: str) -> None:
        self.id, self.conversation_id = id, f"of {id}"
        self.events = EventLog(streams)
        streams.add(self)

    def stop(self, played: int | None = None) -> None:
        pass


def test_running_streams_stop_keeping_when_all_of_them_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "ALTOGETHER", 10_000)
    run(_too_large())


async def _too_large() -> None:
    streams = Streams(VirtualClock())
    talks = [Talk(streams, str(n)) for n in range(4)]
    for _ in range(100):
        for talk in talks:
            talk.events.push("audio.chunk", {"data": "x" * 100})
    assert streams.bytes == sum(talk.events.bytes for talk in talks) <= 10_000
    talks[0].events.close()
    talks[1].events.push("audio.chunk", {"data": "y" * 2000})
    assert talks[1].events.last == 101
    assert talks[0].events.bytes < 300
    streams.forget("of 2")
    assert streams.bytes == talks[0].events.bytes + talks[1].events.bytes + talks[3].events.bytes


def within(script: Callable[[Background], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Background(Streams(VirtualClock())) as background:
            await script(background)

    run(main())


def test_an_organisation_has_its_share_of_the_places() -> None:
    async def script(background: Background) -> None:
        for _ in range(SHARE):
            background.start(asyncio.sleep(1), "one", "org_1")
        with pytest.raises(Unavailable):
            background.start(asyncio.sleep(1), "one too many", "org_1")
        background.start(asyncio.sleep(1), "another's", "org_2")
        await asyncio.sleep(2)
        background.start(asyncio.sleep(1), "again", "org_1")

    within(script)


def test_work_that_does_not_end_is_broken_off() -> None:
    async def script(background: Background) -> None:
        ended: list[bool] = []

        async def drips() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(True)

        background.start(drips(), "drips", "org_1")
        await asyncio.sleep(sse.LONGEST + 1)
        assert ended == [True]

    within(script)


def test_who_waits_for_work_that_does_not_end_is_told() -> None:
    async def script(background: Background) -> None:
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with pytest.raises(Unavailable):
            await background.first(asyncio.Event().wait(), begun, "org_1")

    within(script)
