"""What a chatbot is set up by, step by step: what there is to do, what is done and what is wrong. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pipelines.ports import Modality

Step = Literal["type", "purpose", "knowledge", "prompt", "avatar", "voice", "appearance", "deploy"]
StepStatus = Literal["done", "todo", "skipped", "problem"]
STEPS: Final[Mapping[Modality, tuple[Step, ...]]] = {
    "3d": ("type", "purpose", "knowledge", "prompt", "avatar", "voice", "appearance", "deploy"),
    "text": ("type", "purpose", "knowledge", "prompt", "appearance", "deploy"),
    "voice": ("type", "purpose", "knowledge", "prompt", "voice", "deploy"),
}
OPTIONAL: Final[frozenset[Step]] = frozenset({"knowledge", "appearance"})
"""Steps that may be skipped."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A chatbot as its owner edits it. `updated_at` is in milliseconds since the epoch."""

    id: str
    name: str
    type: Modality
    status: str
    language: str
    purpose: str | None
    avatar_id: str | None
    voice_id: str | None
    settings: Mapping[str, Any]
    parts: Mapping[str, Any]
    allowed_origins: tuple[str, ...]
    published_version: int | None
    updated_at: int


@dataclass(frozen=True, slots=True)
class Installed:
    """What this server has."""

    avatars: Collection[str]
    voices: Collection[str]


@dataclass(frozen=True, slots=True)
class StepState:
    name: Step
    status: StepStatus
    required: bool
    problems: tuple[str, ...] = ()


def checklist(draft: Draft, installed: Installed, skipped: Collection[str] = ()) -> tuple[StepState, ...]:
    """Every step of the chatbot's type. A step that was skipped and is done after all counts as done."""
    return tuple(_state(step, draft, installed, skipped) for step in STEPS[draft.type])


def _state(step: Step, draft: Draft, installed: Installed, skipped: Collection[str]) -> StepState:
    problems = _problems(step, draft, installed)
    status: StepStatus = "todo"
    if problems:
        status = "problem"
    elif _done(step, draft):
        status = "done"
    elif step in skipped:
        status = "skipped"
    return StepState(step, status, step not in OPTIONAL, problems)


def _problems(step: Step, draft: Draft, installed: Installed) -> tuple[str, ...]:
    """What would not work, in words for the owner."""
    if step == "avatar" and draft.avatar_id is not None and draft.avatar_id not in installed.avatars:
        return (f"The avatar {draft.avatar_id} is not installed here.",)
    if step == "voice" and draft.voice_id is not None and draft.voice_id not in installed.voices:
        return (f"The voice {draft.voice_id} is not installed here.",)
    if step == "deploy" and draft.published_version is not None and not draft.allowed_origins:
        return ("No website may show the chatbot: allowed_origins is empty.",)
    return ()


def _done(step: Step, draft: Draft) -> bool:
    match step:
        case "type":
            return True
        case "purpose":
            return bool(draft.purpose and draft.purpose.strip())
        case "knowledge":
            return bool(draft.settings.get("examples"))
        case "prompt":
            return bool(draft.settings.get("prompt") or draft.parts.get("prompt"))
        case "avatar":
            return draft.avatar_id is not None
        case "voice":
            return draft.voice_id is not None
        case "appearance":
            return bool(draft.settings.get("theme") or draft.parts.get("presentation"))
        case "deploy":
            return draft.published_version is not None and draft.status != "draft"


def missing(steps: Collection[StepState]) -> list[Step]:
    """The required steps that are to be done before the chatbot is deployed."""
    return [s.name for s in steps if s.required and s.name != "deploy" and s.status in ("todo", "problem")]


def broken(draft: Draft, installed: Installed) -> list[Step]:
    """The steps for which the chatbot cannot be published at all: what they chose does not work here."""
    return [s.name for s in checklist(draft, installed) if s.name != "deploy" and s.problems]


def current(steps: Collection[StepState]) -> Step | None:
    """Where to go on: the first step that is neither done nor skipped; None when there is no such."""
    return next((step.name for step in steps if step.status in ("todo", "problem")), None)


def percent(steps: Collection[StepState]) -> int:
    """How much of the list is behind the owner, 0 to 100."""
    return 100 * sum(step.status in ("done", "skipped") for step in steps) // len(steps)
