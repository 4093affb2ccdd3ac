"""What is known of models and providers: the packaged price list, and what a provider's own list of models says."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from api._kit.ports import ModelInfo, ModelKind
from api.llm.meter import Price
from pipelines.providers.base import LlmCapabilities

OWN: Final = "server/default"
"""The model that the server itself runs or was set up with."""
SERVER: Final = "server"
"""The provider that needs no key."""
DOLLAR: Final = 1_000_000
"""Prices and costs are in millionths of a US dollar."""
UNKNOWN_CONTEXT: Final = 8192
_DATA: Final = tomllib.loads((Path(__file__).parent / "prices.toml").read_text())
PRESETS: Final[Mapping[str, str]] = _DATA["providers"]
"""Where the well-known providers are."""
_KINDS: Final[Mapping[str, ModelKind | None]] = {
    "embed": "embedding",
    "whisper": "stt",
    "transcribe": "stt",
    "tts": "tts",
    "image": None,
    "dall-e": None,
    "sora": None,
    "moderation": None,
    "rerank": None,
}
"""Parts of names that tell what a model is for; without any it chats."""


@dataclass(frozen=True, slots=True)
class Known:
    """A model of a provider, under the name that the provider calls it by."""

    name: str
    context: int | None = None
    price: Price | None = None


def known(provider: str, declared: Iterable[Mapping[str, Any]]) -> dict[str, Known]:
    """The provider's models by name, as its row keeps them, with what the price list knows beside."""
    listed = _DATA["models"].get(provider, {})
    models = {}
    for model in declared:
        name, fact = model["name"], listed.get(model["name"], {})
        price = Price(int(Decimal(fact["input"]) * DOLLAR), int(Decimal(fact["output"]) * DOLLAR)) if fact else None
        if model.get("price"):
            price = Price(**model["price"])
        models[name] = Known(name, model.get("context") or fact.get("context"), price)
    return models


def kind(name: str) -> ModelKind | None:
    """What a model is for, by its name; None for what a chatbot has no use for."""
    lower = name.lower()
    return next((kind for part, kind in _KINDS.items() if part in lower), "chat")


def installed(chat: LlmCapabilities, stt: str, speaking: Iterable[str]) -> list[ModelInfo]:
    """What the server has by itself: its language model, its recogniser, the engines of its voices."""
    return [
        ModelInfo(
            id=OWN,
            provider=SERVER,
            name=chat.model,
            kind="chat",
            context=chat.context,
            price_input=0 if chat.local else None,
            price_output=0 if chat.local else None,
            locality="embedded" if chat.local else "operator",
        ),
        _ear_or_voice("stt", stt),
        *(_ear_or_voice("tts", engine) for engine in dict.fromkeys(speaking)),
    ]


def _ear_or_voice(kind: ModelKind, name: str) -> ModelInfo:
    return ModelInfo(f"{SERVER}/{name}", SERVER, name, kind, None, 0, 0, "embedded")


def info(provider: str, model: Known, *, region: str | None, healthy: bool) -> ModelInfo | None:
    purpose = kind(model.name)
    if purpose is None:
        return None
    return ModelInfo(
        id=f"{provider}/{model.name}",
        provider=provider,
        name=model.name,
        kind=purpose,
        context=model.context,
        price_input=model.price.input if model.price else None,
        price_output=model.price.output if model.price else None,
        locality="provider",
        residency=region,
        status="available" if healthy else "unavailable",
    )
