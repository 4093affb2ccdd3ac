"""Speech as a file: wav, mp3 or ogg/opus. Takes tens of milliseconds a sentence: call it in a thread."""

import io
import wave
from typing import TYPE_CHECKING, Literal, cast, get_args

from pipelines.frames import OUTPUT_RATE

if TYPE_CHECKING:
    from av import AudioStream

Format = Literal["wav", "mp3", "ogg"]
CONTENT_TYPES: dict[Format, str] = {"wav": "audio/wav", "mp3": "audio/mpeg", "ogg": "audio/ogg"}
_CODECS: dict[Format, tuple[str, int]] = {"mp3": ("libmp3lame", 64_000), "ogg": ("libopus", 32_000)}


def encode(pcm: bytes, format: Format, rate: int = OUTPUT_RATE) -> bytes:
    """Mono 16-bit little-endian PCM as a file's bytes. Raises ValueError for another format."""
    if format not in get_args(Format):
        raise ValueError(f"audio format {format!r} is none of {', '.join(get_args(Format))}")
    return _wav(pcm, rate) if format == "wav" else _compressed(pcm, format, rate)


def _wav(pcm: bytes, rate: int) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm)
    return out.getvalue()


def _compressed(pcm: bytes, format: Format, rate: int) -> bytes:
    import av  # loads FFmpeg, which a server that is never asked for files does not need
    import numpy as np

    codec, bit_rate = _CODECS[format]
    out = io.BytesIO()
    with av.open(out, "w", format=format) as container:
        stream = cast("AudioStream", container.add_stream(codec, rate=rate, layout="mono"))
        stream.bit_rate = bit_rate
        if pcm:
            frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm, "<i2")[None], format="s16", layout="mono")
            frame.sample_rate = rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()
