"""What the model service takes and gives. Prices and costs are whole millionths of a US dollar."""

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from api._kit.paging import PageQuery
from api._kit.ports import ModelKind
from api._kit.values import Commas, Day, Identifier, Input, Output, Timestamp

ModelId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}/[^\s\x00-\x1f]{1,127}$")]
ModelName = Annotated[str, StringConstraints(pattern=r"^[^\s\x00-\x1f]{1,127}$")]
LONGEST_MESSAGE = 8_000


class ModelQuery(PageQuery):
    sort_by: Literal["id", "provider", "kind"] = "id"
    order: Literal["asc", "desc"] = "asc"
    provider: Annotated[list[str], Commas] | None = None
    kind: Annotated[list[ModelKind], Commas] | None = None
    modality: Annotated[list[Literal["text", "audio"]], Commas] | None = None
    residency: str | None = Field(None, max_length=64)
    min_tier: str | None = Field(None, max_length=32)


class TokenPrice(Output):
    """Millionths of a US dollar for a million tokens."""

    model_config = ConfigDict(serialize_by_alias=True)

    input: int = Field(alias="in", examples=[150_000])
    output: int = Field(alias="out", examples=[600_000])


class Model(Output):
    id: str = Field(examples=["openai/gpt-4o-mini"])
    provider: str = Field(examples=["openai"])
    name: str = Field(examples=["gpt-4o-mini"])
    kind: ModelKind
    modality: Literal["text", "audio"]
    context: int | None = Field(description="Tokens that it reads at once; null where nobody says", examples=[128_000])
    price: TokenPrice | None = Field(description="Null where it is not known; an embedded model costs nothing")
    capabilities: list[str] = Field(examples=[["streaming"]])
    locality: Literal["embedded", "operator", "provider"] = Field(
        description="In this server, at an endpoint of its operator's, or at a provider that you have a key for"
    )
    residency: str | None = Field(description="The region that was given for the provider")
    min_tier: str = Field(examples=["free_trial"])
    status: Literal["available", "unavailable", "retired"]
    deprecated_at: Timestamp | None


class ChatModel(Input):
    """`fallbacks` are asked in their order while nothing has been said; each has `timeout_ms` for its first word."""

    primary: ModelId = Field("server/default", examples=["openai/gpt-4o-mini"])
    fallbacks: list[ModelId] = Field(default_factory=list, max_length=3, examples=[["server/default"]])
    temperature: float | None = Field(None, ge=0, le=2, description="Null: the server's own setting")
    max_tokens: int | None = Field(None, ge=8, le=4096, description="Null: the server's own setting")
    timeout_ms: int | None = Field(None, ge=500, le=10_000, description="Null: the server's own setting")


class NewSelection(Input):
    chat: ChatModel


class Selection(Output):
    """Which models a chatbot uses: its draft's. Visitors get them with the next publishing."""

    chatbot_id: str = Field(examples=["cb_12345"])
    chat: ChatModel
    embedding: str | None = Field(description="The server's; null while it has none")
    stt: str | None
    tts: str | None


class TestMessage(Input):
    role: Literal["system", "user", "assistant"] = "user"
    content: str = Field(min_length=1, max_length=LONGEST_MESSAGE, examples=["What are your opening hours?"])


class ModelTest(Input):
    models: list[ModelId] = Field(min_length=1, max_length=4, examples=[["server/default"]])
    messages: list[TestMessage] = Field(min_length=1, max_length=20)
    chatbot_id: Identifier | None = Field(None, description="Whose usage it counts to", examples=["cb_12345"])


class TokenCount(Output):
    input: int
    output: int


class TestResult(Output):
    model_id: str
    response: str
    finish_reason: str | None
    first_token_ms: float | None
    total_ms: float
    tokens: TokenCount
    cost: int | None = Field(description="Millionths of a US dollar; null where no price is known")
    error: str | None


class TestResults(Output):
    results: list[TestResult]


def _visible(text: str) -> str:
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("a key has visible ASCII characters only")
    return text


class DeclaredPrice(Input):
    """Millionths of a US dollar for a million tokens."""

    input: int = Field(alias="in", ge=0, le=10**9, examples=[150_000])
    output: int = Field(alias="out", ge=0, le=10**9, examples=[600_000])


class DeclaredModel(Input):
    name: ModelName = Field(examples=["gpt-4o-mini"])
    context: int | None = Field(None, ge=256, le=100_000_000)
    price: DeclaredPrice | None = None


class NewProvider(Input):
    """`models` are those that the provider's own list leaves out, or whose price is yours; with any of them, the first
    is asked one word to see that the key is right."""

    api_key: Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(_visible)] = Field(
        examples=["sk-your-key"]
    )
    base_url: str | None = Field(None, max_length=2048, examples=["https://api.openai.com/v1"])
    region: str | None = Field(None, max_length=64, examples=["eu"])
    models: list[DeclaredModel] | None = Field(None, max_length=50)


class Provider(Output):
    """A provider that the organisation has a key for. The key itself is never shown."""

    provider: str = Field(examples=["openai"])
    base_url: str
    key_last4: str = Field(examples=["-key"])
    region: str | None
    models: int = Field(description="How many models it offers", ge=0)
    status: Literal["ok", "error"]
    last_error: str | None
    created_at: Timestamp
    updated_at: Timestamp


class ProviderQuery(PageQuery):
    sort_by: Literal["created_at", "updated_at", "name"] = "created_at"


class Removal(Input):
    force: bool = Field(False, description="Also when chatbots use its models")


class Removed(Output):
    provider: str
    deleted: Literal[True] = True
    affected_chatbots: list[str]


class UsageQuery(Input):
    since: Day | None = Field(None, alias="from", description="First day, in UTC; 30 days ago unless given")
    until: Day | None = Field(None, alias="to", description="Last day, included; today unless given")
    group_by: Literal["chatbot", "model", "user", "day"] = "model"
    chatbot_id: Identifier | None = None


class UsageRow(Output):
    """Tokens are the provider's count, or an estimate where it gives none."""

    group: str = Field(examples=["openai/gpt-4o-mini"])
    input_tokens: int
    output_tokens: int
    requests: int
    errors: int = Field(description="Of the requests: those that failed, or were given up before a first word")
    cost: int = Field(description="Millionths of a US dollar; models without a known price count nothing")


class UsageReport(Output):
    rows: list[UsageRow]
