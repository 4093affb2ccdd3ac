"""The box: what parsers can and cannot do, and what the server makes of what comes out."""

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api._kit.errors import Unavailable
from api._kit.ports import TooExpensive, Unreadable
from server.infra import box as box_module
from server.infra.box import Parser, RlimitedBox
from tests.security.canary import canary
from tests.support import parsers as made

NAMES = [
    name for name, value in vars(made).items() if callable(value) and getattr(value, "__module__", "") == made.__name__
]
SMALL = 64 << 20


@pytest.fixture
async def box() -> AsyncIterator[RlimitedBox]:
    parsers = {
        name: Parser(f"{made.__name__}:{name}", cpu_seconds=1, seconds=30, memory=SMALL, output=1_000_000)
        for name in NAMES
    }
    opened = RlimitedBox({**parsers, "wait": Parser(f"{made.__name__}:wait", seconds=0.3)})
    yield opened
    opened.close()


def resident(pid: int | str = "self") -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


async def childless(box: RlimitedBox) -> None:
    """Waits until no job's process is left."""
    assert box._process
    children = Path(f"/proc/{box._process.pid}/task/{box._process.pid}/children")
    async with asyncio.timeout(20):
        while children.read_text():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def test_what_the_parser_makes_of_the_file_comes_back(box: RlimitedBox) -> None:
    assert await box.run("shout", b"quiet ", times=3) == b"QUIET QUIET QUIET "
    assert await box.run("shout", b"") == b""


async def test_many_files_are_read_at_once_and_none_is_mixed_up(box: RlimitedBox) -> None:
    files = [bytes([65 + n]) * 100_000 for n in range(20)]
    assert await asyncio.gather(*(box.run("shout", file) for file in files)) == files


async def test_a_refusal_keeps_its_reason(box: RlimitedBox) -> None:
    with pytest.raises(Unreadable, match="this file is ugly") as refused:
        await box.run("refuse", b"")
    assert refused.value.reason == "ugly"


@pytest.mark.parametrize("parser", ["stumble", "crash"])
async def test_a_parser_that_breaks_says_nothing_about_us(box: RlimitedBox, parser: str) -> None:
    with pytest.raises(Unreadable, match=r"^the file cannot be read$"):
        await box.run(parser, b"")


@pytest.mark.parametrize(
    ("parser", "limit"),
    [("spin", "cpu"), ("hoard", "memory"), ("wait", "time"), ("pour", "output")],
)
async def test_a_file_that_takes_too_much_is_too_expensive(box: RlimitedBox, parser: str, limit: str) -> None:
    with pytest.raises(TooExpensive) as refused:
        await box.run(parser, b"")
    assert refused.value.limit == limit
    await childless(box)
    assert await box.run("shout", b"next") == b"NEXT"


async def test_ignoring_the_end_of_the_processor_time_does_not_help(box: RlimitedBox) -> None:
    with pytest.raises(TooExpensive):
        await box.run("spin_on", b"")


async def test_bombs_cost_the_server_no_memory_and_no_time(box: RlimitedBox) -> None:
    packer = zlib.compressobj(9, wbits=-15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    bomb, ticks = block * 4096, 0  # 4 GiB

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    await box.run("shout", b"warm")
    before = resident()
    ticking = asyncio.create_task(tick())
    for parser, file in (("inflate", bomb), ("hoard", b""), ("pour", b""), ("spin", b"")):
        seen = ticks
        with pytest.raises(TooExpensive):
            await box.run(parser, file)
        assert ticks > seen + 20, f"the loop stood still for {parser}"
    ticking.cancel()
    assert resident() - before < 20_000_000


@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/self/environ", "/dev/zero"])
async def test_a_parser_cannot_read_files(box: RlimitedBox, path: str) -> None:
    with pytest.raises(Unreadable):
        await box.run("read_file", path.encode())


async def test_a_parser_cannot_write_files(box: RlimitedBox, tmp_path: Path) -> None:
    with pytest.raises(Unreadable):
        await box.run("write_file", str(tmp_path / "file").encode())
    assert not list(tmp_path.iterdir())


async def test_a_parser_has_no_network(box: RlimitedBox) -> None:
    async with canary() as bird:
        with pytest.raises(Unreadable):
            await box.run("dial", str(bird.port).encode())
        assert bird.hits == 0


async def test_a_parser_sees_nothing_of_the_servers_environment(
    box: RlimitedBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MA_SECRET_KEY", "secret")
    seen = json.loads(await box.run("look_around", b""))
    assert set(seen["environment"]) <= {*box_module.ENVIRONMENT, "LC_CTYPE"}


async def test_a_parser_can_start_nothing(box: RlimitedBox) -> None:
    with pytest.raises(Unreadable):
        await box.run("leave_someone", b"")
    await childless(box)


async def test_a_caller_who_gives_up_ends_the_parser(box: RlimitedBox) -> None:
    await box.run("shout", b"warm")
    asked = asyncio.create_task(box.run("spin", b""))
    await asyncio.sleep(0.05)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await childless(box)


async def test_a_box_that_died_is_replaced(box: RlimitedBox) -> None:
    await box.run("shout", b"warm")
    assert box._process
    asked = asyncio.create_task(box.run("spin", b""))
    await asyncio.sleep(0.05)
    box._process.kill()
    with pytest.raises(Unavailable):
        await asked
    box._process.wait()
    assert await box.run("shout", b"again") == b"AGAIN"


async def test_a_full_line_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box_module, "WAITING", 1)
    full = RlimitedBox({"wait": Parser(f"{made.__name__}:wait", seconds=2)})
    asked = [asyncio.create_task(full.run("wait", b"")) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await full.run("wait", b"")
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    full.close()


LIES = [
    b"",
    b"\n",
    b"[]\n",
    b"null\n",
    b"{}\n",
    b'{"kind": "result"}\n',
    b'{"kind": "result", "length": "many"}\n',
    b'{"kind": "result", "length": -5}\nabc',
    b'{"kind": "result", "length": 1e999}\nabc',
    b'{"kind": "result", "length": 99}\nshort',
    b'{"kind": "unreadable"}\n',
    b'{"kind": ["result"]}\n',
    b"\xff\xfe\n",
    b"[" * 60_000 + b"\n",
    b"no line at all",
]


async def test_a_parser_that_was_taken_over_can_only_spoil_its_own_file(box: RlimitedBox) -> None:
    for lie in LIES:
        with pytest.raises((Unreadable, TooExpensive)):
            await box.run("lie", lie)


def test_the_box_ends_with_its_server() -> None:
    code = f"""
import asyncio
from server.infra.box import Parser, RlimitedBox
async def main():
    box = RlimitedBox({{"spin": Parser("{made.__name__}:spin", cpu_seconds=60, seconds=60)}})
    box.start()
    print(box._process.pid, flush=True)
    await box.run("spin", b"")
asyncio.run(main())
"""
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert server.stdout
    watched = os.pidfd_open(int(server.stdout.readline()))
    server.send_signal(signal.SIGKILL)
    server.communicate()
    assert select.select([watched], [], [], 10)[0], "the box outlived its server"
    os.close(watched)
