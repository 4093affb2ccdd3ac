"""Where strangers' files are opened: a process of its own for every file, with hard limits and nothing to reach.

A parser is a plain function of ours, `parse(data: bytes, **options) -> bytes`, that runs on one thread, opens nothing
and imports nothing late. It refuses a file by raising a ValueError with a `reason`. What it returns comes from a
stranger's file and is read with care: structure as JSON, validated by a pydantic model. To add one:

1. write the function beside what it belongs to, for instance `api/crawl/pdf.py`;
2. name it in `PARSERS` with its limits, and under `needs` the modules that its libraries would import late (a parser
   that still imports something fails with "Too many open files" in the log);
3. call `await ctx.deps.box.run("pdf", data, pages=500)`.

A process that has the parsers loaded waits in `server.infra.boxed` and forks for every file, which takes milliseconds.
Should it die, the files under way are refused with Unavailable and the next file starts another.
"""

import asyncio
import json
import logging
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from api._kit.errors import Unavailable
from api._kit.ports import TooExpensive, Unreadable

RUNNING: Final = 2
WAITING: Final = 32
LONGEST_LINE: Final = 65_536
CHUNK: Final = 1 << 18
ENVIRONMENT: Final = {"LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""All that a parser sees of it: the server's own holds secrets. One thread, because threads do not survive a fork."""
CANNOT_READ: Final = "the file cannot be read"

log = logging.getLogger("box")


@dataclass(frozen=True, slots=True)
class Parser:
    """`function` is `module:function`. `memory` and `output` are bytes; loading the parsers does not count."""

    function: str
    needs: tuple[str, ...] = ()
    cpu_seconds: int = 5
    seconds: float = 10.0
    memory: int = 256 << 20
    output: int = 10_000_000


PARSERS: Final[Mapping[str, Parser]] = {
    "audio": Parser("pipelines.audio.decode:decode", needs=("av", "av.subtitles.stream"), output=4_000_000),
}


class RlimitedBox:
    """Fills the `Box` port: `RUNNING` files at a time, `WAITING` more in line. `close` it."""

    def __init__(self, parsers: Mapping[str, Parser] = PARSERS) -> None:
        self._parsers = parsers
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._line = asyncio.Semaphore(WAITING + RUNNING)
        self._places = asyncio.Semaphore(RUNNING)

    def start(self) -> None:
        """Load the parsers now rather than for the first file. Returns at once."""
        self.close()
        self._control, theirs = socket.socketpair()
        modules = {name for parser in self._parsers.values() for name in (parser.function.split(":")[0], *parser.needs)}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "server.infra.boxed", str(theirs.fileno()), *sorted(modules)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=ENVIRONMENT,
            )

    async def run(self, parser: str, data: bytes, **options: str | int | float | bool | None) -> bytes:
        """Raises Unreadable, TooExpensive, Unavailable, and KeyError for a parser that there is none of."""
        chosen = self._parsers[parser]
        if self._line.locked():
            raise Unavailable("Too many files are being read. Please try again.", details="the line is full")
        async with self._line, self._places:
            reply = await self._exchange(chosen, data, options)
        return self._result(parser, chosen, reply)

    def close(self) -> None:
        if self._control:
            self._control.close()
        if self._process:
            self._process.kill()  # its children die with it
            self._process.wait()
        self._control = self._process = None

    async def _exchange(self, parser: Parser, data: bytes, options: Mapping[str, object]) -> bytes:
        """Everything that the job answers. Closing the socket kills the job."""
        job = {
            "function": parser.function,
            "cpu_seconds": parser.cpu_seconds,
            "memory": parser.memory,
            "options": options,
            "length": len(data),
        }
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with ours:
            ours.setblocking(False)
            with theirs:
                self._hand_over(theirs)
            try:
                async with asyncio.timeout(parser.seconds):
                    with suppress(BrokenPipeError, ConnectionResetError):  # it ended before it had read everything
                        await loop.sock_sendall(ours, json.dumps(job).encode() + b"\n")
                        await loop.sock_sendall(ours, data)
                    return await _received(ours, LONGEST_LINE + parser.output)
            except TimeoutError:
                raise TooExpensive("time") from None

    def _hand_over(self, job: socket.socket) -> None:
        if self._process is None or self._process.poll() is not None:
            self.start()
        assert self._control
        try:
            socket.send_fds(self._control, [b"."], [job.fileno()])
        except OSError as error:
            raise Unavailable("Files cannot be read right now. Please try again.", details="the box is gone") from error

    def _result(self, name: str, parser: Parser, reply: bytes) -> bytes:
        if not reply:
            raise Unavailable("Files cannot be read right now. Please try again.", details="the box is gone")
        line, ended, rest = reply.partition(b"\n")
        if not ended:
            raise _killed(name, reply[-1])
        try:
            answer = json.loads(line)
            kind = answer["kind"]
            if kind == "result" and 0 <= answer["length"] <= parser.output:
                if len(rest) < answer["length"]:
                    raise _killed(name, reply[-1])
                return rest[: answer["length"]]
            if kind == "unreadable":
                raise Unreadable(str(answer["reason"]), str(answer["message"]))
            message = answer.get("message", "")
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError, RecursionError):
            kind, message = "failed", "the answer makes no sense"
        if kind in ("memory", "result"):
            raise TooExpensive("memory" if kind == "memory" else "output")
        log.warning("the %s parser failed: %s", name, str(message)[:500])
        raise Unreadable("damaged", CANNOT_READ)


def _killed(parser: str, how: int) -> Exception:
    """What it means that a signal ended the job."""
    if how == signal.SIGXCPU:
        return TooExpensive("cpu")
    if how == signal.SIGKILL:
        return TooExpensive("memory")
    log.warning("the %s parser ended with signal %d", parser, how)
    return Unreadable("damaged", CANNOT_READ)


async def _received(job: socket.socket, most: int) -> bytes:
    """Until the other end closes, or a little more than `most`."""
    loop, reply = asyncio.get_running_loop(), bytearray()
    with suppress(ConnectionResetError):  # the file was not read to its end
        while len(reply) <= most and (piece := await loop.sock_recv(job, CHUNK)):
            reply += piece
    return bytes(reply)
