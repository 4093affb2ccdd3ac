"""A worker process: asked, cancelled, killed, orphaned. The one here echoes, counts and sleeps; it holds no model."""

import asyncio
import io
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pipelines.providers.base import ProviderError
from pipelines.workers.framing import PREFIX, FrameInvalid, decode_header, encode, lengths, read
from pipelines.workers.process import WorkerProcess, WorkerSpec, running

ECHO = """
import sys, threading
from pipelines.workers import child
class Echo:
    def about(self): return {"kind": sys.argv[1]}
    def call(self, op, args, payload, cancelled):
        if op == "echo":
            print("a stray print"); sys.__stdout__ and sys.__stdout__.write("another\\n")
            return {"args": args}, payload
        if op == "fail": raise child.CallFailed("no", retryable=False)
        if op == "break": return 1 / 0
        if op == "sleep": threading.Event().wait(30)
        return self.many(op, args, cancelled)
    def many(self, op, args, cancelled):
        for n in range(args["n"]):
            yield {"n": n}, b""
            while op == "wait" and not cancelled(): threading.Event().wait(0.005)
child.KINDS["echo"] = "echo"
module = type(sys)("echo"); module.load = lambda config: Echo(); sys.modules["echo"] = module
child.main()
"""


def spec(**changes: Any) -> WorkerSpec:
    given: dict[str, Any] = {"backoff": (0.0,), "start_timeout": 10, "call_timeout": 10}
    command = (sys.executable, "-c", ECHO)
    return WorkerSpec("echo", {}, public="It is unwell.", **{**given, "command": command, **changes})


@asynccontextmanager
async def echo(**changes: Any) -> AsyncIterator[WorkerProcess]:
    worker = WorkerProcess(spec(**changes))
    async with running(worker):
        yield worker


async def test_a_call_gets_its_reply_and_prints_do_not_reach_the_pipe() -> None:
    async with echo() as worker:
        assert await worker.ready() == {"kind": "echo"}
        assert await worker.request("echo", {"x": 1}, b"\x00\xff") == ({"args": {"x": 1}}, b"\x00\xff")


async def test_calls_at_the_same_time_do_not_mix() -> None:
    async with echo() as worker:
        replies = await asyncio.gather(*(worker.request("echo", {"n": n}) for n in range(10)))
        assert [header["args"]["n"] for header, _ in replies] == list(range(10))


async def test_a_stream_gives_its_replies_in_order() -> None:
    async with echo() as worker:
        assert [header["n"] async for header, _ in worker.stream("count", {"n": 5})] == [0, 1, 2, 3, 4]


async def test_closing_a_stream_midway_frees_the_worker() -> None:
    async with echo() as worker:
        async with aclosing(worker.stream("wait", {"n": 1000})) as replies:
            assert (await anext(replies))[0] == {"n": 0}
        assert worker.in_flight == 0
        assert (await worker.request("echo", {}))[1] == b""


async def test_a_call_cancelled_before_its_turn_is_never_run() -> None:
    async with echo() as worker, aclosing(worker.stream("wait", {"n": 1000})) as replies:
        await anext(replies)
        waiting = asyncio.ensure_future(worker.request("echo", {}))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert worker.in_flight == 1


async def test_a_refused_call_says_whether_to_try_again() -> None:
    async with echo() as worker:
        with pytest.raises(ProviderError) as refused:
            await worker.request("fail")
        assert (refused.value.retryable, refused.value.public) == (False, "It is unwell.")


async def test_a_bug_in_one_call_leaves_the_worker_alive() -> None:
    async with echo() as worker:
        with pytest.raises(ProviderError, match="ZeroDivisionError"):
            await worker.request("break")
        await worker.request("echo")
        assert worker.starts == 1


async def test_a_killed_worker_fails_the_call_it_had_and_serves_the_next() -> None:
    async with echo() as worker:
        async with aclosing(worker.stream("wait", {"n": 1000})) as replies:
            await anext(replies)
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)
            with pytest.raises(ProviderError) as lost:
                await anext(replies)
        assert lost.value.retryable
        assert (await worker.request("echo", {"again": True}))[0] == {"args": {"again": True}}
        assert worker.starts == 2


