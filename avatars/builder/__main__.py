"""`python -m avatars.builder [ID ...] --data DIR --out DIR` builds avatars; `... check` validates built ones."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from avatars.builder.basemesh import DataError
from avatars.builder.build import build
from avatars.spec import AvatarError, read_recipe

AVATARS = Path(__file__).resolve().parent.parent


def main(argv: list[str] | None = None) -> int:
    """Returns 0 when every avatar was built."""
    parser = argparse.ArgumentParser(prog="python -m avatars.builder", description=__doc__)
    parser.add_argument("ids", nargs="*", help="avatar ids; all when none is given")
    parser.add_argument("--data", type=Path, required=True, help="folder with mpfb2/ and faceunits01/")
    parser.add_argument("--out", type=Path, default=AVATARS / "dist", help="where the GLBs go")
    parser.add_argument("--force", action="store_true", help="build even when nothing changed")
    args = parser.parse_args(argv)
    ids = args.ids or sorted(p.parent.name for p in AVATARS.glob("*/avatar.toml"))
    for number, avatar in enumerate(ids, 1):
        say(f"[{number}/{len(ids)}] {avatar}: building")
        try:
            built = build(read_recipe(AVATARS / avatar), args.data, args.out, args.force)
        except (AvatarError, DataError) as error:
            say(f"error: {error}")
            return 1
        word = "built" if built.fresh else "unchanged"
        size = f"{built.size / 1e6:.2f} MB, {built.triangles} triangles"
        say(f"[{number}/{len(ids)}] {avatar}: {word}, {size} -> {built.glb}")
    return 0


def say(line: str) -> None:
    """One progress line, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
