"""Kokoro in the languages that espeak reads for it: every sound has a mouth, a time and a word."""

import json
import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest

from pipelines.core import visemes
from pipelines.frames import SpeechChunk
from pipelines.models.manifest import load
from pipelines.models.store import MANIFEST, ModelStore
from pipelines.providers.base import ProviderError, Voice
from pipelines.providers.kokoro import ESPEAK, KokoroTts, foreign, worker
from pipelines.registry import ProviderSettings, build
from pipelines.workers import phones
from pipelines.workers.process import WorkerProcess, running

MODELS = Path(__file__).parents[2] / "var" / "models"
SENTENCES = {
    "ef_dora": "¿A qué hora abre la tienda, señor Núñez?",
    "ff_siwis": "Les enfants jouent avec un ballon rouge ; c'est bien.",
    "hf_alpha": "मैं आपकी मदद करने के लिए यहाँ हूँ।",
    "if_sara": "La ragazza gioca con la palla rossa nel giardino.",
    "pf_dora": "As crianças não brincam com uma bola vermelha amanhã.",
}


def kokoro_voices() -> dict[str, str]:
    return {voice.id: voice.language for voice in load(MANIFEST)["kokoro-82m-int8"].voices}


def test_every_voice_of_the_manifest_has_someone_who_reads_for_it() -> None:
    unread = {id for id, language in kokoro_voices().items() if language[:2] not in {"en", *ESPEAK}}
    assert not unread


def test_every_reader_has_a_voice() -> None:
    assert {language[:2] for language in kokoro_voices().values()} == {"en", *ESPEAK}


async def test_without_espeak_a_foreign_voice_is_refused_and_not_read_as_english(tmp_path: Path) -> None:
    voice = Voice("ef_dora", "Dora", "es-ES", "female", "kokoro", "good", "Apache-2.0")
    assert foreign(voice)
    tts = KokoroTts(WorkerProcess(worker(tmp_path, tmp_path, {}, "")), [voice])
    with pytest.raises(ProviderError, match="nobody reads"):
        await anext(tts.speak("Hola.", "ef_dora"))


def explicit(symbol: str) -> bool:
    """Whether the table of mouths names every sound of the symbol, so that none is a guess."""
    spelt = "".join(visemes._LETTERS.get(c, c) for c in unicodedata.normalize("NFD", symbol))
    sounds = [c for c in spelt if unicodedata.category(c) in ("Ll", "Lu", "Lo")]
    return bool(sounds) and all(c in visemes._SOUNDS for c in sounds)


@pytest.mark.models
def test_every_sound_that_the_model_was_taught_has_a_mouth_of_its_own() -> None:
    tokenizer = MODELS / "kokoro-82m-int8" / "tokenizer.json"
    if not tokenizer.exists():
        pytest.skip("needs: machineavatars models pull kokoro-82m-int8")
    taught = json.loads(tokenizer.read_text(encoding="utf-8"))["model"]["vocab"]
    guessed = {symbol for symbol in taught if symbol != "$" and phones.is_sound(symbol) and not explicit(symbol)}
    assert guessed <= NEVER_WRITTEN


NEVER_WRITTEN = frozenset("ᵝS")
"""Japanese voices are not in the manifest, and nobody writes espeak's long s as one letter."""


@pytest.mark.models
async def test_every_language_has_exact_sounds_words_and_mouths() -> None:
    models = ModelStore(MODELS)
    if not models.present("kokoro-82m-int8"):
        pytest.skip("needs: machineavatars models pull kokoro-82m-int8")
    use = build(models, ProviderSettings(voice="ef_dora"))
    async with running(*(w for w in use.workers if w.spec.kind in ("kokoro", "text_to_speech"))):
        for voice, text in SENTENCES.items():
            chunks = [chunk async for chunk in use.tts.speak(text, voice)]
            check(chunks[0], text)
            assert [chunk async for chunk in use.tts.speak("...", voice)] == []


def check(chunk: SpeechChunk, text: str) -> None:
    assert (chunk.phones[0].t0, chunk.phones[-1].t1) == (0, chunk.samples)
    assert all(a.t1 == b.t0 for a, b in pairwise(chunk.phones))
    assert all(phone.symbol == phones.SILENCE or explicit(phone.symbol) for phone in chunk.phones)
    assert [text[w.c0 : w.c1] for w in chunk.words] == [t for t in text.split() if any(map(str.isalnum, t))]
    assert all(a.t1 <= b.t0 for a, b in pairwise(chunk.words))
    assert all(w.t1 > w.t0 for w in chunk.words), (text, chunk.words)
