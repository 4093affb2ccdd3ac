"""What the selection service takes and gives."""

from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic.json_schema import SkipJsonSchema

from api._kit.paging import PageQuery
from api._kit.values import Commas, Identifier, Input, LanguageTag, Moment, Output, Timestamp
from pipelines.providers.base import Speed

Gender = Literal["female", "male", "neutral"]
Type = Literal["3d", "text", "voice"]
Tier = Literal["free_trial", "starter", "professional", "business", "enterprise"]
Word = Annotated[str, Field(max_length=64)]


class ChoiceQuery(PageQuery):
    """A list of what is installed. It has no history, so it is sorted by name."""

    sort_by: Literal["name", "id"] = "name"
    order: Literal["asc", "desc"] = "asc"
    created_after: SkipJsonSchema[Moment | None] = None
    created_before: SkipJsonSchema[Moment | None] = None

    @field_validator("created_after", "created_before")
    @classmethod
    def _timeless(cls, value: object) -> object:
        if value is not None:
            raise ValueError("what is installed has no time of creation")
        return value


class AvatarQuery(ChoiceQuery):
    style: Annotated[list[Literal["realistic", "stylised"]], Commas] | None = None
    gender: Annotated[list[Literal["female", "male"]], Commas] | None = None
    type: Annotated[list[Type], Commas] | None = Field(None, description="Types of chatbot that can have the avatar")
    license: Annotated[list[Word], Commas] | None = Field(None, description="SPDX identifiers", examples=["CC0-1.0"])


class VoiceQuery(ChoiceQuery):
    language: Annotated[list[LanguageTag], Commas] | None = Field(
        None, description="A language (`es`) or one of its dialects (`es-ES`)"
    )
    gender: Annotated[list[Gender], Commas] | None = None
    provider: Annotated[list[Word], Commas] | None = Field(None, description="Engines", examples=["kokoro"])
    style: Annotated[list[Literal["neutral", "whisper", "character"]], Commas] | None = None


class AvatarChoice(Output):
    """An avatar that a chatbot can have. Addresses are relative to this server."""

    id: str = Field(examples=["avatar_female_01"])
    name: str
    description: str
    gender: Literal["female", "male"]
    style: Literal["realistic", "stylised"]
    types: list[Type] = Field(description="Types of chatbot that can have it")
    thumbnail_url: str | None
    glb_url: str
    size_bytes: int
    license: str = Field(description="SPDX identifier", examples=["CC0-1.0"])
    credit: str
    rig: Literal["arkit52/oculus15"] = Field("arkit52/oculus15", description="The morph targets' names")
    animations: list[str]
    voice_id: str = Field(description="The voice that suits it; it need not be installed")
    min_tier: Tier = "free_trial"


class VoiceChoice(Output):
    """A voice that a chatbot can speak with."""

    id: str = Field(examples=["af_heart"])
    name: str
    language: str = Field(examples=["en-US"])
    gender: Gender
    style: Literal["neutral", "whisper", "character"]
    provider: str = Field(description="The engine", examples=["kokoro"])
    license: str = Field(description="SPDX identifier")
    sample_url: str | None = Field(
        description="An MP3 of this voice, open to whoever has the address, for a day. It is made when it is first "
        "opened, which takes some seconds; while another one is being made the answer is 503 with Retry-After"
    )
    sample_text: str | None = Field(description="What the sample says")
    visemes: Literal["native", "derived"] = Field(
        "native", description="native: the engine itself times its sounds; derived: they are found in its audio"
    )
    latency_class: Speed = Field(
        description="fast: four times real time or more; good: keeps up with a conversation; slow: does not. Measured "
        "on this server where it was, else what to expect on two cores"
    )
    min_tier: Tier = "free_trial"


class TypeChoice(Output):
    id: Type
    name: str
    description: str


class PurposeChoice(Output):
    id: str = Field(examples=["support"])
    text: str = Field(description="To be used as a chatbot's `purpose`")


class LanguageChoice(Output):
    id: str = Field(examples=["en-US"])
    voices: int = Field(description="How many installed voices speak it")


class TemplateChoice(Output):
    """What a chatbot can begin as: its id goes into `template_id` when the chatbot is created."""

    id: str = Field(examples=["customer_support"])
    name: str
    purpose: str = Field(description="A purpose's id")
    prompt: str = Field(description="`{name}` becomes the chatbot's name")
    greeting: str
    suggestions: list[str]
    examples: int = Field(description="How many questions it answers from the start")
    min_tier: Tier


class Options(Output):
    types: list[TypeChoice]
    purposes: list[PurposeChoice]
    languages: list[LanguageChoice]
    templates: list[TemplateChoice]
    tier_locked: list[str] = Field(description="Ids of templates that need a larger plan")
    site_key: str = Field(description="Names the organisation's site to `/selection/resolve`; it is no secret")


class Selected(Input):
    chatbot_id: Identifier


class Selection(Output):
    chatbot_id: str
    since: Timestamp
