"""What a chatbot can be made of on this server: the installed avatars and voices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from avatars.library import Avatar
from pipelines.registry import Voices

DEFAULT_AVATAR: Final = "avatar_female_01"


@dataclass(frozen=True, slots=True)
class Sample:
    """What a voice says to be known by, and the id of the sound file, which is made when it is first opened."""

    text: str
    media_id: str


@dataclass(frozen=True, slots=True)
class Choices:
    """`avatar_voices` are the voices that suit each avatar; they speak for bots that name none, where they keep up."""

    avatars: frozenset[str]
    voices: Voices
    avatar_voices: Mapping[str, str] = field(default_factory=dict)
    portraits: frozenset[str] = frozenset()
    """The avatars that have a picture."""
    library: Sequence[Avatar] = ()
    samples: Mapping[str, Sample] = field(default_factory=dict)
    """By voice."""

    def voice_for(self, language: str, avatar_id: str | None = None, wanted: str | None = None) -> str:
        return self.voices.choose(language, wanted, self.avatar_voices.get(avatar_id or "")).id

    @property
    def voice_ids(self) -> frozenset[str]:
        return frozenset(voice.id for voice in self.voices)
