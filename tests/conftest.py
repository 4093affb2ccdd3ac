"""Fixtures for every test: no task outlives its test, no socket its file, and nobody leaves this machine."""

import asyncio
import gc
import inspect
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import pytest
import structlog


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


@pytest.fixture(autouse=True, scope="session")
def _nobody_leaves_this_machine() -> Iterator[None]:
    """A test that connects to another machine fails, also where that machine is not there."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guarded(dial: Callable[..., Any]) -> Callable[..., Any]:
        def here(sock: socket.socket, address: Any) -> Any:
            assert _local(sock, address), f"a test connects to {address}"
            return dial(sock, address)

        return here

    socket.socket.connect = guarded(connect)  # type: ignore[method-assign]
    socket.socket.connect_ex = guarded(connect_ex)  # type: ignore[method-assign]
    yield
    socket.socket.connect = connect  # type: ignore[method-assign]
    socket.socket.connect_ex = connect_ex  # type: ignore[method-assign]


def _local(sock: socket.socket, address: Any) -> bool:
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return True
    host = str(address[0])
    return host == "localhost" or ip_address(host).is_loopback


@pytest.fixture(autouse=True, scope="module")
def _every_socket_is_closed() -> Iterator[None]:
    """Fails after the last test of a file that leaves a socket open."""
    before = _sockets()
    yield
    if _sockets() - before:
        gc.collect()
        left = _sockets() - before
        assert not left, f"sockets left open: {[_described(number) for number, _ in left]}"


def _sockets() -> set[tuple[int, str]]:
    """The numbers of the open sockets of this process, with what the system calls them."""
    found = set()
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        with suppress(OSError):
            if (target := os.readlink(f"/proc/self/fd/{name}")).startswith("socket:"):
                found.add((int(name), target))
    return found


def _described(number: int) -> str:
    with suppress(OSError), socket.socket(fileno=os.dup(number)) as sock:
        return f"{sock.getsockname()} - {sock.getpeername()}"
    return "not connected"


@pytest.fixture(autouse=True)
def _logs_go_to_the_test_that_runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A logger that was used in one test keeps nothing of it: the file that it wrote to is closed by then."""
    configure = structlog.configure

    def fleeting(**settings: Any) -> None:
        configure(**{**settings, "cache_logger_on_first_use": False})

    monkeypatch.setattr(structlog, "configure", fleeting)
    yield
    structlog.reset_defaults()
