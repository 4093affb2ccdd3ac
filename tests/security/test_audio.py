"""Sound files that lie about themselves: refused, or cut down to what a minute of speech may be."""

import struct
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from api._kit.ports import TooExpensive
from pipelines.audio.decode import LONGEST_S, AudioRejected
from pipelines.audio.encode import encode
from pipelines.frames import INPUT_RATE
from server.infra.box import RlimitedBox
from server.infra.speech import SpeechFiles
from tests.unit.test_audio_files import claiming, tone, wav

MOST: Final = LONGEST_S * INPUT_RATE * 2
HOUR: Final = 3600
SILENCE: Final = bytes([16 << 3 | 3, 48])
"""An Opus packet of 120 ms: 48 frames of 2.5 ms with nothing in them."""


def crc(page: bytes) -> int:
    """Ogg's checksum (RFC 3533): the polynomial 0x04C11DB7, not reflected, from 0."""
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value & 0x80000000 else value << 1) & 0xFFFFFFFF
    return value


def page(number: int, packets: list[bytes], granule: int, *, flags: int = 0) -> bytes:
    head = struct.pack("<4sBBqIII", b"OggS", 0, flags, granule, 1, number, 0)
    rest = bytes([len(packets)]) + bytes(len(packet) for packet in packets) + b"".join(packets)
    return head[:22] + struct.pack("<I", crc(head + rest)) + rest


def opus_of_silence(most_bytes: int, claimed_seconds: int) -> bytes:
    """As much silence as fits, in a file that claims to last so many seconds."""
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 0, 48_000, 0, 0)
    tags = b"OpusTags" + struct.pack("<I", 0) + struct.pack("<I", 0)
    pages = [page(0, [head], 0, flags=2), page(1, [tags], 0)]
    size, pack = sum(map(len, pages)), [SILENCE] * 255
    per_page = len(page(2, pack, 0))
    count = (most_bytes - size) // per_page
    step = claimed_seconds * 48_000 // count
    pages += [page(2 + n, pack, (n + 1) * step) for n in range(count)]
    return b"".join(pages)


def nothing_but(value: float) -> bytes:
    return claiming(64_000, struct.pack("<f", value), 16_000, kind=3, bits=32)


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


HOSTILE: Final[dict[str, Callable[[], bytes]]] = {
    "a header that claims 4 GB": lambda: claiming(0xFFFFFFF0, b"\x10\x00", 8_000),
    "a header that claims 4 GB, and 200 MB of it": lambda: claiming(0xFFFFFFF0, bytes(1_000_000), 200),
    "192 kHz with 32 channels": lambda: wav(bytes(192_000 * 64), 192_000, channels=32),
    "an hour of silence in 100 KB that claims ten": lambda: opus_of_silence(100_000, 10 * HOUR),
    "half a minute of silence that claims ten hours": lambda: opus_of_silence(1_000, 10 * HOUR),
    "half an mp3": lambda: half(encode(tone(4, 24_000), "mp3")),
    "half an mp3 frame": lambda: encode(tone(1, 24_000), "mp3")[:100],
    "nothing": lambda: b"",
    "no samples": lambda: wav(b"", 16_000),
    "samples that are no numbers": lambda: nothing_but(float("nan")),
    "samples without end": lambda: nothing_but(float("inf")),
    "thirty minutes": lambda: wav(bytes(16_000 * 2 * 1_800), 16_000),
    "thirty minutes as mp3": lambda: encode(bytes(16_000 * 2 * 60), "mp3", 16_000) * 30,
    "noise after a header": lambda: b"OggS" + np.random.default_rng(5).bytes(1_000_000),
    "zlib after a header": lambda: b"\x1aE\xdf\xa3" + zlib.compress(bytes(1_000_000)),
}
CUT: Final = {"a header that claims 4 GB", "half an mp3", "half a minute of silence that claims ten hours"}
"""Those that are taken, as far as they go."""


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return {name: make() for name, make in HOSTILE.items()}


@pytest.fixture
async def speech() -> AsyncIterator[SpeechFiles]:
    box = RlimitedBox()
    files = SpeechFiles(box)
    yield files
    files.close()
    box.close()


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_sound_file_is_refused_or_cut(name: str, files: dict[str, bytes], speech: SpeechFiles) -> None:
    before = resident()
    if name in CUT:
        assert 0 < len(await speech.decode(files[name])) <= MOST
    else:
        with pytest.raises(AudioRejected):
            await speech.decode(files[name])
    assert resident() - before < 20_000_000


async def test_an_honest_file_is_decoded_as_it_is_outside_of_the_box(speech: SpeechFiles) -> None:
    for format in ("wav", "mp3", "ogg"):
        pcm = await speech.decode(encode(tone(2, 24_000), format))  # type: ignore[arg-type]
        assert len(pcm) == pytest.approx(2 * INPUT_RATE * 2, rel=0.06)


async def test_a_file_that_eats_the_processor_is_refused_as_too_large() -> None:
    class Greedy:
        async def run(self, parser: str, data: bytes, **options: object) -> bytes:
            raise TooExpensive("cpu")

    files = SpeechFiles(Greedy())
    with pytest.raises(AudioRejected) as refused:
        await files.decode(b"RIFF")
    assert refused.value.reason == "too_large"
    files.close()
