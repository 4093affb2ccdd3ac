"""What a chatbot can be made of on this server: the installed avatars and voices."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pipelines.registry import Voices

DEFAULT_AVATAR: Final = "avatar_female_01"


@dataclass(frozen=True, slots=True)
class Choices:
    """`avatar_voices` are the voices that suit each avatar; they speak for bots that name none, where they keep up."""

    avatars: frozenset[str]
    voices: Voices
    avatar_voices: Mapping[str, str] = field(default_factory=dict)
    portraits: frozenset[str] = frozenset()
    """The avatars that have a picture."""

    def voice_for(self, language: str, avatar_id: str | None = None, wanted: str | None = None) -> str:
        return self.voices.choose(language, wanted, self.avatar_voices.get(avatar_id or "")).id

    @property
    def voice_ids(self) -> frozenset[str]:
        return frozenset(voice.id for voice in self.voices)
