"""Voice activity in a worker process: Silero's recurrent model, one small state for every open microphone.

The model is the ONNX graph that comes inside the faster-whisper package: 0.13 ms of CPU a window on one thread, where
the ggml build of the same network takes more than ten times as long.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from pipelines.workers.child import CallFailed, Cancelled, Reply
from pipelines.workers.framing import Header

WINDOW = 512
CONTEXT = 64  # samples of the window before that the network also sees
STATE = (1, 1, 128)

Array = NDArray[np.float32]


class _Stream:
    __slots__ = ("cell", "context", "hidden")

    def __init__(self) -> None:
        self.hidden: Array = np.zeros(STATE, np.float32)
        self.cell: Array = np.zeros(STATE, np.float32)
        self.context: Array = np.zeros(CONTEXT, np.float32)


class VoiceActivity:
    """States by stream number; a number it does not know is a new stream."""

    def __init__(self, model: Path, most: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._most = most
        self._streams: dict[int, _Stream] = {}

    def about(self) -> Header:
        return {"window": WINDOW}

    def call(self, op: str, args: Mapping[str, Any], payload: bytes, cancelled: Cancelled) -> Reply:
        number = int(args["stream"])
        if op == "close":
            self._streams.pop(number, None)
            return {}, b""
        stream = self._streams.get(number)
        if stream is None:
            if len(self._streams) >= self._most:
                raise CallFailed(f"{self._most} microphones are open already", retryable=True)
            stream = self._streams[number] = _Stream()
        return {"p": self._push(stream, payload)}, b""

    def _push(self, stream: _Stream, pcm: bytes) -> list[float]:
        samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
        count = len(samples) // WINDOW
        whole = np.concatenate([stream.context, samples[: count * WINDOW]])
        windows = np.stack([whole[i * WINDOW : (i + 1) * WINDOW + CONTEXT] for i in range(count)])
        feed = {"input": windows, "h": stream.hidden, "c": stream.cell}
        probabilities, stream.hidden, stream.cell = self._session.run(None, feed)
        stream.context = whole[-CONTEXT:]
        return [round(float(p), 4) for p in probabilities]


def load(config: Mapping[str, Any]) -> VoiceActivity:
    package = importlib.util.find_spec("faster_whisper")
    if package is None or not package.submodule_search_locations:
        raise FileNotFoundError("the faster-whisper package, which carries the voice activity model, is not installed")
    model = Path(package.submodule_search_locations[0]) / "assets" / "silero_vad_v6.onnx"
    return VoiceActivity(model, most=config["streams"])
