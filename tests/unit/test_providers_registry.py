"""Which voice a language gets, and clear answers when nothing is installed."""

from pathlib import Path

import pytest

from pipelines.models.store import ModelMissing, ModelStore, UnknownModel
from pipelines.providers.base import SttCapabilities, Voice
from pipelines.registry import Choices, LanguageUnsupported, Voices, build, language_model, require_recogniser


def voice(id: str, language: str, speed: str = "fast") -> Voice:
    return Voice(id, id, language, "neutral", "piper", speed, "CC0-1.0")  # type: ignore[arg-type]


VOICES = Voices(
    [voice("joe", "en-US"), voice("emma", "en-GB"), voice("slow", "de-DE", "slow"), voice("quick", "de-AT")], "joe"
)


@pytest.mark.parametrize(
    ("language", "wanted", "chosen"),
    [
        ("en-US", None, "joe"),
        ("en-GB", "emma", "emma"),
        ("en-AU", None, "joe"),
        ("de-DE", None, "slow"),
        ("de-CH", None, "quick"),
        ("de", "joe", "quick"),
        ("en", "uninstalled", "joe"),
    ],
)
def test_a_bot_gets_the_nearest_voice_that_speaks_its_language(language: str, wanted: str | None, chosen: str) -> None:
    assert VOICES.for_language(language, wanted).id == chosen


def test_a_language_that_no_voice_speaks_is_refused_with_what_is_there() -> None:
    with pytest.raises(LanguageUnsupported, match=r"'fr'.*de-AT, de-DE, en-GB, en-US") as refused:
        VOICES.for_language("fr")
    assert refused.value.part == "voice"


class Deaf:
    capabilities = SttCapabilities(("en",), "tiny")

    async def transcribe(self, pcm: bytes, language: str):  # type: ignore[no-untyped-def]
        raise NotImplementedError


def test_a_language_that_the_recogniser_cannot_hear_is_refused() -> None:
    require_recogniser(Deaf(), "en-GB")
    with pytest.raises(LanguageUnsupported, match="recogniser"):
        require_recogniser(Deaf(), "hi-IN")


def test_a_missing_model_file_says_the_command(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"machineavatars models pull whisper-tiny\.en"):
        build(ModelStore(tmp_path), Choices())


@pytest.mark.parametrize(
    "choices",
    [
        Choices(stt_model="nothing"),
        Choices(stt_model="avatar-base"),
        Choices(llm_model="whisper-tiny.en"),
    ],
)
def test_a_model_of_the_wrong_kind_is_refused(tmp_path: Path, choices: Choices) -> None:
    with pytest.raises(UnknownModel):
        language_model(ModelStore(tmp_path), choices) if choices.llm_model else build(ModelStore(tmp_path), choices)


def test_a_remote_model_needs_no_worker_and_no_file(tmp_path: Path) -> None:
    llm, process = language_model(
        ModelStore(tmp_path), Choices(llm_base_url="https://models.example/v1", llm_model="big")
    )
    assert (llm.capabilities.model, llm.capabilities.local, process) == ("big", False, None)
