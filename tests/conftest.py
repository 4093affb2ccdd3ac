"""Fixtures for every test: no task may outlive the test that started it."""

import asyncio
import inspect
from collections.abc import AsyncIterator

import pytest


@pytest.fixture
async def no_leaked_tasks() -> AsyncIterator[None]:
    """Fails a coroutine test that leaves tasks behind."""
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)
    left = [task for task in asyncio.all_tasks() - before if not task.done() and not _excused(task)]
    assert not left, f"tasks left behind: {left}"


def _excused(task: "asyncio.Task[object]") -> bool:
    """This fixture's own task, and timers of the Engine.IO library that sleep on for one interval after their socket:
    the server's ping, and the test client's loops when it was the server that hung up."""
    name = getattr(task.get_coro(), "__qualname__", "")
    return task is asyncio.current_task() or name in _LIBRARY_TIMERS


_LIBRARY_TIMERS = {
    "AsyncSocket._send_ping",
    "AsyncClient._read_loop_websocket",
    "AsyncClient._write_loop",
    "Queue.get",
}


@pytest.fixture(autouse=True)
def _every_task_ends(request: pytest.FixtureRequest) -> None:
    function = getattr(request.node, "function", None)
    if inspect.iscoroutinefunction(function) and "shared_server" not in request.fixturenames:
        request.getfixturevalue("no_leaked_tasks")
