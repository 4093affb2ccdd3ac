"""Recipes are read strictly and refuse with the field's name."""

from pathlib import Path

import pytest

from avatars.library import AvatarLibrary
from avatars.spec import AvatarError, read_recipe, rgb

GOOD = """
id = "avatar_test_01"
name = "Test"
gender = "female"
voice = "af_heart"
[licence]
id = "CC0-1.0"
credit = "nobody"
"""


def write(root: Path, text: str = GOOD, name: str = "avatar_test_01", licence: bool = True) -> Path:
    folder = root / name
    folder.mkdir()
    (folder / "avatar.toml").write_text(text)
    if licence:
        (folder / "LICENSE").write_text("CC0")
    return folder


def test_a_short_recipe_gets_defaults(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path))
    assert (recipe.rig, recipe.hair.style, recipe.clothes) == ("mixamo", "bob", ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + '[hair]\ncolor = "#000000"', "hair.color"),
        (GOOD + '[skin]\ntone = "pink"', "skin.tone"),
        (GOOD + "[shape]\nage = 3", "shape.age"),
        (GOOD + "[shape]\nancestry = { caucasian = 0, asian = 0, african = 0 }", "above zero"),
        ('animations = ["moonwalk"]' + GOOD, "moonwalk"),
        ("id = ", "not valid TOML"),
        (GOOD.replace("avatar_test_01", "avatar_other_01"), "differs from the folder"),
    ],
)
def test_a_wrong_recipe_names_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(AvatarError, match=message):
        read_recipe(write(tmp_path, text))


def test_an_avatar_without_a_licence_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AvatarError, match="LICENSE"):
        read_recipe(write(tmp_path, licence=False))


def test_the_library_lists_avatars_by_id_and_knows_their_build_products(tmp_path: Path) -> None:
    write(tmp_path, GOOD.replace("avatar_test_01", "avatar_test_02"), "avatar_test_02")
    write(tmp_path)
    library = AvatarLibrary.scan(tmp_path, tmp_path / "out")
    assert [a.id for a in library.list()] == ["avatar_test_01", "avatar_test_02"]
    avatar = library.get("avatar_test_02")
    assert avatar.glb == tmp_path / "out" / "avatar_test_02.glb"
    assert not avatar.built


def test_an_unknown_avatar_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(AvatarError, match="known: avatar_test_01"):
        AvatarLibrary.scan(tmp_path).get("avatar_nobody_01")


def test_the_shipped_recipes_are_valid() -> None:
    assert {"avatar_female_01", "avatar_male_01"} <= set(AvatarLibrary.scan().avatars)


def test_colours_become_channels() -> None:
    assert rgb("#ff0080") == (1.0, 0.0, 128 / 255)
