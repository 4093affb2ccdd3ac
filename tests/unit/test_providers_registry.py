"""Which voice a language gets, and clear answers when nothing is installed."""

import hashlib
from pathlib import Path

import pytest

from pipelines import registry
from pipelines.models.store import ModelMissing, ModelStore, UnknownModel
from pipelines.providers.base import Voice
from pipelines.registry import PackageMissing, ProviderSettings, Voices, build, language_model, speakers


def voice(id: str, language: str, speed: str = "fast", engine: str = "piper") -> Voice:
    return Voice(id, id, language, "neutral", engine, speed, "CC0-1.0")  # type: ignore[arg-type]


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
        ("fr-FR", "quick", "joe"),
    ],
)
def test_a_bot_gets_the_nearest_voice_that_speaks_its_language(language: str, wanted: str | None, chosen: str) -> None:
    assert VOICES.choose(language, wanted).id == chosen


def test_a_language_is_known_by_any_of_its_dialects() -> None:
    assert [VOICES.known(language) for language in ("de", "de-CH", "en_AU", "fr-FR")] == [True, True, True, False]


def test_an_avatar_speaks_with_its_own_voice_where_the_machine_keeps_up() -> None:
    voices = Voices([voice("joe", "en-US"), voice("heart", "en-US", "good", engine="kokoro")], "joe")
    assert voices.choose("en-US", own="heart").id == "joe"
    voices.measured("kokoro", 1.4)
    assert voices.choose("en-US", own="heart").id == "joe"
    voices.measured("kokoro", 0.4)
    assert voices.choose("en-US", own="heart").id == "heart"
    assert voices.choose("en-US", "joe", own="heart").id == "joe"
    assert voices.choose("de-DE", own="heart").id == "joe"


def test_a_voice_that_was_chosen_speaks_even_where_it_is_slow() -> None:
    voices = Voices([voice("joe", "en-US"), voice("heart", "en-US", "slow", engine="kokoro")], "joe")
    assert voices.choose("en-US", "heart").id == "heart"


def test_without_the_default_the_nearest_voice_speaks_and_the_first_reads_what_none_speaks() -> None:
    voices = Voices([voice("joe", "en-US"), voice("emma", "en-GB", "slow")], "none")
    assert [voices.choose(language).id for language in ("en-GB", "fr-FR")] == ["emma", "joe"]


def test_a_missing_model_file_says_the_command(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"machineavatars models pull whisper-tiny\.en"):
        build(ModelStore(tmp_path), ProviderSettings())


@pytest.mark.parametrize(
    "settings",
    [
        ProviderSettings(stt_model="nothing"),
        ProviderSettings(stt_model="avatar-base"),
        ProviderSettings(llm_model="whisper-tiny.en"),
    ],
)
def test_a_model_of_the_wrong_kind_is_refused(tmp_path: Path, settings: ProviderSettings) -> None:
    with pytest.raises(UnknownModel):
        language_model(ModelStore(tmp_path), settings) if settings.llm_model else build(ModelStore(tmp_path), settings)


def test_a_remote_model_needs_no_worker_and_no_file(tmp_path: Path) -> None:
    llm, process = language_model(
        ModelStore(tmp_path), ProviderSettings(llm_base_url="https://models.example/v1", llm_model="big")
    )
    assert (llm.capabilities.model, llm.capabilities.local, process) == ("big", False, None)


@pytest.fixture
def two_engines(tmp_path: Path) -> ModelStore:
    """A store with a voice of Piper, `pat`, and one of Kokoro, `kim`."""
    source, root = tmp_path / "source", tmp_path / "models"
    source.mkdir()
    root.mkdir()
    (source / "model.onnx").write_bytes(b"weights")
    about = f'''source = "file"
packages = ["{source}"]
licence = "MIT"
purpose = "test"
files = {{ "model.onnx" = "{hashlib.sha256(b"weights").hexdigest()}" }}
'''
    voices = "voices = {{ {} = {{ name = 'X', language = 'en-US', gender = 'neutral' }} }}\n"
    (root / "manifest.toml").write_text(
        f"""[misaki-en]\n{about}
[quick]\n{about}engine = "piper"\n{voices.format("pat")}
[natural]\n{about}engine = "kokoro"\nneeds = ["misaki-en"]\n{voices.format("kim")}"""
    )
    store = ModelStore(root)
    store.pull(["quick", "natural"])
    return store


def test_every_engine_that_is_here_speaks(two_engines: ModelStore) -> None:
    _, voices, workers = speakers(two_engines, ProviderSettings(voice="kim"))
    assert ({voice.id for voice in voices}, len(workers)) == ({"pat", "kim"}, 2)


def test_an_engine_whose_package_was_left_out_has_no_voices_and_no_worker(
    two_engines: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "PACKAGES", {"piper": "a_package_that_is_not_installed"})
    _, voices, workers = speakers(two_engines, ProviderSettings(voice="kim"))
    assert ([voice.id for voice in voices], len(workers)) == (["kim"], 1)
    with pytest.raises(PackageMissing, match="choose another voice"):
        speakers(two_engines, ProviderSettings(voice="pat"))
