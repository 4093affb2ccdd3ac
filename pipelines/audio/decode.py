"""An uploaded audio file as an utterance, within limits, believing nothing that the file says about itself.

The bytes choose the demuxer, so that FFmpeg never probes for formats that open other files; samples are counted as they
are decoded, whatever the headers claim. FFmpeg is large and the file is a stranger's: call this where a crash or a spin
is contained (a box), or at least in a thread.
"""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipelines.frames import INPUT_RATE

if TYPE_CHECKING:
    from av import AudioFrame, AudioResampler

LONGEST_S = 60
MOST_DECODED = 10_000_000
MOST_CHANNELS = 2
HIGHEST_RATE = 48_000
MOST_PACKETS = 100_000

Reason = Literal["format", "damaged", "empty", "too_long", "too_large", "channels", "rate"]

_CODECS = frozenset(
    "mp3 mp3float vorbis opus libopus flac "
    "pcm_s16le pcm_s24le pcm_s32le pcm_u8 pcm_f32le pcm_f64le pcm_mulaw pcm_alaw".split()
)


class AudioRejected(ValueError):
    """The file is not audio that we take; the message may be shown to whoever sent it."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def decode(data: bytes) -> bytes:
    """Mono 16-bit little-endian PCM at `INPUT_RATE` of a wav, mp3, ogg or webm file. Raises AudioRejected."""
    import av  # loads FFmpeg, which a server that is never sent files does not need

    demuxer = sniff(data)
    try:
        with av.open(io.BytesIO(data), "r", format=demuxer, metadata_errors="ignore") as container:
            pcm = b"".join(_samples(container))
    except av.error.FFmpegError as error:
        raise AudioRejected("damaged", "the audio file is damaged") from error
    if not pcm:
        raise AudioRejected("empty", "the audio file holds no sound")
    return pcm


def sniff(data: bytes) -> str:
    """The demuxer for these bytes. Raises AudioRejected."""
    match data[:4]:
        case b"RIFF" if data[8:12] == b"WAVE":
            return "wav"
        case b"OggS":
            return "ogg"
        case b"\x1aE\xdf\xa3":
            return "matroska"
        case head if head[:3] == b"ID3" or (len(head) == 4 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2):
            return "mp3"
    if not data:
        raise AudioRejected("empty", "the audio file is empty")
    raise AudioRejected("format", "the file is not wav, mp3, ogg or webm audio")


def _samples(container: Any) -> Iterator[bytes]:
    """Converted audio, frame by frame; what comes before a damaged packet counts."""
    import av

    if not container.streams.audio:
        raise AudioRejected("format", "the file has no audio")
    stream = container.streams.audio[0]
    codec = stream.codec_context.name if stream.codec_context else "something unknown"
    if codec not in _CODECS:
        raise AudioRejected("format", f"audio as {codec} is not supported")
    convert = av.AudioResampler(format="s16", layout="mono", rate=INPUT_RATE)
    decoded = samples = 0
    try:
        for count, packet in enumerate(container.demux(stream)):
            if count > MOST_PACKETS:
                raise AudioRejected("too_large", "the audio file is too large")
            for frame in packet.decode():
                decoded += _checked(frame)
                if decoded > MOST_DECODED:
                    raise AudioRejected("too_large", f"the audio is larger than {MOST_DECODED // 1_000_000} MB")
                for piece in _converted(convert, frame):
                    samples += piece.samples
                    if samples > LONGEST_S * INPUT_RATE:
                        raise AudioRejected("too_long", f"the audio is longer than {LONGEST_S} seconds")
                    yield piece.to_ndarray().tobytes()
    except av.error.FFmpegError:
        if not samples:
            raise
    for piece in _converted(convert, None):
        yield piece.to_ndarray().tobytes()


def _converted(convert: "AudioResampler", frame: "AudioFrame | None") -> "list[AudioFrame]":
    try:
        return convert.resample(frame)
    except ValueError as error:  # the rate or the channels change halfway
        raise AudioRejected("damaged", "the audio file is damaged") from error


def _checked(frame: "AudioFrame") -> int:
    """How many bytes the frame takes. Raises AudioRejected when it is of a kind we do not take."""
    if frame.layout.nb_channels > MOST_CHANNELS:
        raise AudioRejected("channels", f"the audio has more than {MOST_CHANNELS} channels")
    if not 0 < frame.sample_rate <= HIGHEST_RATE:
        raise AudioRejected("rate", f"the audio's sample rate is over {HIGHEST_RATE} Hz")
    if frame.format.name.startswith(("flt", "dbl")) and not np.isfinite(frame.to_ndarray()).all():
        raise AudioRejected("damaged", "the audio holds values that are not numbers")
    return frame.samples * frame.layout.nb_channels * frame.format.bytes
