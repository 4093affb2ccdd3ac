"""One frozen tree of settings, read once from the environment (`MA_`, two underscores for nesting)."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from api._kit.limits import ANONYMOUS, VISITOR


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LlmSettings(_Group):
    """An empty `base_url` means the embedded llama.cpp server with the packaged model."""

    base_url: str = Field("", description="OpenAI-compatible endpoint; empty starts the embedded model")
    model: str = Field("", description="Model name at that endpoint; for the embedded server a name of `models list`")
    api_key: SecretStr = Field(SecretStr(""), description="Key for that endpoint")
    max_tokens: int = Field(120, description="Longest answer, in tokens", ge=8, le=4096)
    temperature: float = Field(0.2, description="Sampling temperature", ge=0, le=2)
    first_token_timeout: float = Field(5.0, description="Seconds to wait for the first token before apologising", gt=0)


class SttSettings(_Group):
    model: str = Field("whisper-tiny.en", description="A speech-to-text model of `models list`")
    threads: int = Field(2, description="CPU threads of the recogniser", ge=1)


class TtsSettings(_Group):
    voice: str = Field(
        "",
        description="Voice of bots that name none; empty takes the one that suits the avatar where the machine is fast "
        "enough for it, else the packaged fast voice",
    )
    threads: int = Field(2, description="CPU threads of the voice", ge=1)


class TurnSettings(_Group):
    hangover_ms: int = Field(200, description="Silence that ends the user's turn", ge=64, le=2000)
    utterance_cap_s: float = Field(30, description="Longest utterance, in seconds", gt=1, le=60)


class LimitSettings(_Group):
    """Requests a minute besides those of the tiers."""

    anonymous: int = Field(ANONYMOUS, description="Requests a minute of one address without credentials", ge=1)
    visitor: int = Field(VISITOR, description="Requests a minute of one visitor", ge=1)


class EgressSettings(_Group):
    allow: str = Field("", description="host:port,... that outgoing requests may reach although they are private")


class SmtpSettings(_Group):
    """Without a `host` mails are written to the log."""

    host: str = Field("", description="Mail server; empty writes mails, with their links, to the log")
    port: int = Field(587, description="Its port", ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = Field("starttls", description="How the connection is protected")
    username: str = Field("", description="Empty signs in nowhere")
    password: SecretStr = Field(SecretStr(""), description="For that user")
    sender: str = Field("MachineAvatars <noreply@localhost>", description="Whom mails are from")


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="MA_", env_nested_delimiter="__", frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", description="Address to listen on")
    port: int = Field(8000, description="Port of the gateway", ge=0, le=65535)
    data_dir: Path = Field(Path("var"), description="Database, models, keys")
    public_url: str = Field("", description="Where visitors reach the server; default http://localhost:<port>")
    secret_key: SecretStr = Field(
        SecretStr(""), description="Signs tokens, encrypts stored keys; made in the data directory when SQLite is used"
    )
    database_url: str = Field(
        "", description="sqlite+aiosqlite:///... (default, in the data directory) or postgresql+asyncpg://..."
    )
    redis_url: str = Field(
        "", description="For many machines: where requests are counted; empty counts in this process"
    )
    services: dict[str, str] = Field(
        {}, description="MA_SERVICES__AUTH=http://a:8001,http://b:8001: rows that other processes serve, and where"
    )
    trusted_proxies: int = Field(
        0, description="How many proxies in front are believed about the client's address", ge=0
    )
    log_level: str = Field("info", description="debug, info, warning, error")
    log_format: str = Field("auto", description="json, console, or auto (console on a terminal)")
    shutdown_seconds: float = Field(7.0, description="How long running turns may finish after SIGTERM", ge=0)
    max_sessions: int = Field(200, description="Open conversations before new ones are refused", ge=1)
    max_connections: int = Field(4096, description="Open connections before new ones are refused", ge=1)
    max_connections_per_address: int = Field(
        1024, description="The same for one address; not counted for this machine and behind a trusted proxy", ge=0
    )
    llm: LlmSettings = LlmSettings()
    stt: SttSettings = SttSettings()
    tts: TtsSettings = TtsSettings()
    turn: TurnSettings = TurnSettings()
    limits: LimitSettings = LimitSettings()
    egress: EgressSettings = EgressSettings()
    smtp: SmtpSettings = SmtpSettings()

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @property
    def origin(self) -> str:
        """The public URL without a trailing slash."""
        return (self.public_url or f"http://localhost:{self.port}").rstrip("/")

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite+aiosqlite:///{self.data_dir / 'machineavatars.db'}"


def unknown_variables() -> list[str]:
    """Variables of the environment that look like settings and are none: a mistyped name silently does nothing."""
    known = {*_variables(Settings, "MA_")}
    return sorted(name for name in os.environ if _meant(name.upper()) and name.upper() not in known)


def _meant(name: str) -> bool:
    """MA_TEST_ is the tests' own; a row that is none is refused at the start."""
    return name.startswith("MA_") and not name.startswith(("MA_TEST_", "MA_SERVICES__"))


def _variables(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """The names that are read, those of whole groups included."""
    for name, field in model.model_fields.items():
        yield prefix + name.upper()
        if isinstance(field.default, BaseModel):
            yield from _variables(type(field.default), f"{prefix}{name.upper()}__")
