"""The manifest: which models and data sets exist, where they come from, and what their bytes must be."""

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

Source = Literal["pypi", "npm", "hub", "file"]
Engine = Literal["", "whisper", "piper", "kokoro", "llama"]
Gender = Literal["female", "male", "neutral"]
Style = Literal["neutral", "whisper", "character"]


class ManifestInvalid(ValueError):
    """The manifest names something impossible; the message says which entry and why."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file, or with wildcards one set of files, of an entry.

    `pattern` is relative to the entry's folder inside the package. `sha256` is the digest of the file, or of a set's
    listing (see `listing_digest`); it may be empty only for sources that are the user's own (`hub`, `file`).
    `name` is what a single file is called in the store. A file that several packages of the entry carry is the
    concatenation of those pieces, in the order of the packages.
    """

    pattern: str
    sha256: str
    name: str

    @property
    def is_set(self) -> bool:
        return any(c in self.pattern for c in "*?[")

    def matches(self, relative: str) -> bool:
        return fnmatchcase(relative, self.pattern) if self.is_set else relative == self.pattern


@dataclass(frozen=True, slots=True)
class ModelVoice:
    """A voice that an entry holds; `language` is a BCP 47 tag."""

    id: str
    name: str
    language: str
    gender: Gender
    style: Style = "neutral"


@dataclass(frozen=True, slots=True)
class Entry:
    """A model or data set. `packages` are exact (`name==version`, `name@version`, a hub id, a folder); `main` is the
    file that stands for the whole ("" for the folder itself); `size` is what it takes on disk, in bytes.

    `engine` runs it ("" for data); `languages` are the primary subtags a recogniser knows; `needs` are entries that are
    of no use without each other and so are pulled together.
    """

    name: str
    source: Source
    packages: tuple[str, ...]
    folder: str
    files: tuple[ModelFile, ...]
    main: str
    size: int
    licence: str
    purpose: str
    default: bool
    engine: Engine = ""
    languages: tuple[str, ...] = ()
    voices: tuple[ModelVoice, ...] = ()
    needs: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Changes whenever the entry does, so that a check made for an older manifest counts for nothing."""
        bytes_of = {"packages": self.packages, "folder": self.folder, "files": [asdict(file) for file in self.files]}
        return hashlib.sha256(json.dumps(bytes_of, sort_keys=True).encode()).hexdigest()[:16]


def listing_digest(digests: Mapping[str, str]) -> str:
    """The digest of a set of files: SHA-256 over its `sha256sum` listing, sorted by path."""
    lines = (f"{digests[path]}  {path}\n" for path in sorted(digests))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def load(*paths: Path) -> dict[str, Entry]:
    """Read manifests, later ones adding to and replacing entries of earlier ones. Raises ManifestInvalid."""
    entries: dict[str, Entry] = {}
    for path in paths:
        try:
            tables: dict[str, dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise ManifestInvalid(f"{path}: {error}") from error
        for name, table in tables.items():
            try:
                entries[name] = _entry(name, table)
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                raise ManifestInvalid(f"{path}: model {name!r}: {error!r}") from error
    return entries


def _entry(name: str, table: Mapping[str, Any]) -> Entry:
    source = _one_of(Source, table["source"])
    entry = Entry(
        name=_plain(name),
        source=source,
        packages=tuple(table["packages"]),
        folder=table.get("folder", ""),
        files=tuple(_file(pattern, value) for pattern, value in table["files"].items()),
        main=table.get("main", ""),
        size=int(table.get("size", 0)),
        licence=table["licence"],
        purpose=table["purpose"],
        default=bool(table.get("default", False)),
        engine=_one_of(Engine, table.get("engine", "")),
        languages=tuple(table.get("languages", ())),
        voices=tuple(_voice(id, row) for id, row in table.get("voices", {}).items()),
        needs=tuple(table.get("needs", ())),
    )
    if not entry.packages or not entry.files:
        raise ValueError("needs at least one package and one file")
    if source in ("pypi", "npm") and not all(file.sha256 for file in entry.files):
        raise ValueError("every file of a registry package needs its sha256")
    if entry.main:
        _inside([entry.main])
    return entry


def _file(pattern: str, value: str | Mapping[str, str]) -> ModelFile:
    table: Mapping[str, str] = {"sha256": value} if isinstance(value, str) else value
    name = table.get("name", "") or pattern
    _inside([pattern, name])
    return ModelFile(pattern, table["sha256"], name)


def _voice(id: str, row: Mapping[str, str]) -> ModelVoice:
    gender, style = _one_of(Gender, row["gender"]), _one_of(Style, row.get("style", "neutral"))
    return ModelVoice(id, row["name"], row["language"], gender, style)


def _one_of(choices: Any, value: Any) -> Any:
    if value not in get_args(choices):
        raise ValueError(f"{value!r} is none of {', '.join(filter(None, get_args(choices)))}")
    return value


def _plain(name: str) -> str:
    if not name or name.startswith(".") or set(name) & set("/\\:"):
        raise ValueError("a model's name is a plain folder name")
    return name


def _inside(paths: Iterable[str]) -> None:
    for path in paths:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts:
            raise ValueError(f"{path!r} leaves the model's folder")
