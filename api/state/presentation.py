"""How a chatbot of each type presents itself, and the patches that change it (RFC 7396). Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from api._kit.appearance import Theme
from api._kit.checklist import Draft
from api._kit.values import Identifier, Input, Output
from pipelines.ports import Modality

Framing = Literal["face", "bust", "full"]
Quality = Literal["auto", "high", "low", "2d"]
Color = Annotated[str, StringConstraints(pattern=r"^(#[0-9a-fA-F]{6}|transparent)$")]
Starter = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120, pattern=r"\S")]
Brightness = Annotated[float, Field(ge=0, le=3)]
Radius = Annotated[int, Field(ge=0, le=32)]


class Scene(Output):
    background: Color = "transparent"


class Camera(Output):
    framing: Framing = "bust"


class Lights(Output):
    brightness: Brightness = 1.0


class FacePresentation(Output):
    avatar_id: str | None = None
    scene: Scene = Scene()
    camera: Camera = Camera()
    lights: Lights = Lights()
    idle: bool = Field(True, description="Whether the avatar breathes and looks around while nobody speaks")
    quality: Quality = "auto"


class Bubbles(Output):
    radius: Radius = 14


class TextPresentation(Output):
    theme: Theme = Theme()
    bubbles: Bubbles = Bubbles()
    starters: list[str] = Field(default_factory=list)


class VoicePresentation(Output):
    voice_id: str | None = None


class ScenePatch(Input):
    background: Color | None = None


class CameraPatch(Input):
    framing: Framing | None = None


class LightsPatch(Input):
    brightness: Brightness | None = None


class FacePatch(Input):
    """What changes; null sets a value back to what it was at first."""

    avatar_id: Identifier | None = None
    scene: ScenePatch | None = None
    camera: CameraPatch | None = None
    lights: LightsPatch | None = None
    idle: bool | None = None
    quality: Quality | None = None


class ThemePatch(Input):
    color: Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")] | None = Field(None, examples=["#2f6fed"])
    mode: Literal["auto", "light", "dark"] | None = None
    position: Literal["left", "right"] | None = None
    radius: Radius | None = None


class BubblesPatch(Input):
    radius: Radius | None = None


class TextPatch(Input):
    """What changes; null sets a value back to what it was at first."""

    theme: ThemePatch | None = None
    bubbles: BubblesPatch | None = None
    starters: list[Starter] | None = Field(None, max_length=6)


class VoicePatch(Input):
    """What changes; null sets a value back to what it was at first."""

    voice_id: Identifier | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """What a type's presentation is, how it is patched, and which of its fields are the chatbot's own."""

    whole: type[FacePresentation] | type[TextPresentation] | type[VoicePresentation]
    patch: type[FacePatch] | type[TextPatch] | type[VoicePatch]
    fields: tuple[str, ...]
    settings: Mapping[str, str]


KINDS: Final[Mapping[Modality, Kind]] = {
    "3d": Kind(FacePresentation, FacePatch, ("avatar_id",), {}),
    "text": Kind(TextPresentation, TextPatch, (), {"theme": "theme", "starters": "suggestions"}),
    "voice": Kind(VoicePresentation, VoicePatch, ("voice_id",), {}),
}


def merge(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The target with the patch applied, as RFC 7396 says: null takes a member out, objects are merged."""
    merged = {name: value for name, value in target.items() if name not in patch}
    for name, value in patch.items():
        if isinstance(value, Mapping):
            before = target.get(name)
            merged[name] = merge(before if isinstance(before, Mapping) else {}, value)
        elif value is not None:
            merged[name] = value
    return merged


def written(draft: Draft) -> dict[str, Any]:
    """What the owner has set, from wherever it is kept."""
    kind = KINDS[draft.type]
    kept = dict(draft.parts.get("presentation") or {})
    kept |= {name: getattr(draft, name) for name in kind.fields}
    return kept | {name: draft.settings[at] for name, at in kind.settings.items() if at in draft.settings}


def changes(draft: Draft, patch: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a patch means: new values of the chatbot's own fields, and the new part."""
    kind = KINDS[draft.type]
    after = merge(written(draft), patch)
    values: dict[str, Any] = {name: after.get(name) for name in kind.fields if name in patch}
    whole = kind.whole.model_validate(after).model_dump()
    settings = {at: whole[name] for name, at in kind.settings.items() if name in patch}
    if settings:
        values["settings"] = settings
    return values, {name: value for name, value in after.items() if name not in (*kind.fields, *kind.settings)}
