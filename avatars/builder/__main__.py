"""`python -m avatars.builder [ID ...] --data DIR --out DIR` builds avatars; `... check` validates built ones."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from avatars.builder.basemesh import DataError
from avatars.builder.build import build
from avatars.builder.check import check
from avatars.library import HERE, Avatar, AvatarLibrary
from avatars.spec import AvatarError


def main(argv: list[str] | None = None) -> int:
    """Returns 0 when every avatar was built and found sound."""
    parser = argparse.ArgumentParser(prog="python -m avatars.builder", description=__doc__)
    parser.add_argument("ids", nargs="*", help="avatar ids, all when none is given; `check` first only validates")
    parser.add_argument("--data", type=Path, help="folder with mpfb2/ and faceunits01/")
    parser.add_argument("--out", type=Path, default=HERE / "dist", help="where the GLBs go")
    parser.add_argument("--force", action="store_true", help="build even when nothing changed")
    args = parser.parse_args(argv)
    only_check = args.ids[:1] == ["check"]
    if not only_check and args.data is None:
        parser.error("--data is needed to build")
    try:
        library = AvatarLibrary.scan(dist=args.out)
        ids = args.ids[only_check:]
        avatars = [library.get(i) for i in ids] if ids else list(library.list())
        sound = [run(avatar, None if only_check else args.data, args.force) for avatar in avatars]
    except (AvatarError, DataError) as error:
        say(f"error: {error}")
        return 1
    return 0 if all(sound) else 1


def run(avatar: Avatar, data: Path | None, force: bool) -> bool:
    """Builds one avatar if `data` is given, then checks it. Returns whether it is sound."""
    if data is not None:
        say(f"{avatar.id}: building")
        built = build(avatar.recipe, data, avatar.glb.parent, force)
        word = "built" if built.fresh else "unchanged"
        say(f"{avatar.id}: {word}, {built.size / 1e6:.2f} MB, {built.triangles} triangles, {built.glb}")
    elif not avatar.built:
        say(f"{avatar.id}: not built")
        return False
    problems = check(avatar.glb)
    for problem in problems:
        say(f"{avatar.id}: {problem}")
    if not problems:
        say(f"{avatar.id}: sound")
    return not problems


def say(line: str) -> None:
    """One progress line, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
