"""What the prompt service takes and gives."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from api._kit.paging import PageQuery
from api._kit.values import Commas, Identifier, Input, LanguageTag, Name, Output, Timestamp

CONTENT = 20_000
Content = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=CONTENT, pattern=r"\S")]
Purpose = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120, pattern=r"\S")]
Variable = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)*$", max_length=64)
]


class VariableValue(Input):
    """What `{{name}}` stands for in the prompt. Names that begin with visitor., page. or bot. and `now` are taken."""

    name: Variable = Field(examples=["company"])
    value: str = Field("", max_length=2_000, examples=["Acme Ltd"])
    description: str | None = Field(None, max_length=200)

    @field_validator("name")
    @classmethod
    def _free(cls, name: str) -> str:
        if name == "now" or name.partition(".")[0] in ("visitor", "page", "bot"):
            raise ValueError("this name is one of the server's own")
        return name


def _unique(values: list[VariableValue]) -> list[VariableValue]:
    if len({one.name for one in values}) < len(values):
        raise ValueError("a variable is declared twice")
    return values


class PromptQuery(PageQuery):
    sort_by: Literal["created_at", "updated_at", "name"] = "created_at"
    chatbot_id: Annotated[list[Identifier], Commas] | None = None
    purpose: Annotated[list[Purpose], Commas] | None = None
    template: bool = Field(False, description="List prompts to begin with instead of your own")


class NewPrompt(Input):
    """`content` may be left out when `from_template` names one of the list's templates."""

    chatbot_id: Identifier = Field(examples=["cb_12345"])
    name: Name = Field(examples=["Support, friendly"])
    content: Content | None = Field(
        None, examples=["You are {{bot.name}} of {{company}}. The visitor is on the page {{page.title}}."]
    )
    variables: list[VariableValue] | None = Field(None, max_length=50)
    language: LanguageTag = "en-US"
    purpose: Purpose | None = None
    from_template: Identifier | None = Field(None, examples=["tpl_support"])

    _no_twins = field_validator("variables")(lambda cls, values: values and _unique(values))


class PromptPatch(Input):
    """New content or variables make a new version; a name does not."""

    content: Content | None = None
    name: Name | None = None
    variables: list[VariableValue] | None = Field(None, max_length=50)
    purpose: Purpose | None = None
    note: str | None = Field(None, max_length=500, examples=["Shorter answers"])

    _no_twins = field_validator("variables")(lambda cls, values: values and _unique(values))


class Prompt(Output):
    id: str = Field(examples=["prm_01JZ8Q6F3N"])
    chatbot_id: str | None = Field(description="Null for a template", examples=["cb_12345"])
    name: str
    purpose: str | None
    language: str
    version: int = Field(description="Of this content", examples=[3])
    content: str
    variables: list[VariableValue]
    tokens: int = Field(description="Estimated: a quarter of the content's bytes")
    warnings: list[str] = Field(description="What will not work as it stands")
    template: bool
    published_version: int | None
    published_at: Timestamp | None
    created_at: Timestamp
    updated_at: Timestamp


class VersionChoice(Input):
    version: int | None = Field(None, ge=1, le=1_000_000, description="The newest unless given")


class VersionQuery(PageQuery):
    sort_by: Literal["created_at", "version"] = "version"
    diff: str | None = Field(
        None, pattern=r"^[1-9]\d{0,5}\.\.[1-9]\d{0,5}$", description="Two versions, as in 1..3: only these are listed"
    )


class PromptVersion(Output):
    version: int
    author: str = Field(examples=["user_123"])
    note: str | None
    tokens: int
    created_at: Timestamp
    diff: str | None = Field(description="With `diff=a..b`, at version b: what changed since a, as a unified diff")


class Publication(Input):
    version: int | None = Field(None, ge=1, le=1_000_000, description="The newest unless given; an older one goes back")


class Published(Output):
    prompt_id: str
    version: int
    published_at: Timestamp


class Removed(Output):
    id: str
    deleted: Literal[True] = True


class Said(Input):
    role: Literal["user", "assistant"] = "user"
    content: str = Field(min_length=1, max_length=4_000, pattern=r"\S", examples=["What are your opening hours?"])


class PromptTest(Input):
    """`variables` replace declared values, and stand for what a visitor's browser would say (`page.title`)."""

    version: int | None = Field(None, ge=1, le=1_000_000)
    variables: dict[Variable, Annotated[str, StringConstraints(max_length=2_000)]] = Field(
        default_factory=dict, max_length=50, examples=[{"page.title": "Prices"}]
    )
    messages: list[Said] = Field(min_length=1, max_length=20)
    model_id: str | None = Field(None, max_length=160, examples=["server/default"])

    @field_validator("messages")
    @classmethod
    def _asks(cls, messages: list[Said]) -> list[Said]:
        if messages[-1].role != "user":
            raise ValueError("the last message is the user's")
        return messages


class Citation(Output):
    document_id: str
    title: str


class TestAnswer(Output):
    rendered: str = Field(description="The system message, and what is told of the visit with the question")
    tokens: int = Field(description="That the model read, by its own count where it gives one")
    response: str
    model_id: str | None
    finish_reason: str | None
    citations: list[Citation] = Field(description="Empty: a test looks nothing up")
    latency_ms: float
    cost: int | None = Field(description="Millionths of a US dollar; null where no price is known")
