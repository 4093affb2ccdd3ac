"""Language tags (BCP 47), as far as choosing models needs them."""


def primary(language: str) -> str:
    """The language of a tag without its dialect: `en` of `en-US`."""
    return language.replace("_", "-").split("-")[0].lower()
