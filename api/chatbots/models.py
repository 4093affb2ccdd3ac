"""What the chatbot service takes and gives."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from api._kit.appearance import Theme
from api._kit.origins import normal
from api._kit.paging import PageQuery
from api._kit.values import Commas, Identifier, Input, LanguageTag, Name, Output, Timestamp

Type = Literal["3d", "text", "voice"]
Status = Literal["draft", "active", "paused", "maintenance", "trashed"]
IdentityMode = Literal["off", "optional", "required"]
Kind = Literal["bubble", "inline", "fullpage", "iframe", "react", "wordpress"]
Origin = Annotated[str, Field(max_length=255, examples=["https://www.example.com"]), AfterValidator(normal)]
Prompt = Annotated[str, StringConstraints(max_length=8_000)]
Greeting = Annotated[str, StringConstraints(max_length=500)]
Text = Annotated[str, StringConstraints(max_length=500)]
TextKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.]{0,63}$")]
Texts = Annotated[dict[TextKey, Text], Field(max_length=200)]
Suggestion = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120, pattern=r"\S")]


class Example(Input):
    """A question and how the chatbot should answer it. A few of them guide a small model better than long prompts."""

    question: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300, pattern=r"\S")]
    answer: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=600, pattern=r"\S")]


class GreetingVariant(Input):
    """A greeting for some users, if all that is given fits: a language or locale, campaign values, and whether they
    come back to an open conversation."""

    text: Greeting = Field(examples=["Willkommen zurück!"])
    locale: LanguageTag | None = None
    utm: dict[Identifier, Annotated[str, StringConstraints(max_length=300)]] = Field({}, max_length=5)
    returning: bool | None = None


class Settings(Output):
    """What the chatbot says and how it looks; an empty prompt means one made of its name and purpose."""

    prompt: str = ""
    examples: list[Example] = Field(default_factory=list)
    greeting: str = ""
    greetings: list[GreetingVariant] = Field(
        default_factory=list, description="The first that fits is said in place of `greeting`"
    )
    idle_minutes: int = Field(30, description="Silence that ends a conversation")
    suggestions: list[str] = Field(default_factory=list)
    theme: Theme = Theme()
    texts: dict[str, dict[str, str]] = Field(default_factory=dict, description="The widget's own sentences, by locale")


class SettingsPatch(Input):
    """Settings to change; the others stay."""

    prompt: Prompt | None = None
    examples: list[Example] | None = Field(None, max_length=12)
    greeting: Greeting | None = None
    greetings: list[GreetingVariant] | None = Field(None, max_length=12)
    idle_minutes: int | None = Field(None, ge=1, le=1_440)
    suggestions: list[Suggestion] | None = Field(None, max_length=6)
    theme: Theme | None = None
    texts: Annotated[dict[LanguageTag, Texts], Field(max_length=30)] | None = Field(
        None, examples=[{"en": {"open": "Ask us"}}]
    )


class NewChatbot(Input):
    name: Name = Field(examples=["Support Bot"])
    type: Type = Field(examples=["3d"])
    avatar_id: Identifier | None = Field(None, examples=["avatar_female_01"])
    language: LanguageTag = Field("en-US", examples=["en-US"])
    voice_id: Identifier | None = None
    purpose: str | None = Field(None, max_length=500)
    template_id: Identifier | None = Field(None, description="A template of `/selection/options` to begin with")


class ChatbotPatch(Input):
    """Fields to change. Visitors see them when they are published, except `allowed_origins`, which counts at once."""

    name: Name | None = None
    avatar_id: Identifier | None = None
    voice_id: Identifier | None = None
    language: LanguageTag | None = None
    languages: list[LanguageTag] | None = Field(None, max_length=20)
    purpose: str | None = Field(None, max_length=500)
    allowed_origins: list[Origin] | None = Field(None, max_length=50)
    identity_mode: IdentityMode | None = None
    settings: SettingsPatch | None = None


class Chatbot(Output):
    id: str = Field(examples=["cb_12345"])
    name: str
    type: Type
    avatar_id: str | None
    voice_id: str | None
    language: str
    languages: list[str]
    purpose: str | None
    template_id: str | None
    status: Status
    allowed_origins: list[str]
    identity_mode: IdentityMode
    settings: Settings
    published_version: int | None
    warnings: list[str] = Field(description="What will not work as it stands")
    created_at: Timestamp
    updated_at: Timestamp


class ChatbotQuery(PageQuery):
    sort_by: Literal["created_at", "updated_at", "name"] = "created_at"
    type: Annotated[list[Type], Commas] | None = None
    status: Annotated[list[Status], Commas] | None = None
    language: Annotated[list[LanguageTag], Commas] | None = None


class Publication(Input):
    version: int | None = Field(None, ge=1, description="An older version, to go back to it")
    note: str | None = Field(None, max_length=500)


class Published(Output):
    version: int
    published_at: Timestamp
    diff_summary: list[str] = Field(description="Names of the fields that changed for visitors")


class VersionQuery(PageQuery):
    sort_by: Literal["created_at", "version"] = "version"


class Version(Output):
    version: int
    author: str | None = Field(description="The member who published it")
    note: str | None
    created_at: Timestamp
    changed: list[str] = Field(description="What differs from the version before it")
    published: bool = Field(description="Whether visitors see this one")


class Copy(Input):
    name: Name | None = Field(None, description="The name of the copy; made of the original's when there is none")
    include_knowledge: bool = Field(True, description="Whether the copy gets the questions and answers too")


class Deleted(Output):
    id: str
    deleted: Literal[True] = True
    restore_until: Timestamp


class EmbedQuery(Input):
    kind: Kind = Field("bubble", description="How the widget sits on the page")


class Embed(Output):
    """What a website needs to show the chatbot."""

    kind: Kind
    html: str
    html_pinned: str | None = Field(description="The same with this very build of the script, checked by the browser")
    npm: str | None
    csp: dict[str, str] = Field(description="Response headers that a page with a content security policy needs")
    sri: str | None = Field(description="Integrity of the script in `html_pinned`; /widget.js itself may change")
    allowed_origins: list[str]
    identity_secret: str | None = Field(
        None, description="For admins: what the website's server signs its visitors' identities with"
    )


class AvatarRef(Output):
    """Addresses are relative to the server that the widget came from."""

    id: str
    glb_url: str
    thumbnail_url: str | None


class VoiceRef(Output):
    id: str


class Features(Output):
    voice: bool
    three_d: bool
    text: bool


class Consent(Output):
    required: bool


class BootConfig(Output):
    """What the widget may know before anyone has signed in. `texts` overrides the widget's own, by locale."""

    id: str
    name: str
    type: Type
    language: str
    languages: list[str]
    theme: Theme
    texts: dict[str, dict[str, str]]
    greeting: str | None
    suggestions: list[str]
    avatar: AvatarRef | None
    voice: VoiceRef | None
    features: Features
    consent: Consent
    presentation: dict[str, Any] = Field(description="What the owner has set of `/state-{type}`'s `presentation`")