async def test_more_calls_than_allowed_are_refused_at_once() -> None:
    async with echo(in_flight=1) as worker, aclosing(worker.stream("wait", {"n": 1000})) as replies:
        await anext(replies)
        with pytest.raises(ProviderError, match="waiting already"):
            await worker.request("echo")


async def test_a_worker_that_answers_nobody_is_ended_and_replaced() -> None:
    async with echo(call_timeout=0.05) as worker:
        await worker.request("echo", timeout=10)
        pid = worker.pid
        with pytest.raises(ProviderError, match="took longer"):
            await worker.request("sleep")
        await worker.request("echo", timeout=10)
        assert worker.pid != pid


async def test_a_worker_that_cannot_load_says_why() -> None:
    async with echo(command=(sys.executable, "-c", "raise SystemExit(3)"), backoff=(60,)) as worker:
        with pytest.raises(ProviderError, match="ended while loading"):
            await worker.ready()


async def test_a_program_that_does_not_exist_is_a_provider_error() -> None:
    async with echo(command=("/nonexistent/program",), backoff=(60,)) as worker:
        with pytest.raises(ProviderError, match="could not start"):
            await worker.request("echo")


async def test_stopping_ends_the_process_and_whoever_waits_for_it() -> None:
    worker = WorkerProcess(spec())
    async with running(worker):
        await worker.ready()
        pid = worker.pid
        assert pid is not None
        asked = asyncio.ensure_future(worker.request("wait", {"n": 2}))
        await asyncio.sleep(0)
    with pytest.raises(ProviderError):
        [await worker.ready(), await asked]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    await asyncio.gather(asked, return_exceptions=True)


def test_a_worker_ends_when_its_server_is_killed() -> None:
    server = f"""
import asyncio
from pipelines.workers.process import WorkerProcess, WorkerSpec, running
async def main():
    worker = WorkerProcess(WorkerSpec("echo", {{}}, public="", command=({sys.executable!r}, "-c", {ECHO!r})))
    async with running(worker):
        await worker.ready()
        print(worker.pid, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""
    process = subprocess.Popen([sys.executable, "-c", server], stdout=subprocess.PIPE)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    watched = os.pidfd_open(pid)
    process.kill()
    process.communicate()
    assert select.select([watched], [], [], 5)[0], "the worker outlived its server"
    os.close(watched)


def test_the_server_never_loads_the_models_libraries() -> None:
    code = """
import sys
import pipelines.registry, pipelines.models.store
import pipelines.audio.resample, pipelines.audio.encode, pipelines.audio.decode
heavy = {"ctranslate2", "faster_whisper", "onnxruntime", "onnx", "piper", "xllamacpp", "av"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_message_comes_out_as_it_went_in() -> None:
    stream = io.BytesIO(encode({"id": 7}, b"pcm") + encode({"done": True}))
    assert [read(stream), read(stream), read(stream)] == [({"id": 7}, b"pcm"), ({"done": True}, b""), None]


def test_a_truncated_message_is_the_end() -> None:
    assert read(io.BytesIO(encode({"id": 7}, b"pcm")[:-1])) is None


@pytest.mark.parametrize("prefix", [PREFIX.pack(1 << 30, 0), PREFIX.pack(0, 1 << 30)])
def test_an_absurd_length_is_refused(prefix: bytes) -> None:
    with pytest.raises(FrameInvalid):
        lengths(prefix)


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"{"])
def test_a_header_that_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(FrameInvalid):
        decode_header(data)


def test_only_one_file_imports_the_gpl_licensed_voice() -> None:
    root = Path(__file__).parents[2]
    sources = [path for part in ("pipelines", "server", "api", "avatars") for path in (root / part).rglob("*.py")]
    importing = [
        path.name for path in sources if re.search(r"^\s*(import|from) piper\b", path.read_text(), re.MULTILINE)
    ]
    assert importing == ["text_to_speech.py"]
