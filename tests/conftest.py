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
    left = [task for task in asyncio.all_tasks() - before if not task.done() and task is not asyncio.current_task()]
    assert not left, f"tasks left behind: {left}"


@pytest.fixture(autouse=True)
def _every_task_ends(request: pytest.FixtureRequest) -> None:
    function = getattr(request.node, "function", None)
    if inspect.iscoroutinefunction(function) and "shared_server" not in request.fixturenames:
        request.getfixturevalue("no_leaked_tasks")
