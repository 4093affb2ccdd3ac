"""How a chatbot looks on a website."""

from typing import Literal

from pydantic import Field

from api._kit.values import Input


class Theme(Input):
    """How the widget looks on the page."""

    color: str = Field("#2f6fed", pattern=r"^#[0-9a-fA-F]{6}$")
    mode: Literal["auto", "light", "dark"] = "auto"
    position: Literal["left", "right"] = "right"
    radius: int = Field(16, ge=0, le=32, description="Of the panel's corners, in pixels")
