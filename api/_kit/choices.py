"""What a chatbot can be made of on this server: the installed avatars and voices."""

from dataclasses import dataclass
from typing import Final

from pipelines.providers.base import Voice

DEFAULT_AVATAR: Final = "avatar_female_01"


def primary(language: str) -> str:
    """The language without its region: `en` of `en-US`."""
    return language.replace("_", "-").split("-", 1)[0].lower()


@dataclass(frozen=True, slots=True)
class Choices:
    """`default_voice` speaks for bots that name none, where it knows their language."""

    avatars: frozenset[str]
    voices: tuple[Voice, ...]
    default_voice: str

    def voice_for(self, language: str) -> str | None:
        """The voice of a language, or None when no installed voice speaks it."""
        wanted = language.replace("_", "-").lower()
        fitting = [v for v in self.voices if primary(v.language) == primary(language)]
        fitting.sort(key=lambda v: (v.id != self.default_voice, v.language.replace("_", "-").lower() != wanted))
        return fitting[0].id if fitting else None

    def speaks(self, voice_id: str, language: str) -> bool:
        return any(v.id == voice_id and primary(v.language) == primary(language) for v in self.voices)

    @property
    def voice_ids(self) -> frozenset[str]:
        return frozenset(v.id for v in self.voices)
