"""Audio in and out: rates, formats, and files that lie."""

import io
import random
import struct
import wave
from contextlib import suppress

import numpy as np
import pytest

from pipelines.audio.decode import AudioRejected, decode
from pipelines.audio.encode import encode
from pipelines.audio.resample import Resampler


def tone(seconds: float, rate: int, hertz: float = 440) -> bytes:
    return (9000 * np.sin(np.arange(int(seconds * rate)) * 2 * np.pi * hertz / rate)).astype("<i2").tobytes()


def pitch(pcm: bytes, rate: int = 16_000) -> float:
    spectrum = np.abs(np.fft.rfft(np.frombuffer(pcm, "<i2")))
    return float(spectrum.argmax() * rate / (len(pcm) // 2))


def wav(pcm: bytes, rate: int, channels: int = 1) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(pcm)
    return out.getvalue()


def claiming(size: int, sample: bytes, count: int, *, kind: int = 1, bits: int = 16) -> bytes:
    """A wav file whose header claims `size` bytes of data."""
    form = struct.pack("<IHHIIHH", 16, kind, 1, 16_000, 2_000 * bits, bits // 8, bits)
    return b"RIFF" + struct.pack("<I", size) + b"WAVEfmt " + form + b"data" + struct.pack("<I", size) + sample * count


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_a_stream_of_any_usual_rate_keeps_its_length_and_pitch(rate: int) -> None:
    resampler, frame = Resampler(rate), 2 * (rate // 50)
    pcm = tone(1, rate)
    out = b"".join(resampler.push(pcm[i : i + frame]) for i in range(0, len(pcm), frame)) + resampler.flush()
    assert len(out) // 2 == pytest.approx(16_000, abs=2)
    assert pitch(out) == pytest.approx(440, abs=2)


def test_resampling_a_browsers_microphone_holds_back_twenty_milliseconds_at_most() -> None:
    resampler, given, got = Resampler(48_000), 0, 0
    for _ in range(100):
        given, got = given + 320, got + len(resampler.push(tone(0.02, 48_000))) // 2
        assert given - got <= 330 or given <= 640


@pytest.mark.parametrize("rate", [0, -1, 7_999, 48_001, 192_000])
def test_an_unsupported_rate_is_refused(rate: int) -> None:
    with pytest.raises(ValueError, match="not supported"):
        Resampler(rate)


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_half_a_sample_is_refused(rate: int) -> None:
    with pytest.raises(ValueError, match="whole"):
        Resampler(rate).push(b"\x00\x01\x02")


@pytest.mark.parametrize("format", ["wav", "mp3", "ogg"])
def test_speech_comes_back_from_every_format(format: str) -> None:
    pcm = decode(encode(tone(0.5, 24_000), format))  # type: ignore[arg-type]
    assert len(pcm) / 32_000 == pytest.approx(0.5, abs=0.06)
    assert pitch(pcm) == pytest.approx(440, abs=4)


@pytest.mark.parametrize("format", ["wav", "mp3", "ogg"])
def test_no_speech_is_a_file_without_sound(format: str) -> None:
    with pytest.raises(AudioRejected):
        decode(encode(b"", format))  # type: ignore[arg-type]


@pytest.mark.parametrize("format", ["wav", "mp3", "ogg"])
def test_a_mangled_file_is_refused_or_decoded_but_never_an_accident(format: str) -> None:
    whole, dice = encode(tone(0.3, 24_000), format), random.Random(5)  # type: ignore[arg-type]
    for _ in range(40):
        mangled = bytearray(whole)
        for _ in range(dice.choice((1, 5, 50))):
            mangled[dice.randrange(min(len(mangled), 2_000))] = dice.randrange(256)
        with suppress(AudioRejected):
            decode(bytes(mangled))


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="none of wav, mp3, ogg"):
        encode(b"", "aiff")  # type: ignore[arg-type]


def test_two_channels_become_one() -> None:
    stereo = np.repeat(np.frombuffer(tone(0.5, 48_000), "<i2"), 2).astype("<i2").tobytes()
    pcm = decode(wav(stereo, 48_000, channels=2))
    assert len(pcm) // 2 == pytest.approx(8_000, abs=40)
    assert pitch(pcm) == pytest.approx(440, abs=4)


@pytest.mark.parametrize(
    ("reason", "data"),
    [
        ("empty", b""),
        ("format", b"hello, this is text"),
        ("format", b"#EXTM3U\nfile:///etc/passwd"),
        ("format", b"ffconcat version 1.0\nfile /etc/passwd"),
        ("empty", wav(b"", 16_000)),
        ("too_long", wav(bytes(2 * 8_000 * 61), 8_000)),
        ("too_large", wav(bytes(4 * 48_000 * 56), 48_000, channels=2)),
        ("rate", wav(bytes(4_000), 192_000)),
        ("channels", wav(bytes(64_000), 16_000, channels=32)),
        ("damaged", b"OggS" + bytes(200)),
        ("damaged", b"\x1aE\xdf\xa3" + bytes(200)),
        ("damaged", claiming(4_000, struct.pack("<f", float("nan")), 1_000, kind=3, bits=32)),
    ],
)
def test_a_file_beyond_the_limits_is_refused_with_its_reason(reason: str, data: bytes) -> None:
    with pytest.raises(AudioRejected) as refused:
        decode(data)
    assert refused.value.reason == reason


def test_a_header_that_claims_four_gigabytes_is_not_believed() -> None:
    assert len(decode(claiming(0xFFFFFFF0, b"\x10\x00", 8_000))) == 16_000


@pytest.mark.parametrize("format", ["mp3", "ogg"])
def test_a_truncated_file_gives_what_is_there(format: str) -> None:
    whole = encode(tone(4, 24_000), format)  # type: ignore[arg-type]
    assert 0.5 < len(decode(whole[: len(whole) // 2])) / 32_000 < 3
