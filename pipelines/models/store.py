"""The one model store: a folder where every model lies under its name, checked against the manifest."""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipelines.models import manifest
from pipelines.models.fetch import FetchFailed, fetch, forget
from pipelines.models.manifest import Entry, ModelFile, listing_digest

MANIFEST = Path(__file__).with_name("manifest.toml")

Stat = tuple[int, int]


class ModelMissing(Exception):
    """The model is not in the store, or is not what the manifest says; the message holds the command that mends it."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"model {name!r} {reason}; run: machineavatars models pull {name}")
        self.name = name


class UnknownModel(Exception):
    """No manifest has an entry of this name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"no model is called {name!r}; known are: {', '.join(sorted(known))}")
        self.name = name


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pull is. `total` is 0 while the client does not say how much there is."""

    name: str
    stage: Literal["present", "waiting", "downloading", "unpacking", "checking", "ready"]
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """What `verify` found: `ok`, `absent`, or `damaged` with what is wrong in `detail`."""

    name: str
    state: Literal["ok", "absent", "damaged"]
    detail: str = ""


class ModelStore:
    """Models under `root`, each in a folder of its name.

    The product's manifest comes first; `manifest.toml` in `root`, if there is one, adds the user's own models (local
    folders, hub ids) and may replace entries. Digests are taken once and remembered with every file's size and
    modification time, so that a start reads no model twice.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        own = root / "manifest.toml"
        self._entries = manifest.load(MANIFEST, *([own] if own.is_file() else []))

    @property
    def root(self) -> Path:
        return self._root

    def entries(self) -> tuple[Entry, ...]:
        return tuple(self._entries.values())

    def entry(self, name: str) -> Entry:
        """Raises UnknownModel."""
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownModel(name, self._entries) from None

    def present(self, name: str) -> bool:
        """Whether the model's files are all there (their bytes may not have been checked yet)."""
        return self._absent(self.entry(name)) == ""

    def path(self, name: str) -> Path:
        """The model's main file, or its folder, its bytes checked. Raises ModelMissing and UnknownModel."""
        entry = self.entry(name)
        if absent := self._absent(entry):
            raise ModelMissing(name, absent)
        stats = self._stats(entry)
        if self._remembered(entry) != stats:
            if damage := _damage(entry, self._folder(entry)):
                raise ModelMissing(name, f"is damaged ({damage})")
            self._remember(entry, stats)
        return self._folder(entry) / entry.main

    def verify(self, names: Sequence[str] | None = None) -> list[Check]:
        """Read every byte again: of `names`, or of every model that is here or belongs to the default set."""
        wanted = [self.entry(n) for n in names] if names is not None else self.entries()
        checks = []
        for entry in wanted:
            if absent := self._absent(entry):
                if names is not None or entry.default or self._folder(entry).exists():
                    checks.append(Check(entry.name, "absent", absent))
                continue
            damage = _damage(entry, self._folder(entry))
            if not damage:
                self._remember(entry, self._stats(entry))
            checks.append(Check(entry.name, "damaged" if damage else "ok", damage))
        return checks

    def pull(
        self, names: Sequence[str] | None = None, progress: Callable[[Progress], None] = lambda progress: None
    ) -> None:
        """Bring `names` (the default set when None) and what they need into the store. What is here and sound is left
        alone; a pull that was stopped goes on from the packages it has; two pulls at once take turns. Blocks: call it
        from a command or a thread. Raises FetchFailed and UnknownModel."""
        chosen = [self.entry(n) for n in names] if names is not None else [e for e in self.entries() if e.default]
        wanted = {e.name: e for entry in chosen for e in (*(self.entry(n) for n in entry.needs), entry)}.values()
        self._root.mkdir(parents=True, exist_ok=True)
        for entry in wanted:
            if self._sound(entry):
                progress(Progress(entry.name, "present"))
                continue
            progress(Progress(entry.name, "waiting"))
            with self._locked():
                if not self._sound(entry):
                    self._bring(entry, progress)
            progress(Progress(entry.name, "ready"))

    def _bring(self, entry: Entry, progress: Callable[[Progress], None]) -> None:
        downloads = self._root / ".downloads"
        with tempfile.TemporaryDirectory(prefix=".new-", dir=self._root) as new:
            fresh = Path(new) / entry.name
            fresh.mkdir()

            def report(stage: str, done: int, total: int) -> None:
                progress(Progress(entry.name, "unpacking" if stage == "unpacking" else "downloading", done, total))

            fetch(entry, downloads, fresh, report)
            progress(Progress(entry.name, "checking"))
            if damage := _damage(entry, fresh):
                forget(entry, downloads)
                raise FetchFailed(f"{entry.name}: what came is not what the manifest says ({damage})")
            folder = self._folder(entry)
            if folder.exists():
                folder.rename(Path(new) / "old")
            fresh.rename(folder)
        self._remember(entry, self._stats(entry))
        forget(entry, downloads)

    def _sound(self, entry: Entry) -> bool:
        try:
            self.path(entry.name)
        except ModelMissing:
            return False
        return True

    def _folder(self, entry: Entry) -> Path:
        return self._root / entry.name

    def _absent(self, entry: Entry) -> str:
        folder = self._folder(entry)
        if not folder.is_dir():
            return "is not here"
        missing = [f.name for f in entry.files if not f.is_set and not (folder / f.name).is_file()]
        return f"is not complete ({', '.join(missing)} missing)" if missing else ""

    def _stats(self, entry: Entry) -> dict[str, Stat]:
        folder = self._folder(entry)
        stats = ((path, os.stat(folder / path)) for path in _present(entry, folder))
        return {path: (s.st_size, s.st_mtime_ns) for path, s in stats}

    def _remembered(self, entry: Entry) -> dict[str, Stat] | None:
        try:
            kept = json.loads(self._note(entry).read_bytes())
            if kept["entry"] != entry.fingerprint:
                return None
            return {path: (size, mtime) for path, (size, mtime) in kept["files"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _remember(self, entry: Entry, stats: dict[str, Stat]) -> None:
        note = self._note(entry)
        try:
            note.parent.mkdir(exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=note.parent, delete=False) as out:
                json.dump({"entry": entry.fingerprint, "files": stats}, out)
            os.replace(out.name, note)
        except OSError:
            return  # a store that cannot be written (a read-only image) is checked anew at every start

    def _note(self, entry: Entry) -> Path:
        return self._root / ".checked" / f"{entry.name}.json"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Wait for other pulls; the kernel lets go of the lock of a process that dies."""
        with (self._root / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for leftover in self._root.glob(".new-*"):
                shutil.rmtree(leftover, ignore_errors=True)
            yield


def _present(entry: Entry, folder: Path) -> list[str]:
    """The files in `folder` that belong to the entry, relative and sorted."""
    found = {f.name for f in entry.files if not f.is_set}
    sets = [f for f in entry.files if f.is_set]
    if sets:
        for here, _, names in os.walk(folder):
            base = "" if (sub := os.path.relpath(here, folder)) == "." else Path(sub).as_posix() + "/"
            found.update(base + n for n in names if any(f.matches(base + n) for f in sets))
    return sorted(found)


def _damage(entry: Entry, folder: Path) -> str:
    """What is wrong with the entry's files in `folder`; empty when nothing is."""
    for file in entry.files:
        if not file.is_set and not (folder / file.name).is_file():
            return f"{file.name} is missing"
        if file.sha256 and _digest(file, entry, folder) != file.sha256:
            return f"{file.pattern} has other contents"
    return ""


def _digest(file: ModelFile, entry: Entry, folder: Path) -> str:
    if not file.is_set:
        return _sha256(folder / file.name)
    return listing_digest({p: _sha256(folder / p) for p in _present(entry, folder) if file.matches(p)})


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
