"""Group commit: one batch at a time, in order, and nobody is left without an answer."""

import asyncio
from collections.abc import Sequence

import pytest

from api._kit.batches import Batches, Full, Outcome


class Disk:
    """Commits when it is let, and remembers in which batches."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.ready = asyncio.Event()
        self.failure: Exception | None = None

    async def commit(self, writes: Sequence[str]) -> list[Outcome]:
        self.batches.append(list(writes))
        await self.ready.wait()
        if self.failure:
            raise self.failure
        return [Outcome(f"{write}!") for write in writes]


async def begun(batches: Batches[str], *writes: str) -> list["asyncio.Task[object]"]:
    """Tasks that wait for these writes; the first of all is being committed."""
    tasks = [asyncio.create_task(batches.add(write)) for write in writes]
    for _ in range(3):  # to each task, to the one that commits, and into the commit
        await asyncio.sleep(0)
    return tasks


async def test_what_comes_during_a_commit_goes_into_the_next_one_in_order() -> None:
    disk = Disk()
    batches = Batches(disk.commit)
    first = await begun(batches, "a")
    rest = await begun(batches, "b", "c", "d")
    disk.ready.set()
    assert await asyncio.gather(*first, *rest) == ["a!", "b!", "c!", "d!"]
    assert disk.batches == [["a"], ["b", "c", "d"]]


async def test_nobody_is_answered_before_the_commit_returns() -> None:
    disk = Disk()
    tasks = await begun(Batches(disk.commit), "a")
    assert not tasks[0].done()
    disk.ready.set()
    assert await tasks[0] == "a!"


async def test_a_batch_has_a_size() -> None:
    disk = Disk()
    disk.ready.set()
    batches = Batches(disk.commit, batch=2)
    await asyncio.gather(*(batches.add(write) for write in "abcde"))
    assert disk.batches == [["a", "b"], ["c", "d"], ["e"]]


async def test_only_so_many_may_wait() -> None:
    disk = Disk()
    batches = Batches(disk.commit, most=1)
    tasks = [*await begun(batches, "a"), *await begun(batches, "b")]
    with pytest.raises(Full):
        await batches.add("c")
    disk.ready.set()
    await asyncio.gather(*tasks)


async def test_a_cancelled_callers_write_is_committed() -> None:
    disk = Disk()
    batches = Batches(disk.commit)
    tasks = [*await begun(batches, "a"), *await begun(batches, "b")]
    tasks[1].cancel()
    disk.ready.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    await batches.close()
    assert tasks[1].cancelled()
    assert disk.batches == [["a"], ["b"]]


async def test_a_commit_that_raises_refuses_everyone_who_waits_and_no_one_later() -> None:
    disk = Disk()
    disk.failure = OSError("gone")
    batches = Batches(disk.commit)
    tasks = [*await begun(batches, "a"), *await begun(batches, "b")]
    disk.ready.set()
    for task in tasks:
        with pytest.raises(OSError, match="gone"):
            await task
    disk.failure = None
    assert await batches.add("c") == "c!"
    assert disk.batches == [["a"], ["c"]]


async def test_closing_commits_what_was_accepted_and_accepts_nothing_more() -> None:
    disk = Disk()
    batches = Batches(disk.commit)
    tasks = [*await begun(batches, "a"), *await begun(batches, "b")]
    closing = asyncio.create_task(batches.close())
    await asyncio.sleep(0)
    with pytest.raises(Full):
        await batches.add("c")
    disk.ready.set()
    await closing
    assert [task.result() for task in tasks] == ["a!", "b!"]
