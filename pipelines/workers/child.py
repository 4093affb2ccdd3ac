"""Inside a worker process: protect the pipe, load one model, answer calls one at a time until the server goes away.

`python -m pipelines.workers.child NAME`, where NAME is a key of `KINDS`. The main thread runs the model; one thread
reads the pipe, so that cancellations arrive while the model works and so that the process ends with its server,
however that one ended.
"""

import importlib
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import IO, Any, Protocol

from pipelines.workers.framing import FrameInvalid, Header, encode, read

KINDS = {
    "speech_to_text": "pipelines.workers.speech_to_text",
    "text_to_speech": "pipelines.workers.text_to_speech",
    "kokoro": "pipelines.workers.kokoro",
    "voice_activity": "pipelines.workers.voice_activity",
    "language_model": "pipelines.workers.language_model",
}

BACKLOG = 4096
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")

SPINS = "1000"
"""How long an OpenMP thread spins at a barrier. Measured on llama.cpp with two cores: the default is no faster on an
idle machine and fifty times slower on a busy one; without spinning an idle one loses two thirds of its speed."""

NICE = 10
"""How far workers step back from the server. A model keeps every core busy for tenths of a second; the event loop wants
a few hundred microseconds of one, and at once, or every voice stutters."""

Cancelled = Callable[[], bool]
Reply = tuple[Header, bytes]

log = logging.getLogger("worker")


class CallFailed(Exception):
    """The model could not do what was asked; `retryable` as in ProviderError."""

    def __init__(self, detail: str, *, retryable: bool) -> None:
        super().__init__(detail)
        self.retryable = retryable


class Model(Protocol):
    """What a worker module's `load(config)` returns."""

    def about(self) -> Header:
        """What the server should know, sent with the handshake."""
        ...

    def call(self, op: str, args: Mapping[str, Any], payload: bytes, cancelled: Cancelled) -> Reply | Iterator[Reply]:
        """Answer one call with one reply or several; may stop once `cancelled()`. Raises CallFailed."""
        ...


class _Calls:
    """Calls as they come in, and which of them nobody wants any more."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._waiting: queue.Queue[tuple[Header, bytes]] = queue.Queue(BACKLOG)
        self._dropped: set[int] = set()
        self._open: set[int] = set()
        self._guard = threading.Lock()

    def read(self) -> None:
        """Runs in its own thread; ends the process when the server's end of the pipe closes."""
        try:
            while message := read(self._stream):
                header, payload = message
                with self._guard:
                    if header.get("cancel"):
                        if header["id"] in self._open:
                            self._dropped.add(header["id"])
                        continue
                    self._open.add(header["id"])
                self._waiting.put((header, payload))
        except (OSError, FrameInvalid, KeyError) as error:
            log.error("pipe broken: %s", error)
        os._exit(0)  # the model may be deep in native code, and nothing here needs saving

    def next(self) -> tuple[Header, bytes]:
        return self._waiting.get()

    def dropped(self, call: int) -> bool:
        return call in self._dropped

    def close(self, call: int) -> None:
        with self._guard:
            self._open.discard(call)
            self._dropped.discard(call)


def serve(model: Model, incoming: IO[bytes], outgoing: IO[bytes]) -> None:
    calls = _Calls(incoming)
    threading.Thread(target=calls.read, name="pipe", daemon=True).start()
    while True:
        header, payload = calls.next()
        call = header["id"]
        if not calls.dropped(call):
            for reply in _answer(model, header, payload, partial(calls.dropped, call)):
                if calls.dropped(call):
                    break
                outgoing.write(encode(*reply))
                outgoing.flush()
        calls.close(call)


def _answer(model: Model, header: Header, payload: bytes, cancelled: Cancelled) -> Iterator[Reply]:
    call = header["id"]
    try:
        answer = model.call(header["op"], header["args"], payload, cancelled)
        if isinstance(answer, tuple):
            yield {"id": call, "item": answer[0], "done": True}, answer[1]
            return
        for item, data in answer:
            yield {"id": call, "item": item}, data
        yield {"id": call, "done": True}, b""
    except CallFailed as error:
        yield {"id": call, "error": str(error), "retryable": error.retryable}, b""
    except Exception as error:  # last resort: one bad call must not take the others down
        log.exception("%s failed", header["op"])
        yield {"id": call, "error": f"{type(error).__name__}: {error}", "retryable": True}, b""


def limit_threads(count: int) -> None:
    """Before any native library is loaded: they read the C environment once, at load."""
    for name in THREAD_VARIABLES:
        os.putenv(name, str(count))
    os.putenv("GOMP_SPINCOUNT", SPINS)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the server's to handle
    os.nice(NICE)
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # whatever a library prints must not reach the pipe
    sys.stdout = sys.stderr
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    first = read(incoming)
    if first is None:
        return
    config = first[0]["configure"]
    limit_threads(config["threads"])
    try:
        model: Model = importlib.import_module(KINDS[sys.argv[1]]).load(config)
        hello: Header = {"ready": model.about()}
    except Exception as error:  # last resort: the server must learn why there is no worker
        log.exception("could not load")
        outgoing.write(encode({"failed": f"{type(error).__name__}: {error}"}))
        outgoing.flush()
        sys.exit(1)
    outgoing.write(encode(hello))
    outgoing.flush()
    serve(model, incoming, outgoing)


if __name__ == "__main__":
    main()
